package batch

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"hsi.home.arpa/internal/beat"
	"hsi.home.arpa/pipeline/latency"
	"hsi.home.arpa/store"
)

const (
	// checkInterval is how often open batches are looked at, and so how soon a changed
	// configuration reaches them.
	checkInterval = 500 * time.Millisecond
	// idleInterval is how often it is asked for open batches while there are none. No batch is over
	// sooner after it was opened.
	idleInterval = time.Second
)

// checkLimit bounds one look.
const checkLimit = 30 * time.Second

// ledger is what the closer needs of the store.
type ledger interface {
	OpenBatches(ctx context.Context) ([]store.Batch, error)
	CloseBatch(ctx context.Context, id int64, decide func(store.Batch) bool) (store.Batch, bool, error)
}

// settings gives the live configuration.
type settings interface {
	Latest() store.SystemConfig
}

// observer takes latency samples.
type observer interface {
	Observe(stage latency.Stage, d time.Duration)
}

// heartbeat shows that a function is alive; see pipeline.Heartbeat.
type heartbeat interface {
	Say(message string)
	Step(limit time.Duration) (done func())
}

// Options of a Closer. All are required.
type Options struct {
	Ledger   ledger
	Settings settings
	Observer observer
	// Closed is called after a batch was closed, to wake who waits for it. It must not block.
	Closed func()
	Log    *slog.Logger
}

// Closer closes batches that are over although no image came to close them.
type Closer struct {
	options  Options
	failures int
}

// NewCloser makes a closer.
func NewCloser(options Options) *Closer { return &Closer{options: options} }

// Run looks at the open batches twice a second until ctx ends, and for new ones every second. The
// database being away is waited for.
func (c *Closer) Run(ctx context.Context, alive heartbeat) error {
	for {
		done := alive.Step(checkLimit)
		open, err := c.closeAll(ctx)
		done()
		c.report(ctx, alive, err)
		interval := checkInterval
		if err == nil && open == 0 {
			interval = idleInterval
		}
		timer := time.NewTimer(beat.Until(time.Now(), interval))
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		}
	}
}

// closeAll closes every open batch that is over, and returns how many were open.
func (c *Closer) closeAll(ctx context.Context) (int, error) {
	open, err := c.options.Ledger.OpenBatches(ctx)
	if err != nil {
		return 0, err
	}
	config := ConfigOf(c.options.Settings.Latest())
	decide := func(b store.Batch) bool { return ShouldClose(b, config) }
	for _, b := range open {
		if !decide(b) {
			continue
		}
		// Asked again under the row lock: an image may have come in between.
		closed, byUs, err := c.options.Ledger.CloseBatch(ctx, b.ID, decide)
		if err != nil {
			return 0, err
		}
		if byUs {
			Observe(c.options.Observer, closed)
			c.options.Closed()
		}
	}
	return len(open), nil
}

func (c *Closer) report(ctx context.Context, alive heartbeat, err error) {
	switch {
	case err == nil:
		c.failures = 0
		alive.Say("")
		return
	case ctx.Err() != nil:
		return
	}
	c.failures++
	alive.Say("waiting for the database")
	if c.failures > 1 {
		return // said once
	}
	level := slog.LevelError
	if errors.Is(err, store.ErrUnavailable) {
		level = slog.LevelWarn
	}
	c.options.Log.Log(ctx, level, "batches cannot be closed", "error", err)
}

// Observe records how long a batch that was just closed had been open.
func Observe(o observer, closed store.Batch) {
	if closed.ClosedAt != nil {
		o.Observe(latency.Batch, closed.ClosedAt.Sub(closed.CreatedAt))
	}
}
