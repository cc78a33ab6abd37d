package queue

import (
	"context"
	"log/slog"
	"time"
)

const (
	// window is how many entries the dispatcher keeps in the stream at most; it fills up when fewer than lowWater are left.
	window, lowWater = 1000, 500
	// pollInterval is how often the ledger is asked for waiting work when nobody wakes the dispatcher.
	pollInterval = time.Second
	// refillInterval is how often the stream is looked at while the ledger has more work than fits.
	refillInterval = 100 * time.Millisecond
	// lostCheckEmpty and lostCheck are how often rows that were handed over are compared with the stream: more often while
	// the stream is empty, because then there should be none.
	lostCheckEmpty, lostCheck = 5 * time.Second, 30 * time.Second
	// dispatchLimit bounds one turn of the dispatcher.
	dispatchLimit = 30 * time.Second
)

// source is the ledger side of a queue.
type source interface {
	// Waiting lists up to limit ids that wait, in the order in which they shall be worked on.
	Waiting(ctx context.Context, limit int) ([]int64, error)
	// MarkQueued marks those that still wait as handed over and returns their ids in the same order.
	MarkQueued(ctx context.Context, ids []int64) ([]int64, error)
	// ResetQueued makes all that was handed over and not claimed since wait again.
	ResetQueued(ctx context.Context) (int64, error)
}

// Dispatcher copies ids of waiting work from the ledger into a stream, and again when the stream has lost them.
type Dispatcher struct {
	queue  *Queue
	source source
	log    *slog.Logger
	wake   chan struct{}

	resetAt  time.Time // when rows were last compared with the stream; zero forces it
	added    entryID   // the last entry that this dispatcher added
	more     bool      // whether the ledger had more work than fitted
	failures int
}

// NewDispatcher makes the dispatcher of a queue.
func NewDispatcher(queue *Queue, source source) *Dispatcher {
	return &Dispatcher{queue: queue, source: source, log: queue.log, wake: make(chan struct{}, 1)}
}

// Wake tells the dispatcher that there is new work. It never blocks; without it new work is found within a second.
func (d *Dispatcher) Wake() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// Run dispatches until ctx ends. Redis or the database being away is waited for.
func (d *Dispatcher) Run(ctx context.Context, alive heartbeat) error {
	for ctx.Err() == nil {
		done := alive.Step(dispatchLimit)
		err := d.dispatch(ctx)
		done()
		pause := pollInterval
		switch {
		case err == nil:
			d.failures = 0
			alive.Say("")
			if d.more {
				pause = refillInterval
			}
		case ctx.Err() == nil:
			pause = d.failed(ctx, alive, err)
		}
		timer := time.NewTimer(pause)
		wake := d.wake
		if err != nil {
			wake = nil // new work does not shorten a back-off
		}
		select {
		case <-ctx.Done():
		case <-wake:
		case <-timer.C:
		}
		timer.Stop()
	}
	return nil
}

func (d *Dispatcher) failed(ctx context.Context, alive heartbeat, err error) time.Duration {
	pause := min(backoff(d.failures), 2*time.Second)
	level := slog.LevelWarn
	if d.failures > 0 {
		level = slog.LevelDebug
	}
	d.failures++
	d.resetAt = time.Time{} // whatever came back may have lost something
	alive.Say("waiting for Redis and the database")
	d.log.Log(ctx, level, "dispatcher waits", "queue", string(d.queue.name), "pause", pause, "error", err)
	return pause
}

// dispatch makes one turn: it fills the stream up from the ledger.
func (d *Dispatcher) dispatch(ctx context.Context) error {
	length, last, err := d.queue.position(ctx)
	if err != nil {
		return err
	}
	if last.before(d.added) { // flushed, or back with an old file
		d.resetAt = time.Time{}
		d.log.WarnContext(ctx, "queue has lost entries, filling it again", "queue", string(d.queue.name))
	}
	reset, err := d.resetLost(ctx, length == 0)
	if err != nil {
		return err
	}
	if length > lowWater && !reset {
		return nil
	}
	var entries []int64
	if length > 0 {
		if entries, err = d.queue.entries(ctx); err != nil {
			return err
		}
	}
	waiting, err := d.source.Waiting(ctx, window)
	if err != nil {
		return err
	}
	return d.fill(ctx, entries, waiting)
}

// fill marks waiting rows as handed over and adds to the stream those that are not in it.
func (d *Dispatcher) fill(ctx context.Context, entries, waiting []int64) error {
	present := make(map[int64]bool, len(entries))
	for _, id := range entries {
		present[id] = true
	}
	room := window - len(entries)
	d.more = len(waiting) == window
	chosen := make([]int64, 0, len(waiting))
	for _, id := range waiting {
		if !present[id] {
			if room <= 0 {
				d.more = true
				continue
			}
			room--
		}
		chosen = append(chosen, id)
	}
	marked, err := d.source.MarkQueued(ctx, chosen)
	if err != nil {
		return err
	}
	missing := marked[:0]
	for _, id := range marked {
		if !present[id] {
			missing = append(missing, id)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	d.added, err = d.queue.add(ctx, missing)
	return err
}

// resetLost makes rows that were handed over wait again, now and then. Those that are in the stream are recognised and only
// marked again; those that are not were lost by Redis and are added.
func (d *Dispatcher) resetLost(ctx context.Context, empty bool) (reset bool, err error) {
	interval := lostCheck
	if empty {
		interval = lostCheckEmpty
	}
	now := time.Now()
	if !d.resetAt.IsZero() && now.Sub(d.resetAt) < interval {
		return false, nil
	}
	if _, err := d.source.ResetQueued(ctx); err != nil {
		return false, err
	}
	d.resetAt = now
	return true, nil
}
