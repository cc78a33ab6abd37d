package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"hsi.home.arpa/internal/e2e"
)

const (
	// readyPatience is how long readiness is waited for before the run is given up.
	readyPatience = 5 * time.Minute
	// readyPoll is how often readiness is asked for.
	readyPoll = 20 * time.Millisecond
)

// faultRunner makes the faults of a run and measures how long readiness takes to come back.
type faultRunner struct {
	world *world

	mu    sync.Mutex
	count map[kind]int // guarded by mu; faults that took place
	// afterKills are the times from the last fault to readiness of the bursts with a kill, others
	// those of the rest.
	afterKills, others []time.Duration // guarded by mu
	findings           e2e.Findings    // guarded by mu
}

func (f *faultRunner) found(what e2e.Finding) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.findings = append(f.findings, what)
}

// noted counts a fault that took place.
func (f *faultRunner) noted(k kind) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.count[k]++
}

// kills is how many processes were killed so far.
func (f *faultRunner) kills() (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for k, count := range f.count {
		if k.isKill() {
			n += count
		}
	}
	return n
}

// burst makes the faults of one burst, waits until all have ended, and then until the server is
// ready again.
func (f *faultRunner) burst(ctx context.Context, b burst) error {
	var (
		running sync.WaitGroup
		mu      sync.Mutex
		last    time.Time
		errs    []error
	)
	for _, one := range b.faults {
		running.Go(func() {
			if !e2e.Wait(ctx, one.after) {
				return
			}
			ended, err := f.make(ctx, one)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", one.kind, err))
			}
			if ended.After(last) {
				last = ended
			}
		})
	}
	running.Wait()
	if err := errors.Join(errs...); err != nil || ctx.Err() != nil {
		return errors.Join(err, context.Cause(ctx))
	}
	if last.IsZero() {
		last = time.Now()
	}
	took, err := f.awaitReady(ctx, last)
	if err != nil {
		return err
	}
	f.recovered(took, slices.ContainsFunc(b.faults,
		func(one fault) bool { return one.kind.isKill() }))
	e2e.Wait(ctx, b.calm)
	return nil
}

// notReadyError says that readiness did not come back, which ends a run.
type notReadyError struct{}

func (*notReadyError) Error() string {
	return fmt.Sprintf("not ready %v after the last fault", readyPatience)
}

// awaitReady waits for readiness and returns how long after the last fault it came.
func (f *faultRunner) awaitReady(ctx context.Context, last time.Time) (time.Duration, error) {
	limited, cancel := context.WithTimeoutCause(ctx, readyPatience, &notReadyError{})
	defer cancel()
	if !e2e.Until(limited, readyPoll, func() bool { return f.world.server.ready(limited) }) {
		return 0, context.Cause(limited)
	}
	return time.Since(last), nil
}

func (f *faultRunner) recovered(took time.Duration, killed bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if killed {
		f.afterKills = append(f.afterKills, took)
	} else {
		f.others = append(f.others, took)
	}
}

// make makes one fault and returns when it ended: when the killed process was launched again, or
// the trouble lifted. A fault that could not be made, because what it needs was down itself, is
// not counted and no error.
func (f *faultRunner) make(ctx context.Context, one fault) (ended time.Time, err error) {
	defer catch(&err)
	w := f.world
	switch one.kind {
	case killServer:
		return w.killServer(ctx, one.hold, f.noted)
	case killPostgres:
		return w.killPostgres(ctx, one.hold, one.pick%4 == 0, f.noted)
	case killRedis:
		return w.killRedis(ctx, one.hold, f.noted)
	case staleRedis:
		return w.staleRedis(ctx, one.hold, f.noted)
	case flushRedis:
		_, err := w.Redis(ctx, "FLUSHALL")
		return f.attempt(one.kind, err)
	case cutSessions:
		return f.attempt(one.kind, w.Order(ctx,
			`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'`))
	case readOnly:
		return f.disturbed(one.kind, w.makeReadOnly(ctx, one.hold) == nil)
	case holdLock:
		return f.disturbed(one.kind, w.holdLock(ctx, one.hold, one.pick) == nil)
	case killSession:
		return f.attempt(one.kind, w.killSession(ctx))
	case freezeServer:
		w.freezeServer(ctx, one.hold, one.pick%2 == 0)
	case freezeRedis:
		w.freeze(ctx, &w.redisMu, w.redis, one.hold)
	case freezePostgres:
		w.freeze(ctx, &w.postgresMu, w.postgres, one.hold)
	case takeOver:
		made, err := w.takeOver(ctx, one.hold, one.pick%4 == 0)
		if err != nil {
			f.found(e2e.Finding{Kind: e2e.Misbehaving, Text: "the second server: " + err.Error()})
		}
		return f.disturbed(one.kind, made)
	default:
		return time.Time{}, fmt.Errorf("no fault of a burst: %s", one.kind)
	}
	return f.disturbed(one.kind, true)
}

// disturbed ends a fault that took a while, and counts it when it came to be what it was meant to
// be.
func (f *faultRunner) disturbed(k kind, made bool) (time.Time, error) {
	if made {
		f.noted(k)
	}
	return time.Now(), nil
}

// attempt ends a fault of one moment, which disturbed nothing when it could not be made.
func (f *faultRunner) attempt(k kind, err error) (time.Time, error) {
	if err != nil {
		return time.Time{}, nil //nolint:nilerr // the database was down itself
	}
	return f.disturbed(k, true)
}
