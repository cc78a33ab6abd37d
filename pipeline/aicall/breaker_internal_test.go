package aicall

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

var (
	errBroken  = &Failure{Kind: Suspect, Err: errors.New("broken")}
	errRefusal = &Failure{Kind: Refused, Err: errors.New("not an image")}
)

// refusedUntil wants that no call is let through, and returns how long it will be so.
func refusedUntil(t *testing.T, b *breaker) time.Duration {
	t.Helper()
	end, err := b.begin()
	require.Nil(t, end)
	failure, ok := errors.AsType[*Failure](err)
	require.True(t, ok)
	require.Equal(t, Away, failure.Kind, "the work waits, however long")
	if failure.RetryAt.IsZero() {
		return 0
	}
	return time.Until(failure.RetryAt)
}

func call(t *testing.T, b *breaker, outcome error) {
	t.Helper()
	end, err := b.begin()
	require.NoError(t, err)
	end(outcome)
}

// A bubble's clock begins at midnight of 2000-01-01 UTC.
func TestBreaker(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBreaker(10 * time.Second)
		for range patience {
			call(t, b, errBroken)
		}
		call(t, b, nil)
		for range patience {
			call(t, b, errBroken)
		}
		require.Empty(t, b.trouble(), "so many may be the work's fault")
		call(t, b, errBroken)
		require.Equal(t, "calls fail: breaker open since 00:00:00Z, next try in 10 s", b.trouble())
		require.Equal(t, 10*time.Second, refusedUntil(t, b))

		<-time.After(9 * time.Second)
		require.Equal(t, time.Second, refusedUntil(t, b))
		<-time.After(2 * time.Second)
		require.Equal(t, "calls fail: breaker open since 00:00:00Z, next try with the next call", b.trouble())
		end, err := b.begin()
		require.NoError(t, err)
		require.Equal(t, "calls fail: breaker open since 00:00:00Z, trying now", b.trouble())
		require.Zero(t, refusedUntil(t, b), "one try at a time, and nobody knows how long it takes")
		<-time.After(time.Minute)
		end(errBroken)
		require.Equal(t, "calls fail: breaker open since 00:00:00Z, next try in 10 s", b.trouble(), "since it failed first")

		<-time.After(10*time.Second + time.Millisecond)
		call(t, b, context.Canceled) // says nothing, and another may try
		<-time.After(24 * time.Hour)
		require.Equal(t, "calls fail: breaker open since 2000-01-01T00:00:00Z, next try with the next call", b.trouble())
		call(t, b, nil)
		require.Empty(t, b.trouble())
		for range patience {
			call(t, b, errBroken)
		}
		require.Empty(t, b.trouble(), "it begins anew")
	})
}

func TestBreaker_WhatCountsAsAFailure(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		outcome error
		opens   bool
	}{
		"fine": {nil, false}, "refused work": {errRefusal, false}, "the caller gave up": {context.Canceled, false},
		"nonsense": {errBroken, true}, "away": {&Failure{Kind: Away, Err: errors.New("connection refused")}, true}, "panic": {errors.New("no outcome"), true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBreaker(time.Hour)
			for range patience + 1 {
				call(t, b, test.outcome)
			}
			require.Equal(t, test.opens, b.trouble() != "")
		})
	}
	// A service that refuses bad work in between works.
	b := newBreaker(time.Hour)
	for range 5 {
		for range patience {
			call(t, b, errBroken)
		}
		call(t, b, errRefusal)
	}
	require.Empty(t, b.trouble())
}

func TestBreaker_Busy(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBreaker(time.Hour)
		busy := func() (time.Duration, bool) {
			since, busy := b.busySince()
			return time.Since(since), busy
		}
		begin := func() func(error) {
			end, err := b.begin()
			require.NoError(t, err)
			return end
		}
		_, is := busy()
		require.False(t, is)
		first := begin()
		<-time.After(time.Second)
		second := begin()
		<-time.After(time.Second)
		age, is := busy()
		require.True(t, is)
		require.Equal(t, 2*time.Second, age, "the oldest call")
		first(nil)
		age, is = busy()
		require.True(t, is)
		require.Equal(t, time.Second, age)
		second(context.Canceled)
		_, is = busy()
		require.False(t, is)

		begin()(errBroken)
		hung := begin()
		_, is = busy()
		require.False(t, is, "after a failure silence is not explained by work")
		hung(errRefusal)
		begin()
		_, is = busy()
		require.True(t, is, "it works again")
	})
}
