package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Server is the server as a process, one after another. Its fields are not changed while it runs.
type Server struct {
	// Program is the binary, Env its settings ("NAME=value", the last one wins), Dir where it runs.
	Program string
	Env     []string
	Dir     string
	// Args are those with which it serves; ["serve"] when there are none.
	Args []string
	// Output gets what all processes print.
	Output io.Writer
	// Prepare changes how the server is started; nil changes nothing.
	Prepare func(cmd *exec.Cmd)

	mu      sync.Mutex
	process *process // guarded by mu; nil before the first start
	// gone are the ends of processes that nobody ended.
	gone []string // guarded by mu
}

// process is one life of the server.
type process struct {
	cmd  *exec.Cmd
	done chan struct{}
	// wanted says that we end it.
	wanted atomic.Bool
	// err is how it ended; written before done is closed.
	err error
}

// Command prepares a command of the binary. It ends with us, however we end: run it on a locked
// thread.
func (s *Server) Command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, s.Program, args...) //nolint:gosec // the binary under test
	cmd.Dir = s.Dir
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME")}, s.Env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	return cmd
}

// Run runs a command of the binary to its end and returns what it printed.
func (s *Server) Run(ctx context.Context, args ...string) (string, error) {
	runtime.LockOSThread() // the death signal follows the thread
	defer runtime.UnlockOSThread()
	output, err := s.Command(ctx, args...).CombinedOutput()
	return string(output), err
}

// Start starts the server and does not wait for it.
func (s *Server) Start(ctx context.Context) error {
	args := s.Args
	if len(args) == 0 {
		args = []string{"serve"}
	}
	p := &process{cmd: s.Command(context.WithoutCancel(ctx), args...), done: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = s.Output, s.Output
	if s.Prepare != nil {
		s.Prepare(p.cmd)
	}
	started := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // as above
		defer runtime.UnlockOSThread()
		defer close(p.done)
		err := p.cmd.Start()
		started <- err
		if err == nil {
			p.err = p.cmd.Wait()
			s.ended(p)
		}
	}()
	if err := <-started; err != nil {
		return fmt.Errorf("start the server: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.process = p
	return nil
}

func (s *Server) ended(p *process) {
	if p.wanted.Load() {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gone = append(s.gone, fmt.Sprintf("the server ended by itself: %v", p.err))
}

func (s *Server) current() *process {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.process
}

// OwnEnds are the ends of processes that nobody ended.
func (s *Server) OwnEnds() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.gone...)
}

// PID is the id of the process that was started last.
func (s *Server) PID() int { return s.current().cmd.Process.Pid }

// Running tells whether the process that was started last still lives.
func (s *Server) Running() bool {
	p := s.current()
	if p == nil {
		return false
	}
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// Signal sends the process a signal, if it still lives.
func (s *Server) Signal(signal syscall.Signal) { _ = s.current().cmd.Process.Signal(signal) }

// Kill sends SIGKILL and waits for the end. It reports whether there was something to kill.
func (s *Server) Kill() bool {
	if !s.Running() {
		return false
	}
	p := s.current()
	p.wanted.Store(true)
	_ = p.cmd.Process.Kill() // it may have ended just now
	<-p.done
	return true
}

// Stop asks the server to end and wants that it does so cleanly and in time.
func (s *Server) Stop(patience time.Duration) error {
	p := s.current()
	if p == nil {
		return nil
	}
	p.wanted.Store(true)
	s.Signal(syscall.SIGTERM)
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-p.done:
		if p.err != nil {
			return fmt.Errorf("the server stopped with: %w", p.err)
		}
		return nil
	case <-timer.C:
		s.Kill()
		return errors.New("the server did not stop when it was asked to")
	}
}

// FreePort finds a TCP port that nobody uses now.
func FreePort(ctx context.Context) (int, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp4", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("find a free port: %w", err)
	}
	address, ok := listener.Addr().(*net.TCPAddr)
	if !ok {
		return 0, errors.Join(fmt.Errorf("unexpected address %v", listener.Addr()),
			listener.Close())
	}
	return address.Port, listener.Close()
}
