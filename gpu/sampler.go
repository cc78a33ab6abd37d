package gpu

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"
)

const (
	// staleIntervals is the age, in intervals, at which a sample is no longer given out.
	staleIntervals = 3
	// minCallTimeout and maxCallTimeout bound the time that a reading may take; between them it is
	// the interval.
	minCallTimeout = time.Second
	maxCallTimeout = 10 * time.Second
	// closeTimeout bounds the wait for the driver when the sampler stops.
	closeTimeout = time.Second
)

var errRunning = errors.New("the GPU sampler is running already")

// Options of a Sampler.
type Options struct {
	Log *slog.Logger
	// Now is the clock. Defaults to time.Now.
	Now func() time.Time
	// Interval is the time from one reading to the next. Defaults to 5 seconds.
	Interval time.Duration
	// Host is the name of this machine in each sample. Empty leaves it unknown.
	Host string
}

// Sampler reads a Source at an interval and keeps the newest snapshot. Readers of Latest never wait
// for the driver.
type Sampler struct {
	source   Source
	log      *slog.Logger
	now      func() time.Time
	interval time.Duration
	host     *string

	newest  atomic.Pointer[Snapshot]
	running atomic.Bool

	// abandoned delivers the result of the reading that did not return in time; nil when there is
	// none. It belongs to run.
	abandoned <-chan reading
}

// reading is what came of one Source.Read.
type reading struct {
	sample Sample
	err    error
}

// NewSampler returns a sampler that reads nothing before Run.
func NewSampler(source Source, options Options) *Sampler {
	if options.Now == nil {
		options.Now = time.Now
	}
	if options.Interval <= 0 {
		options.Interval = 5 * time.Second
	}
	s := &Sampler{source: source, log: options.Log, now: options.Now, interval: options.Interval}
	if options.Host != "" {
		s.host = &options.Host
	}
	s.newest.Store(&Snapshot{State: StateStarting, Message: "the GPU has not been read yet"})
	return s
}

// Latest returns the newest snapshot at once. A sample older than three intervals is not in it.
func (s *Sampler) Latest() Snapshot {
	snapshot := *s.newest.Load()
	if snapshot.Sample != nil && s.now().Sub(snapshot.SampledAt) > staleIntervals*s.interval {
		snapshot.State, snapshot.Sample, snapshot.SampledAt = StateLost, nil, time.Time{}
		snapshot.Message = "the GPU has not been read for too long"
	}
	return snapshot
}

// Run reads the card at once and then at each interval, until ctx ends; then it lets the driver go
// and returns nil. A card that cannot be read is not an error. A second Run beside a running one
// returns an error.
func (s *Sampler) Run(ctx context.Context) error {
	return s.run(ctx, func(Snapshot) {})
}

// run is Run, and tells each snapshot to after.
func (s *Sampler) run(ctx context.Context, after func(Snapshot)) error {
	if !s.running.CompareAndSwap(false, true) {
		return errRunning
	}
	defer s.running.Store(false)
	ticker := time.NewTicker(s.interval)
	defer ticker.Stop()
	for {
		if s.attempt(ctx); ctx.Err() == nil {
			after(*s.newest.Load())
		}
		select {
		case <-ctx.Done():
			s.release(ctx)
			return nil
		case <-ticker.C:
		}
	}
}

// attempt reads the card once and publishes what came of it. A driver call cannot be interrupted:
// one that takes too long is left alone, and until it returns there is no other.
func (s *Sampler) attempt(ctx context.Context) {
	began := s.now()
	if s.abandoned != nil {
		select {
		case <-s.abandoned: // it came too late to be of use, but the driver answers again
			s.abandoned = nil
		default:
			s.publish(ctx, began, reading{err: s.stuckError()})
			return
		}
	}
	callCtx, cancel := context.WithTimeout(ctx, min(max(s.interval, minCallTimeout), maxCallTimeout))
	defer cancel()
	result := s.read(callCtx)
	select {
	case r := <-result:
		if ctx.Err() == nil {
			s.publish(ctx, began, r)
		}
	case <-callCtx.Done():
		s.abandoned = result
		if ctx.Err() == nil {
			s.publish(ctx, began, reading{err: s.stuckError()})
		}
	}
}

// read calls the source on a goroutine of its own, which ends when the driver lets it.
func (s *Sampler) read(ctx context.Context) <-chan reading {
	result := make(chan reading, 1)
	go func() {
		var r reading
		defer func() {
			if p := recover(); p != nil { // nobody else could: a panic here would end the process
				r = reading{err: fmt.Errorf("reading the GPU panicked: %v", p)}
			}
			result <- r
		}()
		r.sample, r.err = s.source.Read(ctx)
	}()
	return result
}

func (s *Sampler) stuckError() error {
	if call := s.source.Calling(); call != "" {
		return fmt.Errorf("the GPU driver does not answer %s", call)
	}
	return errors.New("the GPU driver does not answer")
}

// publish makes the result of an attempt the newest snapshot, and logs a change of state.
func (s *Sampler) publish(ctx context.Context, began time.Time, r reading) {
	before := s.newest.Load()
	next := &Snapshot{Attempted: began, LastSuccess: before.LastSuccess}
	if r.err == nil {
		sample := r.sample
		sample.Host = s.host
		next.Sample, next.SampledAt, next.LastSuccess = &sample, began, began
		next.State = StateOK
		if before.State == StateLost {
			next.State = StateBack
		}
	} else {
		next.Failures = before.Failures + 1
		next.Message = r.err.Error()
		next.State = failureState(before, r.err)
	}
	s.newest.Store(next)
	if next.State == before.State || before.State == StateBack && next.State == StateOK {
		return
	}
	level := slog.LevelInfo
	if next.State == StateLost {
		level = slog.LevelWarn
	}
	s.log.Log(ctx, level, "gpu state changed", "state", string(next.State), "was", string(before.State), "reason", next.Message)
}

func failureState(before *Snapshot, err error) State {
	switch {
	case !before.LastSuccess.IsZero():
		return StateLost
	case errors.Is(err, ErrNoDriver):
		return StateNoDriver
	case errors.Is(err, ErrNoDevice):
		return StateNoDevice
	default:
		return StateLost
	}
}

// release lets the driver go, unless a call to it is stuck: NVML must not be shut down under a
// running call, and the process must be able to stop without the driver.
func (s *Sampler) release(ctx context.Context) {
	ctx = context.WithoutCancel(ctx) // stopping is what it is for
	timeout := time.NewTimer(closeTimeout)
	defer timeout.Stop()
	if s.abandoned != nil {
		select {
		case <-s.abandoned:
			s.abandoned = nil
		case <-timeout.C:
			s.log.WarnContext(ctx, "gpu driver is stuck and was not shut down", "call", s.source.Calling())
			return
		}
	}
	closed := make(chan reading, 1)
	go func() {
		var r reading
		defer func() {
			if p := recover(); p != nil {
				r.err = fmt.Errorf("letting the GPU go panicked: %v", p)
			}
			closed <- r
		}()
		r.err = s.source.Close()
	}()
	select {
	case r := <-closed:
		if r.err != nil {
			s.log.WarnContext(ctx, "gpu driver was not shut down cleanly", "error", r.err)
		}
	case <-timeout.C:
		s.abandoned = closed
		s.log.WarnContext(ctx, "gpu driver is stuck while it is shut down", "call", s.source.Calling())
	}
}
