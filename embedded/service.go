package embedded

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"hsi.home.arpa/embedded/internal/child"
)

const (
	// minRestartDelay and maxRestartDelay bound the pause before a dead server is started again; a
	// server that has never been ready (no room for its data, say) is tried less often.
	minRestartDelay      = 100 * time.Millisecond
	maxRestartDelay      = 2 * time.Second
	maxFirstStartDelay   = 15 * time.Second
	socketCheckInterval  = 2 * time.Second
	slowStartLogInterval = 10 * time.Second
	// supervisorPatience is how long another supervisor of the same data may take to end.
	supervisorPatience = 10 * time.Second
	// supervisorLockName is the file in a home that its supervisor keeps locked.
	supervisorLockName = "supervisor.lock"
	// steadyTime is how long a server must have been ready for its earlier failures to be
	// forgotten.
	steadyTime = time.Second
)

// failure is how the last tries to keep a server running ended.
type failure struct {
	// inARow counts the starts that failed since the server was last ready.
	inARow int
	reason string
}

// service supervises one server. The fields up to severe are set by its owner.
type service struct {
	name   string
	place  place
	log    *slog.Logger
	socket string
	spec   child.Spec
	ping   func(context.Context) error
	stop   []child.Step
	// patience is how long another supervisor of the same home may take to end.
	patience time.Duration
	// prepare runs before each start. It gets how the last start failed.
	prepare func(context.Context, failure) error
	// severe picks the lines of the server's output that say why it ended.
	severe func(line string) bool

	ready    chan struct{}
	started  atomic.Bool
	restarts atomic.Int64
	reasons  *child.Tail
}

func newService(s *service) *service {
	if s.patience == 0 {
		s.patience = supervisorPatience
	}
	s.ready = make(chan struct{})
	s.reasons = child.NewTail(3)
	s.log = s.log.With("component", "embedded", "service", s.name)
	logged := newLineLog(s.log, time.Now)
	s.spec.Output = func(line string) {
		if s.severe(line) {
			s.reasons.Add(line)
		}
		logged.add(line)
	}
	return s
}

// run is Run of both servers.
func (s *service) run(ctx context.Context) error {
	if !s.started.CompareAndSwap(false, true) {
		return fmt.Errorf("%s: Run was called twice", s.name)
	}
	lock, err := s.claimHome(ctx)
	if lock == nil {
		return err
	}
	defer func() { _ = lock.Close() }()
	return s.supervise(ctx)
}

// claimHome makes and locks the home, trying again for ever: the disk may be full or read-only for
// now. It returns neither lock nor error when ctx ends first.
func (s *service) claimHome(ctx context.Context) (*os.File, error) {
	for {
		lock, err := s.openHome(ctx)
		if err == nil {
			return lock, nil
		}
		if ctx.Err() != nil {
			return nil, nil //nolint:nilerr,nilnil // the end that was asked for
		}
		if permanent(err) {
			return nil, err
		}
		s.log.ErrorContext(ctx, "cannot use the data folder, trying again", "err", err, "delay", maxFirstStartDelay)
		if !pause(ctx, maxFirstStartDelay) {
			return nil, nil //nolint:nilnil // as above
		}
	}
}

func (s *service) openHome(ctx context.Context) (*os.File, error) {
	if err := s.place.identity.MakeDir(s.place.home, 0o700); err != nil {
		return nil, err
	}
	if s.place.fromRoot {
		if err := s.place.identity.Adopt(s.place.home); err != nil {
			return nil, err
		}
	}
	if s.place.moved {
		s.log.WarnContext(ctx, "data lies outside DATA_DIR, which the server's user cannot enter", "path", s.place.home, "user", s.place.identity.Name)
	}
	return s.lockHome(ctx)
}

// pause waits and reports whether ctx is still running.
func pause(ctx context.Context, delay time.Duration) bool {
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// lockHome makes us the only supervisor of the home. One that is just ending is waited for.
func (s *service) lockHome(ctx context.Context) (*os.File, error) {
	lock, err := child.OpenLock(s.place.home, supervisorLockName)
	if err != nil {
		return nil, err
	}
	timeout := time.NewTimer(s.patience)
	defer timeout.Stop()
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for {
		err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return lock, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			_ = lock.Close()
			return nil, fmt.Errorf("lock %s: %w", lock.Name(), err)
		}
		select {
		case <-ctx.Done():
			_ = lock.Close()
			return nil, ctx.Err()
		case <-timeout.C:
			_ = lock.Close()
			return nil, &InUseError{DataDir: s.place.home}
		case <-ticker.C:
		}
	}
}

// supervise keeps the server running until ctx ends.
func (s *service) supervise(ctx context.Context) error {
	var last failure
	everReady := false
	delay := minRestartDelay
	for {
		s.reasons.Reset()
		readyFor, err := s.session(ctx, last)
		if ctx.Err() != nil {
			return nil //nolint:nilerr // the end that was asked for
		}
		if permanent(err) {
			return err
		}
		last = failure{inARow: last.inARow + 1, reason: err.Error()}
		limit := maxFirstStartDelay
		if everReady = everReady || readyFor > 0; everReady {
			limit = maxRestartDelay
		}
		if readyFor > 0 {
			last.inARow = 0
		}
		if readyFor > steadyTime {
			delay = minRestartDelay
		}
		s.log.ErrorContext(ctx, "server is gone, starting it again", "err", err, "ready_for", readyFor, "delay", delay)
		if !pause(ctx, delay) {
			return nil
		}
		delay = min(2*delay, limit)
		s.restarts.Add(1)
	}
}

// permanent errors are those that another try cannot mend.
func permanent(err error) bool {
	var version *VersionError
	var inUse *InUseError
	return errors.As(err, &version) || errors.As(err, &inUse)
}

// session is one life of the server. It returns how long the server was ready and why it ended;
// never nil.
func (s *service) session(ctx context.Context, last failure) (readyFor time.Duration, err error) {
	begun := time.Now()
	runDir, err := child.MakeRunDir(s.place.identity, s.place.runDir)
	if err != nil {
		return 0, err
	}
	defer func() {
		_ = os.RemoveAll(s.place.runDir) // the server is gone: nobody needs its socket
		_ = runDir.Close()
	}()
	if err := s.prepare(ctx, last); err != nil {
		return 0, err
	}
	process, err := child.Start(ctx, s.spec)
	if err != nil {
		return 0, err
	}
	if err := s.awaitReady(ctx, process); err != nil {
		process.Stop(s.stop...)
		return 0, s.explain(err)
	}
	s.log.InfoContext(ctx, "server is ready", "pid", process.PID(), "took", time.Since(begun), "user", s.place.identity.Name, "path", s.place.home)
	select {
	case <-s.ready:
	default:
		close(s.ready)
	}
	ready := time.Now()
	err = s.watch(ctx, process)
	return max(time.Since(ready), 1), err
}

// awaitReady waits without limit: a database that recovers from a crash may take minutes and must
// not be disturbed.
func (s *service) awaitReady(ctx context.Context, process *child.Process) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	slow := time.AfterFunc(slowStartLogInterval, func() {
		s.log.WarnContext(ctx, "server takes long to start")
	})
	defer slow.Stop()
	return process.AwaitReady(ctx, s.ping)
}

// watch returns when the server has ended: by itself, because ctx ended, or because its socket was
// removed.
func (s *service) watch(ctx context.Context, process *child.Process) error {
	ticker := time.NewTicker(socketCheckInterval)
	defer ticker.Stop()
	for {
		select {
		case <-process.Done():
			return s.explain(fmt.Errorf("the server ended: %s", process.ExitText()))
		case <-ctx.Done():
			begun := time.Now()
			killed := process.Stop(s.stop...)
			s.log.InfoContext(ctx, "server stopped", "took", time.Since(begun), "killed", killed)
			return ctx.Err()
		case <-ticker.C:
			if _, err := os.Lstat(s.socket); errors.Is(err, os.ErrNotExist) {
				process.Stop(s.stop...)
				return fmt.Errorf("somebody removed the socket %s", s.socket)
			}
		}
	}
}

// explain adds the server's own last words.
func (s *service) explain(err error) error {
	if lines := s.reasons.Lines(); len(lines) > 0 {
		return fmt.Errorf("%w: %s", err, strings.Join(lines, "; "))
	}
	return err
}
