// Package pipeline supervises the background work of the server: named functions that run until the
// process stops, are started again after an error or a panic, and show by heartbeats whether they
// are alive. The packages below it are the stages that one image passes: intake, queue, detect,
// batch, analyze.
package pipeline

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"
)

// Stop groups, in the order in which they stop: first what takes in new work, then what finishes
// it, then the rest.
const (
	GroupIntake = iota
	GroupWorkers
	GroupServices
	groupCount
)

// defaultFreshFor is how long one heartbeat counts unless a function asks for another time.
const defaultFreshFor = 30 * time.Second

var errReturned = errors.New("the function returned although nobody stopped it")

// Function is one supervised function.
type Function struct {
	// Name is the worker that the function belongs to, such as DetectionWorker. Several functions
	// may share a name: the worker runs when all of them run.
	Name string
	// Part tells functions of one worker apart in the log, such as "dispatcher". May be empty.
	Part string
	// Group is one of the Group constants and decides when the function stops. Defaults to
	// GroupIntake.
	Group int
	// FreshFor is how long one heartbeat counts. Defaults to 30 seconds.
	FreshFor time.Duration
	// Run does the work, blocks, and returns nil when ctx ends. Anything else it returns, and a
	// panic, starts it again after a pause.
	Run func(ctx context.Context, heartbeat *Heartbeat) error
}

// Plain makes a Function's Run from a function that has no heartbeats. Such a worker counts as
// alive as long as it runs.
func Plain(run func(ctx context.Context) error) func(context.Context, *Heartbeat) error {
	return func(ctx context.Context, heartbeat *Heartbeat) error {
		const forever = 100 * 365 * 24 * time.Hour
		defer heartbeat.Step(forever)()
		return run(ctx)
	}
}

// Options of a Supervisor.
type Options struct {
	Log *slog.Logger
	// Now is the clock. Defaults to time.Now.
	Now func() time.Time
	// Backoff is the pause before start number attempt (1 for the first restart). Defaults to 1 s
	// doubled each time, at most 30 s, with a quarter of jitter.
	Backoff func(attempt int) time.Duration
	// StopTimeout is how long one group may take to stop before the next group is told to. Defaults
	// to 5 s.
	StopTimeout time.Duration
}

// Supervisor runs named functions.
type Supervisor struct {
	options Options
	log     *slog.Logger
	now     func() time.Time

	mu      sync.Mutex
	members []*member // guarded by mu
	started bool      // guarded by mu
}

// New makes a supervisor that runs nothing yet.
func New(options Options) *Supervisor {
	if options.Now == nil {
		options.Now = time.Now
	}
	if options.Backoff == nil {
		options.Backoff = defaultBackoff
	}
	if options.StopTimeout == 0 {
		options.StopTimeout = 5 * time.Second
	}
	return &Supervisor{options: options, log: options.Log, now: options.Now}
}

// Add registers a function. It must be called before Run and panics afterwards, because that is a
// mistake in the program.
func (s *Supervisor) Add(functions ...Function) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.started {
		panic("pipeline: Add after Run")
	}
	for _, f := range functions {
		if f.FreshFor == 0 {
			f.FreshFor = defaultFreshFor
		}
		s.members = append(s.members, &member{Function: f, message: "not started", heartbeat: newHeartbeat(s.now)})
	}
}

// Run starts all functions and blocks until ctx ends and they have stopped, group by group. A group
// that does not stop within StopTimeout is left behind and named in the log. A second Run returns
// an error.
func (s *Supervisor) Run(ctx context.Context) error {
	s.mu.Lock()
	if s.started {
		s.mu.Unlock()
		return errors.New("pipeline: the supervisor already runs")
	}
	s.started = true
	members := s.members
	s.mu.Unlock()

	var (
		done    [groupCount]sync.WaitGroup
		cancels [groupCount]context.CancelFunc
	)
	for group := range groupCount {
		// The groups outlive ctx: they are cancelled one after the other below.
		groupCtx, cancel := context.WithCancel(context.WithoutCancel(ctx))
		defer cancel()
		cancels[group] = cancel
		for _, m := range members {
			if m.Group != group {
				continue
			}
			done[group].Go(func() { s.keep(groupCtx, m) })
		}
	}
	<-ctx.Done()
	for group := range groupCount {
		cancels[group]()
		if !waitFor(&done[group], s.options.StopTimeout) {
			s.logLate(context.WithoutCancel(ctx), members, group)
		}
	}
	return nil
}

// logLate names the functions of a group that did not stop in time.
func (s *Supervisor) logLate(ctx context.Context, members []*member, group int) {
	for _, m := range members {
		if m.Group == group && m.isRunning() {
			s.log.WarnContext(ctx, "worker did not stop in time", "worker", m.Name, "part", m.Part)
		}
	}
}

// waitFor waits for wg, at most for limit.
func waitFor(wg *sync.WaitGroup, limit time.Duration) bool {
	stopped := make(chan struct{})
	go func() {
		wg.Wait()
		close(stopped)
	}()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-stopped:
		return true
	case <-timer.C:
		return false
	}
}

// keep runs one function again and again until ctx ends.
func (s *Supervisor) keep(ctx context.Context, m *member) {
	const healthyAfter = time.Minute // after so long a run the pauses start from the shortest again
	attempt := 0
	for {
		startedAt := s.now()
		m.setRunning()
		err := runSafely(ctx, m)
		if ctx.Err() != nil {
			m.setStopped("stopped")
			if err != nil && !errors.Is(err, context.Canceled) {
				s.log.WarnContext(ctx, "worker stopped with an error", "worker", m.Name, "part", m.Part, "error", err)
			}
			return
		}
		if err == nil {
			err = errReturned
		}
		if s.now().Sub(startedAt) >= healthyAfter {
			attempt = 0
		}
		attempt++
		pause := s.options.Backoff(attempt)
		m.setFailed(attempt, kindOfFailure(err))
		s.logFailure(ctx, m, err, attempt, pause)
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			m.setStopped("stopped")
			return
		case <-timer.C:
		}
	}
}

func (s *Supervisor) logFailure(ctx context.Context, m *member, err error, attempt int, pause time.Duration) {
	attrs := []any{"worker", m.Name, "part", m.Part, "error", err, "attempt", attempt, "restart_in", pause}
	if panicked, ok := errors.AsType[*panicError](err); ok {
		attrs = append(attrs, "stack", string(panicked.stack))
	}
	s.log.ErrorContext(ctx, "worker failed", attrs...)
}

func defaultBackoff(attempt int) time.Duration {
	const longest = 30 * time.Second
	pause := longest
	if attempt <= 5 {
		pause = time.Second << (attempt - 1)
	}
	jitter := rand.Float64() / 4 //nolint:gosec // jitter needs no cryptographic randomness
	return pause + time.Duration(float64(pause)*jitter)
}
