package queue

import (
	"context"
	"log/slog"
	"time"

	"hsi.home.arpa/internal/beat"
)

const (
	// pollInterval is how often the ledger is asked for waiting work when nobody wakes the
	// dispatcher.
	pollInterval = time.Second
	// refillInterval is how often the stream is looked at while the ledger has more work than fits.
	// Consumers of this process tell earlier that it runs low; those of others do not.
	refillInterval = 100 * time.Millisecond
	// turnInterval is the least time between two turns, so that work that comes fast is handed over
	// in bundles.
	turnInterval = 20 * time.Millisecond
	// lostCheckEmpty and lostCheck are how often rows that were handed over are compared with the
	// stream: more often while the stream is empty, because then there should be none.
	lostCheckEmpty, lostCheck = 5 * time.Second, 30 * time.Second
	// dispatchLimit bounds one turn of the dispatcher.
	dispatchLimit = 30 * time.Second
)

// source is the ledger side of a queue.
type source interface {
	// Waiting lists up to limit ids that wait, in the order in which they shall be worked on.
	Waiting(ctx context.Context, limit int) ([]int64, error)
	// MarkQueued marks those that still wait as handed over and returns their ids in the same
	// order.
	MarkQueued(ctx context.Context, ids []int64) ([]int64, error)
	// ResetQueued makes all that was handed over and not claimed since wait again.
	ResetQueued(ctx context.Context) (int64, error)
	// Backlog tells how much is not finished.
	Backlog(ctx context.Context) (Backlog, error)
}

// Dispatcher copies ids of waiting work from the ledger into a stream, and again when the stream
// has lost them. The stream gets about as much as is worked on in a quarter of a second: what it
// holds is worked on in order, and only what it does not hold yet can still be overtaken by what is
// fairer.
type Dispatcher struct {
	queue  *Queue
	source source
	log    *slog.Logger
	wake   chan struct{}
	now    func() time.Time

	resetAt  time.Time // when rows were last compared with the stream; zero forces it
	added    entryID   // the last entry that this dispatcher added
	more     bool      // whether the ledger may have more work than fitted
	pace     pace
	backlog  backlogWatch
	failures int
}

// NewDispatcher makes the dispatcher of a queue.
func NewDispatcher(queue *Queue, source source) *Dispatcher {
	return &Dispatcher{
		queue: queue, source: source, log: queue.log, wake: make(chan struct{}, 1), now: time.Now,
		backlog: backlogWatch{log: queue.log.With("queue", string(queue.name)), what: queue.name.what()},
	}
}

// Wake tells the dispatcher that there is new work. It never blocks; without it new work is found
// within a second.
func (d *Dispatcher) Wake() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// Run dispatches until ctx ends. Redis or the database being away is waited for.
func (d *Dispatcher) Run(ctx context.Context, alive heartbeat) error {
	woken := false
	for ctx.Err() == nil {
		startedAt := d.now()
		done := alive.Step(dispatchLimit)
		err := d.dispatch(ctx, woken)
		done()
		pause := beat.Until(d.now(), pollInterval)
		switch {
		case err == nil:
			d.failures = 0
			alive.Say(d.backlog.message)
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
		woken = true
		select {
		case <-ctx.Done():
		case <-wake:
			wait(ctx, turnInterval-d.now().Sub(startedAt))
		case <-d.queue.low:
		case <-timer.C:
			woken = false
		}
		timer.Stop()
	}
	return nil
}

func (d *Dispatcher) failed(ctx context.Context, alive heartbeat, err error) time.Duration {
	pause := min(DefaultPauses().after(d.failures), 2*time.Second)
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

// dispatch makes one turn: it fills the stream up from the ledger. When nobody has told of work, it
// asks first whether there is any, which costs less than asking what it is.
func (d *Dispatcher) dispatch(ctx context.Context, woken bool) error {
	at, err := d.queue.position(ctx)
	if err != nil {
		return err
	}
	if at.last.before(d.added) { // flushed, or back with an old file
		d.resetAt = time.Time{}
		d.log.WarnContext(ctx, "queue has lost entries, filling it again", "queue", string(d.queue.name))
	}
	if err := d.resetLost(ctx, at.length == 0); err != nil {
		return err
	}
	waiting := at.waiting()
	window := d.pace.window(d.now(), waiting)
	idle := false
	if !woken && waiting == 0 {
		if idle, err = d.backlog.empty(ctx, d.now(), d.source); err != nil {
			return err
		}
	}
	if d.more = waiting > window/2; !d.more && !idle { // else it may have more: not asked
		added, err := d.fill(ctx, window-waiting)
		if err != nil {
			return err
		}
		waiting += added
		d.pace.add(added)
	}
	if d.more {
		d.queue.tellAfter(int64(max(1, waiting-window/2)))
	} else {
		d.queue.tellNever()
	}
	return d.backlog.look(ctx, d.now(), d.source)
}

// fill hands over up to room rows that wait and returns how many it added to the stream.
func (d *Dispatcher) fill(ctx context.Context, room int) (added int, err error) {
	waiting, err := d.source.Waiting(ctx, room)
	if err != nil {
		return 0, err
	}
	d.more = len(waiting) >= room
	marked, err := d.source.MarkQueued(ctx, waiting)
	if err != nil || len(marked) == 0 {
		return 0, err
	}
	d.added, err = d.queue.add(ctx, marked)
	return len(marked), err
}

// resetLost makes rows that were handed over wait again, now and then. Those that are in the stream
// are marked again at once; those that are not were lost by Redis and are added by the turns that
// follow.
func (d *Dispatcher) resetLost(ctx context.Context, empty bool) error {
	interval := lostCheck
	if empty {
		interval = lostCheckEmpty
	}
	now := d.now()
	if !d.resetAt.IsZero() && now.Sub(d.resetAt) < interval {
		return nil
	}
	if _, err := d.source.ResetQueued(ctx); err != nil {
		return err
	}
	if !empty {
		entries, err := d.queue.entries(ctx)
		if err != nil {
			return err
		}
		if _, err := d.source.MarkQueued(ctx, entries); err != nil {
			return err
		}
	}
	d.resetAt = now
	return nil
}
