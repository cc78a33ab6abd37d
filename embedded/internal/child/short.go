package child

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"
)

const (
	// probeTimeout bounds a Probe, on a busy machine; runTimeout a Run, such as initdb on a slow
	// disk.
	probeTimeout = 20 * time.Second
	runTimeout   = 5 * time.Minute
)

// Run runs a program to its end as this user in dir, with input on its standard input, and returns
// what it printed. It and what it starts are ended when ctx ends, and when we die. Files in extra
// are inherited.
func (i Identity) Run(ctx context.Context, program Program, dir, input string, extra []*os.File, args ...string) (string, error) {
	return i.run(ctx, program, dir, input, extra, args, false)
}

// RunNamed is Run for a program that insists on a name for its user (initdb does). Where our own
// user has none, in a container started with a bare number, the program sees itself as the user
// nobody, by a user namespace of its own.
func (i Identity) RunNamed(ctx context.Context, program Program, dir, input string, extra []*os.File, args ...string) (string, error) {
	if !i.switched && !hasName(i.UID) {
		output, err := i.run(ctx, program, dir, input, extra, args, true)
		if !errors.Is(err, syscall.EPERM) && !errors.Is(err, syscall.ENOSPC) { // namespaces may be forbidden or used up
			return output, err
		}
	}
	return i.run(ctx, program, dir, input, extra, args, false)
}

func (i Identity) run(ctx context.Context, program Program, dir, input string, extra []*os.File, args []string, asNobody bool) (string, error) {
	cmd := exec.CommandContext(ctx, program.Path, args...) //nolint:gosec // programs that we chose
	cmd.Stdin = strings.NewReader(input)
	cmd.ExtraFiles = extra
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: i.credential()}
	if asNobody {
		cmd.SysProcAttr.Cloneflags = syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: nobodyID, HostID: i.UID, Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: nobodyID, HostID: i.GID, Size: 1}}
	}
	output, err := i.runShort(cmd, program, dir, runTimeout)
	if err != nil && ctx.Err() != nil {
		return output, fmt.Errorf("run %s: %w", filepath.Base(program.Path), ctx.Err())
	}
	return output, err
}

// Probe runs a program that ends at once and returns what it printed.
func (i Identity) Probe(program Program, dir string, args ...string) (string, error) {
	cmd := exec.Command(program.Path, args...) //nolint:gosec,noctx // programs that we chose; bounded by probeTimeout
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: i.credential()}
	return i.runShort(cmd, program, dir, probeTimeout)
}

// runShort runs cmd on a thread of its own: the parent-death signal follows the thread.
func (i Identity) runShort(cmd *exec.Cmd, program Program, dir string, limit time.Duration) (string, error) {
	var output bytes.Buffer
	cmd.Dir = dir
	cmd.Env = program.Environment(dir)
	cmd.Stdout, cmd.Stderr = &output, &output
	cmd.SysProcAttr.Setpgid, cmd.SysProcAttr.Pdeathsig = true, syscall.SIGTERM
	cmd.WaitDelay = 3 * time.Second
	ended := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		if err := cmd.Start(); err != nil {
			ended <- err
			return
		}
		group := -cmd.Process.Pid
		timer := time.AfterFunc(limit, func() { _ = syscall.Kill(group, syscall.SIGKILL) })
		defer timer.Stop()
		ended <- cmd.Wait()
	}()
	err := <-ended
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		return output.String(), fmt.Errorf("run %s: %w: %s", filepath.Base(program.Path), err, lastLines(output.String(), 3))
	}
	if err != nil {
		return output.String(), fmt.Errorf("run %s: %w", filepath.Base(program.Path), err)
	}
	return output.String(), nil
}

// lastLines joins the last lines of an output into one.
func lastLines(text string, count int) string {
	var lines []string
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines[max(0, len(lines)-count):], "; ")
}
