package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"
)

// stage is a part of the process that starts after the stages before it and stops before them.
type stage struct {
	name string
	// limit is how long the stage may take to stop; then the next one stops all the same.
	limit time.Duration
	runs  []namedRun
}

// namedRun is one function of a stage. It blocks until its context ends; an error from it ends the
// process.
type namedRun struct {
	name string
	run  func(ctx context.Context) error
}

// runStages starts the stages in order without waiting for one to be ready, since a missing
// dependency never ends the process. When ctx ends, or when a function fails, it stops them in the
// opposite order, all within budget, and returns the first failure.
func runStages(ctx context.Context, log *slog.Logger, budget time.Duration, stages []stage) error {
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	running := make([]*runningStage, 0, len(stages))
	for _, s := range stages {
		running = append(running, startStage(ctx, s, fail))
	}
	<-ctx.Done()
	end := time.Now().Add(budget)
	for _, r := range slices.Backward(running) {
		started := time.Now()
		limit := min(r.limit, max(time.Until(end), 0))
		if !r.stop(limit) {
			log.WarnContext(ctx, "a part did not stop in time", "part", r.name, "limit", limit)
		}
		log.DebugContext(ctx, "part stopped", "part", r.name, "took", time.Since(started))
	}
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
		return cause
	}
	return nil
}

type runningStage struct {
	stage
	cancel context.CancelFunc
	done   chan struct{}
}

// startStage gives the stage a context of its own: it must outlive the signal until its turn to
// stop has come.
func startStage(ctx context.Context, s stage, fail context.CancelCauseFunc) *runningStage {
	own, cancel := context.WithCancel(context.WithoutCancel(ctx))
	r := &runningStage{stage: s, cancel: cancel, done: make(chan struct{})}
	var wg sync.WaitGroup
	for _, f := range s.runs {
		wg.Go(func() {
			err := f.run(own)
			switch {
			case own.Err() != nil:
				return
			case err == nil:
				fail(fmt.Errorf("%s ended although nobody stopped it", f.name))
			default:
				fail(err)
			}
		})
	}
	go func() {
		wg.Wait()
		close(r.done)
	}()
	return r
}

func (r *runningStage) stop(limit time.Duration) bool {
	r.cancel()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-r.done:
		return true
	case <-timer.C:
		return false
	}
}

// after holds run back until all of ready are closed, but no longer than patience, so that a part
// does not complain about a dependency that is just being started. A dependency that stays away is
// the part's own business: it waits, says so and heals.
func after(patience time.Duration, run func(ctx context.Context) error, ready ...<-chan struct{}) func(ctx context.Context) error {
	return func(ctx context.Context) error {
		timer := time.NewTimer(patience)
		defer timer.Stop()
		for _, one := range ready {
			select {
			case <-one:
			case <-timer.C:
				return run(ctx)
			case <-ctx.Done():
				return nil
			}
		}
		return run(ctx)
	}
}
