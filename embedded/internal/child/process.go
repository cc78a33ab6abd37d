package child

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// leftoverPatience is how long the children of a dead server may take to notice that it is gone
// before they are killed.
const leftoverPatience = 500 * time.Millisecond

// Spec says how a server is started.
type Spec struct {
	// Program is the executable with the library folders it needs.
	Program Program
	Args    []string
	// Home is the folder that holds the server's data and its lock file. It exists and belongs to
	// Identity.
	Home string
	// DataDir is where the server works (its working folder), in or equal to Home.
	DataDir string
	// Identity is the user that the server runs as.
	Identity Identity
	// DeathSignal is what the kernel sends to the server when this process dies, however it dies.
	DeathSignal syscall.Signal
	// Output receives each line that the server prints. It must not block. Nil drops them.
	Output func(line string)
}

// Process is a running server. Create it with Start.
type Process struct {
	spec Spec
	cmd  *exec.Cmd
	done chan struct{}
	// waitErr is written before done is closed.
	waitErr error
	exited  atomic.Bool
}

// Start waits until no process of an earlier server on the same home is left (see
// waitForPredecessor) and starts the server. It does not wait for the server to accept connections.
// ctx bounds the start only; the process lives on.
func Start(ctx context.Context, spec Spec) (*Process, error) {
	lock, err := waitForPredecessor(ctx, spec.Home)
	if err != nil {
		return nil, err
	}
	// The child and all that it forks inherit the lock's descriptor and so hold the lock as long as
	// one of them lives. Our own copy is closed here.
	defer func() { _ = lock.Close() }()

	read, write, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("open the output pipe: %w", err)
	}
	process := &Process{spec: spec, done: make(chan struct{})}
	// Not CommandContext: the server outlives the context of its start, and is stopped by signals
	// in a set order.
	process.cmd = exec.Command(spec.Program.Path, spec.Args...) //nolint:gosec,noctx // the program was found by us; ended by Stop, not by a context
	process.cmd.Dir = spec.DataDir
	process.cmd.Env = spec.Program.Environment(spec.Home)
	process.cmd.Stdout, process.cmd.Stderr = write, write
	process.cmd.ExtraFiles = []*os.File{lock}
	process.cmd.SysProcAttr = &syscall.SysProcAttr{
		Setpgid:    true,
		Pdeathsig:  spec.DeathSignal,
		Credential: spec.Identity.credential(),
	}

	drained := make(chan struct{})
	go func() {
		defer close(drained)
		forEachLine(read, spec.Output)
	}()
	started := make(chan error, 1)
	go func() {
		// The parent-death signal follows the thread that started the child, not the process: this
		// goroutine keeps its thread until the child has ended.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(process.done)
		err := process.cmd.Start()
		_ = write.Close()
		started <- err
		if err != nil {
			_ = read.Close()
			<-drained
			return
		}
		process.waitErr = process.cmd.Wait()
		process.exited.Store(true)
		process.awaitLeftovers(read, drained)
	}()
	if err := <-started; err != nil {
		<-process.done
		return nil, fmt.Errorf("start %s: %w", spec.Program.Path, err)
	}
	return process, nil
}

// awaitLeftovers returns when no process holds the output pipe any more: the server's own children
// end a moment after it.
func (p *Process) awaitLeftovers(read *os.File, drained <-chan struct{}) {
	defer func() { _ = read.Close() }()
	for range 3 {
		timer := time.NewTimer(leftoverPatience)
		select {
		case <-drained:
			timer.Stop()
			return
		case <-timer.C:
			killAll(p.spec.Home)
		}
	}
	_ = read.Close() // something that is not ours holds the pipe: stop listening to it
	<-drained
}

// PID is the process id of the server itself.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Done is closed when the server and everything it started have ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// ExitText says how the server ended. Call it only after Done.
func (p *Process) ExitText() string {
	if p.waitErr == nil {
		return "exit status 0"
	}
	return p.waitErr.Error()
}

// Signal sends a signal to the server itself, not to its children. A server that has ended is not
// an error.
func (p *Process) Signal(signal syscall.Signal) error {
	if p.exited.Load() {
		return nil
	}
	if err := p.cmd.Process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("signal %s: %w", filepath.Base(p.spec.Program.Path), err)
	}
	return nil
}

// SignalAll sends a signal to the server and to all its children, the server first so that it forks
// no more.
func (p *Process) SignalAll(signal syscall.Signal) error {
	err := p.Signal(signal)
	for _, pid := range processesIn(p.spec.Home) {
		if pid != p.PID() {
			_ = syscall.Kill(pid, signal) // gone meanwhile is fine
		}
	}
	return err
}

// Step is one signal of a stop sequence and how long the server gets to end after it.
type Step struct {
	Signal syscall.Signal
	Wait   time.Duration
}

// Stop sends the steps' signals one after another until the server has ended, and kills it and all
// its children when none helped. It returns when nothing is left and reports whether the server had
// to be killed.
func (p *Process) Stop(steps ...Step) (killed bool) {
	for _, step := range steps {
		_ = p.Signal(step.Signal)
		timer := time.NewTimer(step.Wait)
		select {
		case <-p.done:
			timer.Stop()
			return false
		case <-timer.C:
		}
	}
	_ = p.SignalAll(syscall.SIGKILL)
	<-p.done
	return true
}

// Environment is the whole environment of a program: nothing of ours leaks into it (PGDATA,
// PGOPTIONS, locale, proxies).
func (p Program) Environment(home string) []string {
	env := []string{"PATH=/usr/local/bin:/usr/bin:/bin", "LC_ALL=C", "HOME=" + home}
	if len(p.LibraryDirs) > 0 {
		env = append(env, "LD_LIBRARY_PATH="+strings.Join(p.LibraryDirs, ":"))
	}
	return env
}
