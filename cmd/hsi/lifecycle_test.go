package main

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestRunStages_StopsInTheOppositeOrder(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	var mu sync.Mutex
	var order []string
	started := make(chan struct{}, 3)
	part := func(name string) namedRun {
		return namedRun{name, func(ctx context.Context) error {
			started <- struct{}{}
			<-ctx.Done()
			mu.Lock()
			defer mu.Unlock()
			order = append(order, name)
			return nil
		}}
	}
	go func() {
		for range 3 {
			<-started
		}
		cancel()
	}()
	err := runStages(ctx, slog.New(slog.DiscardHandler), time.Hour, []stage{
		{"database", time.Minute, []namedRun{part("database")}},
		{"workers", time.Minute, []namedRun{part("workers")}},
		{"http", time.Minute, []namedRun{part("http")}},
	})
	require.NoError(t, err)
	require.Equal(t, []string{"http", "workers", "database"}, order)
}

func TestRunStages_AFailureStopsAllAndIsReturned(t *testing.T) {
	t.Parallel()
	broken := errors.New("foreign database")
	stopped := make(chan struct{})
	err := runStages(t.Context(), slog.New(slog.DiscardHandler), time.Hour, []stage{
		{"http", time.Minute, []namedRun{{"http", func(ctx context.Context) error { <-ctx.Done(); close(stopped); return nil }}}},
		{"store", time.Minute, []namedRun{{"store", func(context.Context) error { return broken }}}},
	})
	require.ErrorIs(t, err, broken)
	<-stopped
}

func TestRunStages_AFunctionThatJustEndsIsAFailure(t *testing.T) {
	t.Parallel()
	err := runStages(t.Context(), slog.New(slog.DiscardHandler), time.Hour, []stage{
		{"store", time.Minute, []namedRun{{"store", func(context.Context) error { return nil }}}},
	})
	require.ErrorContains(t, err, "store ended")
}

func TestRunStages_AStuckPartIsNotWaitedForBeyondItsLimit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		release := make(chan struct{})
		begun := time.Now()
		err := runStages(ctx, slog.New(slog.DiscardHandler), time.Hour, []stage{
			{"gpu", 2 * time.Second, []namedRun{{"gpu", func(context.Context) error { <-release; return nil }}}},
		})
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, 3*time.Second, time.Since(begun))
		close(release)
	})
}

func TestAfter(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		begun := time.Now()
		ran := errors.New("ran")
		run := func(context.Context) error { return ran }
		open, closed := make(chan struct{}), make(chan struct{})
		close(closed)
		require.ErrorIs(t, after(time.Minute, run, closed)(t.Context()), ran)
		require.Zero(t, time.Since(begun))
		require.ErrorIs(t, after(time.Minute, run, closed, open)(t.Context()), ran)
		require.Equal(t, time.Minute, time.Since(begun))
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		require.NoError(t, after(time.Minute, run, open)(ctx), "stopped before it began")
	})
}

func TestRunStages_AllTogetherStayWithinTheBudget(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		release := make(chan struct{})
		stuck := []namedRun{{"stuck", func(context.Context) error { <-release; return nil }}}
		begun := time.Now()
		require.NoError(t, runStages(ctx, slog.New(slog.DiscardHandler), 5*time.Second,
			[]stage{{"last", 4 * time.Second, stuck}, {"first", 3 * time.Second, stuck}}))
		require.Equal(t, 5*time.Second, time.Since(begun))
		close(release)
	})
}
