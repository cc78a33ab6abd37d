package aicall

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/sony/gobreaker/v2"
)

const (
	// patience is how many failures in a row may be the work's fault. With the next one it is the
	// service that is to blame, and the breaker opens.
	patience = 3
	// defaultOpenFor is how long a service is left alone before it is tried again, with one call.
	defaultOpenFor = 10 * time.Second
)

// breaker keeps a service that fails from being called again and again, and knows how the calls
// went.
type breaker struct {
	*gobreaker.TwoStepCircuitBreaker[struct{}]

	openFor time.Duration

	mu       sync.Mutex
	openedAt time.Time   // guarded by mu; when it opened after it had been closed; zero while closed
	retryAt  time.Time   // guarded by mu; when an open breaker lets a call through
	calls    []time.Time // guarded by mu; when the calls in progress began, the oldest first
	failed   bool        // guarded by mu; the last call that ended was a failure
}

func newBreaker(openFor time.Duration) *breaker {
	b := &breaker{openFor: openFor}
	b.TwoStepCircuitBreaker = gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
		Timeout:       openFor,
		ReadyToTrip:   func(counts gobreaker.Counts) bool { return counts.ConsecutiveFailures > patience },
		OnStateChange: b.changed,
		IsSuccessful:  func(err error) bool { return err == nil || isRefusal(err) },
		// A caller that gives up says nothing about the service.
		IsExcluded: func(err error) bool { return errors.Is(err, context.Canceled) },
	})
	return b
}

// isRefusal tells whether the service refused the work, and so works.
func isRefusal(err error) bool {
	failure, ok := errors.AsType[*Failure](err)
	return ok && failure.Kind == Refused
}

func (b *breaker) changed(_ string, from, to gobreaker.State) {
	now := time.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	switch to {
	case gobreaker.StateOpen:
		b.retryAt = now.Add(b.openFor)
		if from == gobreaker.StateClosed {
			b.openedAt = now
		}
	case gobreaker.StateClosed:
		b.openedAt = time.Time{}
	case gobreaker.StateHalfOpen:
	}
}

// begin asks for leave to call. Without it the error is a *Failure; with it the call must be ended.
func (b *breaker) begin() (end func(err error), err error) {
	done, err := b.Allow()
	b.mu.Lock()
	defer b.mu.Unlock()
	if errors.Is(err, gobreaker.ErrOpenState) {
		return nil, &Failure{Kind: Away, Err: fmt.Errorf("not called: it has failed since %s", clock(b.openedAt)), RetryAt: b.retryAt}
	}
	if err != nil {
		return nil, &Failure{Kind: Away, Err: fmt.Errorf("not called: it has failed since %s and is being tried", clock(b.openedAt))}
	}
	begun := time.Now()
	b.calls = append(b.calls, begun)
	return func(err error) {
		b.ended(begun, err)
		done(err)
	}, nil
}

func (b *breaker) ended(begun time.Time, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if i := slices.Index(b.calls, begun); i >= 0 {
		b.calls = slices.Delete(b.calls, i, i+1)
	}
	if !errors.Is(err, context.Canceled) {
		b.failed = err != nil && !isRefusal(err)
	}
}

// busySince returns when the oldest call in progress began. A service whose last call failed is not
// busy: it may hang.
func (b *breaker) busySince() (time.Time, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.calls) == 0 || b.failed {
		return time.Time{}, false
	}
	return b.calls[0], true
}

// trouble says in words what the breaker is doing; empty while it is closed.
func (b *breaker) trouble() string {
	state := b.State() // takes the breaker's lock, under which changed takes ours
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case state == gobreaker.StateClosed:
		return ""
	case state == gobreaker.StateOpen:
		return fmt.Sprintf("calls fail: breaker open since %s, next try in %d s", clock(b.openedAt), max(1, int(time.Until(b.retryAt).Seconds()+0.5)))
	case len(b.calls) > 0:
		return fmt.Sprintf("calls fail: breaker open since %s, trying now", clock(b.openedAt))
	}
	return fmt.Sprintf("calls fail: breaker open since %s, next try with the next call", clock(b.openedAt))
}

// clock words a time of day, with the day where it is another.
func clock(at time.Time) string {
	at = at.UTC()
	if time.Since(at) >= 24*time.Hour {
		return at.Format(time.RFC3339)
	}
	return at.Format("15:04:05Z")
}
