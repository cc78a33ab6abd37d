package video

import (
	"errors"
	"fmt"
	"os/exec"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// isolate puts ffmpeg into a process group of its own, which is killed as a whole, and which does
// not outlive us.
func isolate(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
}

// confine bounds what ffmpeg may take: memory, time of the processor, and descriptors. It may write
// no file and leaves the processor to others.
func confine(pid int, options Options) error {
	processorTime := options.FrameTimeout * time.Duration(options.MaxFrames)
	for resource, most := range map[int]uint64{
		unix.RLIMIT_AS:     options.MaxMemoryBytes,
		unix.RLIMIT_CPU:    uint64(processorTime.Seconds()) + 1,
		unix.RLIMIT_FSIZE:  0,
		unix.RLIMIT_CORE:   0,
		unix.RLIMIT_NOFILE: 64,
	} {
		var now unix.Rlimit
		err := unix.Prlimit(pid, resource, nil, &now)
		if err == nil {
			most = min(most, now.Max)
			err = unix.Prlimit(pid, resource, &unix.Rlimit{Cur: most, Max: most}, nil)
		}
		if err != nil && !errors.Is(err, unix.ESRCH) { // it has ended already
			return fmt.Errorf("bound its resources: %w", err)
		}
	}
	_ = unix.Setpriority(unix.PRIO_PGRP, pid, 10) // only a courtesy
	return nil
}
