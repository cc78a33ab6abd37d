package embeddedtest

import (
	"context"
	"fmt"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"hsi.home.arpa/embedded/internal/child"
)

// startTimeout bounds every start of a server, on a busy machine.
const startTimeout = 60 * time.Second

// server is what PostgreSQL and Redis for tests share.
type server struct {
	name string
	home string
	spec child.Spec
	ping func(context.Context) error
	stop []child.Step
	tail *child.Tail

	mu      sync.Mutex
	process *child.Process // nil while stopped; guarded by mu
}

func (s *server) start(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.process != nil {
		select {
		case <-s.process.Done(): // died by itself
		default:
			return fmt.Errorf("%s is already running", s.name)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	process, err := child.Start(ctx, s.spec)
	if err != nil {
		return err
	}
	if err := process.AwaitReady(ctx, s.ping); err != nil {
		process.Stop()
		return fmt.Errorf("start %s: %w; its last lines: %q", s.name, err, s.tail.Lines())
	}
	s.process = process
	return nil
}

// end stops the server by the given steps; without steps it is killed at once.
func (s *server) end(steps ...child.Step) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.process == nil {
		return
	}
	_ = s.process.SignalAll(syscall.SIGCONT)
	s.process.Stop(steps...)
	s.process = nil
}

func (s *server) signal(tb testing.TB, signal syscall.Signal) {
	tb.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.process == nil {
		tb.Fatalf("%s is not running", s.name)
	}
	if err := s.process.SignalAll(signal); err != nil {
		tb.Fatal(err)
	}
}

func (s *server) discard() {
	s.end(s.stop...)
	child.RemoveLeftovers(s.home, child.DataDir(s.home))
	_ = os.RemoveAll(s.home)
}

// register starts a test's own server and has it removed with the test.
func (s *server) register(tb testing.TB) {
	tb.Helper()
	tb.Cleanup(func() {
		if tb.Failed() {
			tb.Logf("last lines of %s: %q", s.name, s.tail.Lines())
		}
		s.discard()
	})
	if err := s.start(tb.Context()); err != nil {
		tb.Fatal(err)
	}
}

// Start starts the server again after Stop or Kill, on the same data and URL, and waits until it
// answers.
func (s *server) Start(tb testing.TB) {
	tb.Helper()
	if err := s.start(tb.Context()); err != nil {
		tb.Fatal(err)
	}
}

// Stop ends the server cleanly and waits until nothing of it is left. A stopped server is left
// alone.
func (s *server) Stop(tb testing.TB) {
	tb.Helper()
	s.end(s.stop...)
}

// Kill ends the server and its children with SIGKILL and waits until nothing of it is left.
func (s *server) Kill(tb testing.TB) {
	tb.Helper()
	s.end()
}

// Pause freezes the server and its children (SIGSTOP): connections stay open and nothing answers.
func (s *server) Pause(tb testing.TB) {
	tb.Helper()
	s.signal(tb, syscall.SIGSTOP)
}

// Resume continues a paused server (SIGCONT).
func (s *server) Resume(tb testing.TB) {
	tb.Helper()
	s.signal(tb, syscall.SIGCONT)
}
