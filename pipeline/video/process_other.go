//go:build !linux

package video

import (
	"os/exec"
	"syscall"
)

// isolate puts ffmpeg into a process group of its own, which is killed as a whole.
func isolate(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
}

// confine does nothing on this system: only time and output are bounded.
func confine(int, Options) error { return nil }
