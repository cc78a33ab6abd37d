package aitest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// patience bounds every wait for a call; a test that waits so long has failed.
const patience = 5 * time.Minute

// Call is what both services remember of one call.
type Call struct {
	// StartedAt is when the request's header had been read.
	StartedAt time.Time
	// EndedAt is when the answer was complete, before the client can have read its end; zero while
	// the call is under way.
	EndedAt time.Time
	// Status is the HTTP status that was answered; 0 when there was no answer.
	Status int
	// Behaviour names what was done instead of the honest answer; empty when that was given.
	Behaviour string
	// APIKey is the key that came with the call, where the service looks for it.
	APIKey string
}

// Took is how long the service worked on the call. The client has waited at least as long.
func (c Call) Took() time.Duration { return c.EndedAt.Sub(c.StartedAt) }

// WasAnswered tells whether the honest, successful answer was given, as far as the server can know.
func (c Call) WasAnswered() bool {
	return !c.IsUnderWay() && c.Status == http.StatusOK && c.Behaviour == ""
}

// IsUnderWay tells whether the service still works on the call.
func (c Call) IsUnderWay() bool { return c.EndedAt.IsZero() }

// Answered counts the calls that got their honest answer.
func Answered[C interface{ WasAnswered() bool }](calls []C) (count int) {
	for _, call := range calls {
		if call.WasAnswered() {
			count++
		}
	}
	return count
}

// service is one server, its script and its memory. C is the type of its calls.
type service[C any] struct {
	tb      testing.TB
	address string
	// reserved is a socket that holds the port while nobody listens, so that connections are
	// refused and nobody else gets it.
	reserved int
	handler  http.Handler

	mu        sync.Mutex
	running   *listening    // guarded by mu; nil while stopped
	behaviour Behaviour     // guarded by mu
	health    Behaviour     // guarded by mu
	script    []Behaviour   // guarded by mu
	calls     []C           // guarded by mu
	healthy   int           // guarded by mu; health checks so far
	changed   chan struct{} // guarded by mu; closed and made anew when a call begins or ends
}

// listening is one time that the service runs.
type listening struct {
	server *http.Server
	cancel context.CancelFunc
	served chan struct{}
	calls  sync.WaitGroup
}

// newService reserves a port; it listens after Start.
func newService[C any](tb testing.TB) *service[C] {
	tb.Helper()
	s := &service[C]{tb: tb, changed: make(chan struct{})}
	if err := s.reserve(); err != nil {
		tb.Fatalf("reserve a port: %v", err)
	}
	tb.Cleanup(func() {
		s.Stop()
		_ = unix.Close(s.reserved)
	})
	return s
}

func (s *service[C]) reserve() (err error) {
	if s.reserved, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0); err != nil {
		return err
	}
	unix.CloseOnExec(s.reserved)
	if err := unix.SetsockoptInt(s.reserved, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1); err != nil {
		return err
	}
	if err := unix.Bind(s.reserved, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return err
	}
	bound, err := unix.Getsockname(s.reserved)
	if err != nil {
		return err
	}
	inet, ok := bound.(*unix.SockaddrInet4)
	if !ok {
		return fmt.Errorf("unexpected address %T", bound)
	}
	s.address = fmt.Sprintf("127.0.0.1:%d", inet.Port)
	return nil
}

// URL is the base address. It stays the same over Stop and Start.
func (s *service[C]) URL() string { return "http://" + s.address }

// Start listens again after Stop; on a running service it does nothing.
func (s *service[C]) Start() {
	s.tb.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running != nil {
		return
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(s.tb.Context())) // calls may outlast the test's body until Stop
	config := net.ListenConfig{Control: func(_, _ string, conn syscall.RawConn) (err error) {
		return errors.Join(conn.Control(func(fd uintptr) {
			err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
		}), err)
	}}
	listener, err := config.Listen(ctx, "tcp4", s.address)
	if err != nil {
		cancel()
		s.tb.Fatalf("listen on %s again: %v", s.address, err)
	}
	run := &listening{cancel: cancel, served: make(chan struct{})}
	run.server = &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			s.enter(run)
			defer run.calls.Done()
			s.handler.ServeHTTP(w, r)
		}),
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ReadHeaderTimeout: patience,
	}
	s.running = run
	go func() {
		defer close(run.served)
		_ = run.server.Serve(listener) // it ends with Stop
	}()
}

// enter counts a call, unless the service has been stopped since the connection was made.
func (s *service[C]) enter(run *listening) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running != run {
		panic(http.ErrAbortHandler)
	}
	run.calls.Add(1)
}

// Stop closes the listener and every connection, in the middle of an answer too, and waits until
// the calls under way have been recorded. New connections are refused until Start. On a stopped
// service it does nothing.
func (s *service[C]) Stop() {
	s.mu.Lock()
	run := s.running
	s.running = nil
	s.mu.Unlock()
	if run == nil {
		return
	}
	run.cancel()
	_ = run.server.Close()
	<-run.served
	run.calls.Wait()
}

// SetBehaviour says how calls that begin from now on are answered, once the script is used up.
// Behaviour{} is honest.
func (s *service[C]) SetBehaviour(b Behaviour) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.behaviour = b
}

// Script says how the next calls are answered, one after the other; it adds to what is left of an
// earlier script.
func (s *service[C]) Script(next ...Behaviour) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.script = append(s.script, next...)
}

// SetHealth says how GET /health is answered from now on; the other calls have behaviours of their
// own.
func (s *service[C]) SetHealth(b Behaviour) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.health = b
}

// Calls returns the calls so far, without the health checks, in the order in which they began.
func (s *service[C]) Calls() []C {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.calls)
}

// HealthChecks is how often GET /health was called.
func (s *service[C]) HealthChecks() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.healthy
}

// Wait blocks until the condition holds. It is asked at once and each time that a call begins or
// ends or a health check comes. When it does not hold after minutes the test fails.
func (s *service[C]) Wait(what string, condition func(calls []C) bool) {
	s.tb.Helper()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for {
		s.mu.Lock()
		calls, changed := slices.Clone(s.calls), s.changed
		s.mu.Unlock()
		if condition(calls) {
			return
		}
		select {
		case <-changed:
		case <-timer.C:
			s.tb.Fatalf("waited in vain: %s (%d calls so far)", what, len(calls))
		}
	}
}

// begin records a call and chooses how it is answered.
func (s *service[C]) begin(call C) (number int, b Behaviour) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b = s.behaviour
	if len(s.script) > 0 {
		b, s.script = s.script[0], s.script[1:]
	}
	s.calls = append(s.calls, call)
	s.announce()
	return len(s.calls) - 1, b
}

// update changes the record of a call.
func (s *service[C]) update(number int, change func(*C)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(&s.calls[number])
	s.announce()
}

// beginHealth counts a health check and chooses how it is answered.
func (s *service[C]) beginHealth() Behaviour {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.healthy++
	s.announce()
	return s.health
}

// announce wakes who waits. The caller holds mu.
func (s *service[C]) announce() {
	close(s.changed)
	s.changed = make(chan struct{})
}
