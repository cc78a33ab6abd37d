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

// runShort runs a program to its end on a thread of its own (the parent-death signal follows the thread).
func runShort(ctx context.Context, identity Identity, program Program, dir, input string, extra []*os.File, args []string) (string, error) {
	type result struct {
		output string
		err    error
	}
	results := make(chan result, 1)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		var output bytes.Buffer
		cmd := exec.CommandContext(ctx, program.Path, args...) //nolint:gosec // programs that we chose
		cmd.Dir = dir
		cmd.Env = program.environment(dir)
		cmd.Stdin = strings.NewReader(input)
		cmd.Stdout, cmd.Stderr = &output, &output
		cmd.ExtraFiles = extra
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM, Credential: identity.credential()}
		cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
		cmd.WaitDelay = 3 * time.Second
		err := cmd.Run()
		results <- result{output.String(), err}
	}()
	got := <-results
	if got.err == nil {
		return got.output, nil
	}
	name := filepath.Base(program.Path)
	if ctx.Err() != nil {
		return got.output, fmt.Errorf("run %s: %w", name, ctx.Err())
	}
	if exit := (*exec.ExitError)(nil); errors.As(got.err, &exit) {
		return got.output, fmt.Errorf("run %s: %w: %s", name, got.err, lastLines(got.output, 3))
	}
	return got.output, fmt.Errorf("run %s: %w", name, got.err)
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
