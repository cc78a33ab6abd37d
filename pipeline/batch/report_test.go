package batch_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"hsi.home.arpa/pipeline/batch"
	"hsi.home.arpa/pipeline/latency"
	"hsi.home.arpa/store"
)

// scripted is a ledger with the given batches, whose answers a test sets. It belongs to a synctest
// bubble.
type scripted struct {
	open    []store.Batch
	openErr error
	close   func(id int64) (store.Batch, bool, error)
	asked   []int64
}

func (s *scripted) OpenBatches(context.Context) ([]store.Batch, error) { return s.open, s.openErr }

func (s *scripted) CloseBatch(_ context.Context, id int64, decide func(store.Batch) bool) (store.Batch, bool, error) {
	s.asked = append(s.asked, id)
	for _, b := range s.open {
		if b.ID == id && !decide(b) {
			return b, false, nil
		}
	}
	return s.close(id)
}

// run lets a closer run in a bubble for as long as test takes.
func run(t *testing.T, ledger *scripted, test func(closed *int, observed *samples, a *alive, log *bytes.Buffer)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		closed, observed, a := 0, &samples{}, &alive{}
		closer := batch.NewCloser(batch.Options{
			Ledger: ledger, Settings: newConfig(time.Minute, time.Second), Observer: observed, Closed: func() { closed++ },
			Log: slog.New(slog.NewTextHandler(&log, nil)),
		})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- closer.Run(ctx, a) }()
		synctest.Wait()
		test(&closed, observed, a, &log)
		cancel()
		require.NoError(t, <-done)
	})
}

// next waits for the next look.
func next() {
	<-time.After(500 * time.Millisecond)
	synctest.Wait()
}

func TestCloser_TellsOnlyWhatItClosedItself(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 23, 2, 59, 0, 0, time.UTC)
	over := func(id int64) store.Batch {
		return store.Batch{ID: id, CreatedAt: at, TouchedAt: at, ReadAt: at.Add(time.Second)}
	}
	young := store.Batch{ID: 3, CreatedAt: at, TouchedAt: at, ReadAt: at.Add(time.Second - 1)}
	ledger := &scripted{open: []store.Batch{over(1), over(2), young, over(4)}}
	closedAt := at.Add(42 * time.Second)
	ledger.close = func(id int64) (store.Batch, bool, error) {
		switch id {
		case 1: // another process was faster
			return store.Batch{ID: id, CreatedAt: at, ClosedAt: &closedAt}, false, nil
		case 2:
			return store.Batch{ID: id, CreatedAt: at, ClosedAt: &closedAt}, true, nil
		default:
			return store.Batch{ID: id, CreatedAt: at}, true, nil
		}
	}
	run(t, ledger, func(closed *int, observed *samples, a *alive, _ *bytes.Buffer) {
		require.Equal(t, []int64{1, 2, 4}, ledger.asked)
		require.Equal(t, 2, *closed)
		require.Equal(t, []time.Duration{42 * time.Second}, observed.all[latency.Batch])
		require.Empty(t, a.now())
	})
}

func TestCloser_LogsTheFirstFailureOfEachSeries(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 23, 2, 59, 0, 0, time.UTC)
	ledger := &scripted{open: []store.Batch{{ID: 1, CreatedAt: at, TouchedAt: at, ReadAt: at.Add(time.Hour)}}}
	away := fmt.Errorf("close: %w", store.ErrUnavailable)
	faults := []error{away, away, away, nil, errors.New("odd"), errors.New("odd"), nil}
	ledger.close = func(int64) (store.Batch, bool, error) { return store.Batch{}, false, faults[len(ledger.asked)-1] }
	run(t, ledger, func(_ *int, _ *samples, a *alive, log *bytes.Buffer) {
		lines := func(level string) int { return bytes.Count(log.Bytes(), []byte("level="+level)) }
		require.Equal(t, "waiting for the database", a.now())
		next()
		next()
		require.Equal(t, []int{1, 0}, []int{lines("WARN"), lines("ERROR")}, log.String())
		next()
		require.Empty(t, a.now())
		next()
		next()
		require.Equal(t, "waiting for the database", a.now())
		require.Equal(t, []int{1, 1}, []int{lines("WARN"), lines("ERROR")}, log.String())
	})
}

func TestCloser_AStopIsNoFailure(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		a := &alive{}
		ctx, cancel := context.WithCancel(t.Context())
		closer := batch.NewCloser(batch.Options{Ledger: stopping{cancel}, Settings: newConfig(1, 1), Log: slog.New(slog.NewTextHandler(&log, nil))})
		require.NoError(t, closer.Run(ctx, a))
		require.Empty(t, a.now())
		require.Empty(t, log.String())
	})
}

// stopping is a ledger that is asked while the process stops.
type stopping struct{ cancel func() }

func (s stopping) OpenBatches(context.Context) ([]store.Batch, error) {
	s.cancel()
	return nil, context.Canceled
}

func (stopping) CloseBatch(context.Context, int64, func(store.Batch) bool) (store.Batch, bool, error) {
	return store.Batch{}, false, errors.New("not reached")
}
