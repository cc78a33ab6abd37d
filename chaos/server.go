package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// stopPatience is how long the server may take to stop when it is asked to; it promises 20 s.
const stopPatience = 25 * time.Second

// server is the process under test, one after another.
type server struct {
	path, address, logPath string
	environment            []string
	client                 *http.Client

	exchange sync.Mutex // held while one process takes the place of another
	freezing sync.Mutex // held while it is frozen, so that nobody else wakes it; a kill may come all the same

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

func newServer(path string, environment []string, address, logPath string) *server {
	return &server{
		path: path, environment: append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME")}, environment...),
		address: address, logPath: logPath,
		client: &http.Client{Timeout: 2 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 1}},
	}
}

// command prepares the binary with the settings of the run. It ends with us, however we end: run it on a locked thread.
func (s *server) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, s.path, args...) //nolint:gosec // the binary under test
	cmd.Env = s.environment
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	return cmd
}

// start starts the server and does not wait for it.
func (s *server) start(ctx context.Context) error {
	log, err := os.OpenFile(s.logPath, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("open the server's log: %w", err)
	}
	p := &process{cmd: s.command(context.WithoutCancel(ctx), "serve"), done: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = log, log
	started := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // the death signal follows the thread
		defer runtime.UnlockOSThread()
		defer close(p.done)
		defer func() { _ = log.Close() }()
		err := p.cmd.Start()
		started <- err
		if err != nil {
			return
		}
		p.err = p.cmd.Wait()
		if !p.wanted.Load() {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.gone = append(s.gone, fmt.Sprintf("the server ended by itself: %v", p.err))
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

func (s *server) current() *process {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.process
}

// ownEnds are the ends of processes that nobody ended.
func (s *server) ownEnds() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.gone...)
}

// kill sends SIGKILL and waits for the end. It reports whether there was something to kill.
func (s *server) kill() bool {
	p := s.current()
	if p == nil {
		return false
	}
	select {
	case <-p.done:
		return false
	default:
	}
	p.wanted.Store(true)
	_ = p.cmd.Process.Kill()
	<-p.done
	return true
}

// signal sends a signal to this life of the server, if it still lives.
func (p *process) signal(sig syscall.Signal) { _ = p.cmd.Process.Signal(sig) }

// stop asks the server to end and wants that it does so cleanly and in time.
func (s *server) stop() error {
	p := s.current()
	if p == nil {
		return nil
	}
	p.wanted.Store(true)
	p.signal(syscall.SIGTERM)
	timer := time.NewTimer(stopPatience)
	defer timer.Stop()
	select {
	case <-p.done:
		if p.err != nil {
			return fmt.Errorf("the server stopped with: %w", p.err)
		}
		return nil
	case <-timer.C:
		s.kill()
		return errors.New("the server did not stop when it was asked to")
	}
}

// ready asks for readiness.
func (s *server) ready(ctx context.Context) bool {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.address+"/api/system/health/ready", http.NoBody)
	if err != nil {
		return false
	}
	response, err := s.client.Do(request)
	if err != nil {
		return false
	}
	_ = response.Body.Close()
	return response.StatusCode == http.StatusOK
}

// run runs another command of the binary to its end and returns what it printed.
func (s *server) run(ctx context.Context, args ...string) (string, error) {
	runtime.LockOSThread() // the death signal follows the thread
	defer runtime.UnlockOSThread()
	output, err := s.command(ctx, args...).CombinedOutput()
	return string(output), err
}
