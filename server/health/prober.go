package health

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"net"
	"sync/atomic"
	"syscall"
	"time"

	"hsi.home.arpa/internal/beat"
)

// finding is what one probe saw.
type finding struct {
	state State
	// text says what is the matter, in words fit for everybody.
	text string
	// version is the version of the service, where the probe learns it.
	version string
	// timedOut: the service was silent.
	timedOut bool
	// atOnce: this failure counts without a second one that confirms it.
	atOnce bool
	// err is the cause, for the log only.
	err error
}

// failed turns an error of a probe into a finding. A refused connection is certain and counts at
// once.
func failed(err error) finding {
	var network net.Error
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &network) && network.Timeout():
		return finding{state: Unhealthy, text: "request timed out", timedOut: true, err: err}
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, fs.ErrNotExist): // a missing socket file is a refusal too
		return finding{state: Unhealthy, text: "connection refused", atOnce: true, err: err}
	default:
		return finding{state: Unhealthy, text: "connection failed", err: err}
	}
}

// reading is the finding that stands, and when.
type reading struct {
	found   finding
	service Service // found in words, made once per probe and not per request
	foundAt time.Time
	// checkedAt is when a probe last ended, also when its failure was not yet believed.
	checkedAt time.Time
}

// prober asks one service again and again and keeps the last believed finding.
type prober struct {
	name string
	// timeout is how long one probe may take.
	timeout time.Duration
	// failures in a row that it takes to believe one that is not certain.
	failures int
	// worst is the state when nothing is known.
	worst State
	// probe asks once. It should respect its context; when it does not, it is left alone and counts
	// as silent.
	probe func(ctx context.Context) finding
	// silent words a silence. Defaults to a failure that a second one must confirm.
	silent func(now time.Time) finding
	// describe words a finding.
	describe func(found finding, at time.Time) Service

	log     *slog.Logger
	now     func() time.Time
	started time.Time // when nothing was known yet

	latest atomic.Pointer[reading]

	// Touched by run only, and graceEnds before it.
	graceEnds  time.Time
	wasHealthy bool // at least once
	isHeld     bool // not healthy, and logged as not ready yet

	inARow  int          // touched by run only
	pending chan finding // touched by run only; the answer of a probe that overran its timeout
}

const (
	// interval from the start of one probe to the start of the next.
	interval = time.Second
	// confirmAfter is the pause before a failure is confirmed.
	confirmAfter = 100 * time.Millisecond
)

// confirmTimeout is shorter than the timeout, so that a silence that began right after a probe is
// still seen within three seconds: 1 s to the next probe, 1 s of silence, 0.1 s pause, 0.5 s to
// confirm.
func confirmTimeout(timeout time.Duration) time.Duration { return timeout / 2 }

// run probes until ctx ends.
func (p *prober) run(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	timeout := p.timeout
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
		found, ok := p.ask(ctx, timeout)
		if !ok {
			return nil
		}
		pause := beat.Until(p.now(), interval)
		timeout = p.timeout // also while it is unhealthy, or what is slow and works would never recover
		if tolerated := p.record(ctx, found); tolerated {
			pause, timeout = confirmAfter, confirmTimeout(p.timeout)
		}
		timer.Reset(max(pause, 0))
	}
}

// ask runs one probe in a goroutine of its own, because drivers exist that do not return when their
// context ends. A probe that hangs is never joined by a second one. ok is false when ctx ended.
func (p *prober) ask(ctx context.Context, timeout time.Duration) (found finding, ok bool) {
	probeCtx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	if p.pending != nil {
		select {
		case <-p.pending: // it came back at last; what it says is old
		case <-probeCtx.Done():
			return p.silence(), ctx.Err() == nil
		}
	}
	answer := make(chan finding, 1)
	p.pending = answer
	go func() { answer <- p.probe(probeCtx) }()
	select {
	case found = <-answer:
		p.pending = nil
		if found.state == Unhealthy && (found.timedOut || probeCtx.Err() != nil) {
			found = p.silence()
		}
	case <-probeCtx.Done():
		found = p.silence()
	}
	return found, ctx.Err() == nil
}

func (p *prober) silence() finding {
	if p.silent != nil {
		return p.silent(p.now())
	}
	return failed(context.DeadlineExceeded)
}

// record publishes a finding, unless it is a failure that may be tolerated once more.
func (p *prober) record(ctx context.Context, found finding) (tolerated bool) {
	now := p.now()
	previous := p.latest.Load()
	if found.state != Unhealthy {
		p.inARow = 0
	} else {
		p.inARow++
		wasFine := previous != nil && previous.found.state != Unhealthy
		if wasFine && !found.atOnce && p.inARow < p.failures {
			p.latest.Store(&reading{found: previous.found, service: previous.service, foundAt: previous.foundAt, checkedAt: now})
			return true
		}
	}
	p.latest.Store(&reading{found: found, service: p.describe(found, now), foundAt: now, checkedAt: now})
	p.logTurn(ctx, previous, found, now)
	return false
}

// logTurn logs that the state is another than before, and at the end of the grace that it is still
// not healthy.
func (p *prober) logTurn(ctx context.Context, previous *reading, found finding, now time.Time) {
	isTurn := previous == nil || previous.found.state != found.state
	if found.state == Healthy {
		switch {
		case p.isHeld:
			p.log.InfoContext(ctx, "service ready", "service", p.name)
		case isTurn && previous != nil:
			p.log.InfoContext(ctx, "service healthy again", "service", p.name)
		}
		p.wasHealthy, p.isHeld = true, false
		return
	}
	attrs := []any{"service", p.name, "state", string(found.state), "reason", found.text, "error", found.err}
	isStarting := !p.wasHealthy && now.Before(p.graceEnds)
	switch {
	case isStarting && isTurn:
		p.isHeld = true
		p.log.InfoContext(ctx, "service not ready yet", attrs...)
	case !isStarting && (isTurn || p.isHeld):
		p.isHeld = false
		p.log.WarnContext(ctx, "service not healthy", attrs...)
	}
}

// read returns what is believed now. It takes no lock. A result that is too old, because the prober
// itself hangs, is no result.
func (p *prober) read(now time.Time) (finding, time.Time) {
	latest := p.latest.Load()
	switch {
	case latest == nil:
		return finding{state: p.worst, text: "not checked yet"}, p.started
	case now.Sub(latest.checkedAt) > p.timeout+3*interval:
		return finding{state: p.worst, text: "no recent check"}, latest.foundAt
	default:
		return latest.found, latest.foundAt
	}
}

// readService is read in words.
func (p *prober) readService(now time.Time) Service {
	if latest := p.latest.Load(); latest != nil && now.Sub(latest.checkedAt) <= p.timeout+3*interval {
		service := latest.service
		service.At = latest.foundAt
		return service
	}
	return p.describe(p.read(now))
}
