package retention

import (
	"context"
	"errors"

	"hsi.home.arpa/store/media"
)

// sweepEvery is after how many transactions marked files are removed, so that marks do not pile up.
// That goes on beside the next transactions; not more than twice as many are ahead of it.
const sweepEvery = 10

// sweepResult is how a sweep ended.
type sweepResult struct {
	removed  media.Removed
	err      error
	panicked any
}

// sweep removes the files that are marked.
func (r *run) sweep(ctx context.Context) error {
	if err := r.beginSweep(ctx); err != nil {
		return err
	}
	return r.awaitSweep(ctx)
}

// beginSweep lets the files that are marked be removed beside what the run does next.
func (r *run) beginSweep(ctx context.Context) error {
	if err := r.awaitSweep(ctx); err != nil {
		return err
	}
	r.service.step(ctx, "before sweep")
	r.batches = 0
	ended := make(chan sweepResult, 1)
	r.sweeps = ended
	go func() {
		var result sweepResult
		defer func() {
			result.panicked = recover()
			ended <- result
		}()
		result.removed, result.err = r.sweeper.Sweep(ctx)
	}()
	return nil
}

// awaitSweep waits for the end of the sweep that is under way, which ends with ctx.
func (r *run) awaitSweep(ctx context.Context) error {
	if r.sweeps == nil {
		return nil
	}
	result := <-r.sweeps
	r.sweeps = nil
	if result.panicked != nil {
		panic(result.panicked)
	}
	r.report.take(result.removed)
	if result.err != nil && !r.plan.mayIgnore(result.err) {
		return result.err
	}
	r.service.step(ctx, "after sweep")
	return nil
}

func (r *run) maybeSweep(ctx context.Context) error {
	r.batches++
	if r.batches < sweepEvery {
		return nil
	}
	return r.beginSweep(ctx)
}

// mayIgnore tells whether an error is about the cameras' folder, which matters only when originals
// are deleted.
func (p plan) mayIgnore(err error) bool {
	unavailable, ok := errors.AsType[*media.UnavailableError](err)
	return ok && unavailable.Kind == media.Image && !p.deleteImages
}
