package gpu_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"hsi.home.arpa/gpu"
)

// writer is a row writer made of a function.
type writer func(ctx context.Context, row gpu.Row) error

func (w writer) InsertGPUSample(ctx context.Context, row gpu.Row) error { return w(ctx, row) }

// heart keeps what was said.
type heart struct{ said []string }

func (h *heart) Say(message string) { h.said = append(h.said, message) }

func startMonitor(t *testing.T, s gpu.Source, rows writer, log *bytes.Buffer) (monitor *gpu.Monitor, beats *heart, stop func()) {
	t.Helper()
	logger := slog.New(slog.NewTextHandler(log, nil))
	fps := 0.0
	monitor = gpu.NewMonitor(gpu.NewSampler(s, gpu.Options{Log: logger, Interval: interval}), rows, func() *float64 {
		fps++
		value := fps
		return &value
	}, logger)
	beats = new(heart)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- monitor.Run(ctx, beats) }()
	synctest.Wait()
	return monitor, beats, func() {
		cancel()
		require.NoError(t, <-ended)
	}
}

func TestMonitor_StoresARowForEachSample(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		var rows []gpu.Row
		reads := 0.0
		began := time.Now()
		_, beats, stop := startMonitor(t, &source{read: func(context.Context) (gpu.Sample, error) { reads++; return watts(reads), nil }},
			func(_ context.Context, row gpu.Row) error { rows = append(rows, row); return nil }, &log)
		after(9 * interval)
		stop()
		require.Len(t, rows, 10)
		for i, row := range rows {
			require.InDelta(t, float64(i+1), *row.Sample.PowerWatts, 0)
			require.InDelta(t, float64(i+1), *row.InferenceFPS, 0)
			require.Equal(t, began.Add(time.Duration(i)*interval), row.RecordedAt)
		}
		require.Equal(t, make([]string, 10), beats.said, "nothing to say, ten times")
	})
}

func TestMonitor_WithoutACardRunsAndStoresNothing(t *testing.T) {
	t.Parallel()
	name := "a card that measures nothing"
	for what, read := range map[string]func(context.Context) (gpu.Sample, error){
		"no driver":        func(context.Context) (gpu.Sample, error) { return gpu.Sample{}, gpu.ErrNoDriver },
		"failed":           func(context.Context) (gpu.Sample, error) { return watts(1), errors.New("failed") },
		"nothing measured": func(context.Context) (gpu.Sample, error) { return gpu.Sample{Name: &name}, nil },
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var log bytes.Buffer
				monitor, beats, stop := startMonitor(t, &source{read: read},
					func(context.Context, gpu.Row) error { t.Error("a row was stored"); return nil }, &log)
				after(10 * interval)
				require.Len(t, beats.said, 11)
				require.Equal(t, monitor.Latest().Message, beats.said[10])
				require.Greater(t, monitor.FreshFor(), 3*interval)
				stop()
			})
		})
	}
}

func TestMonitor_DatabaseDownLosesRowsAndDelaysNoSample(t *testing.T) {
	t.Parallel()
	for what, fail := range map[string]func(context.Context) error{
		"fails": func(context.Context) error { return errors.New("down") },
		"hangs": func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() },
		"stuck": func(ctx context.Context) error { <-ctx.Done(); <-time.After(2 * interval); return ctx.Err() },
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var log bytes.Buffer
				began := time.Now()
				var rows []gpu.Row
				monitor, _, stop := startMonitor(t, &source{read: func(context.Context) (gpu.Sample, error) { return watts(1), nil }},
					func(ctx context.Context, row gpu.Row) error {
						if time.Since(began) < time.Minute {
							return fail(ctx)
						}
						rows = append(rows, row)
						return nil
					}, &log)
				for range 12 {
					require.Equal(t, time.Now(), monitor.Latest().SampledAt)
					after(interval)
				}
				after(time.Minute)
				stop()
				require.Equal(t, 1, strings.Count(log.String(), "gpu samples cannot be stored"), log.String())
				require.Equal(t, 1, strings.Count(log.String(), "gpu samples are stored again"), log.String())
				require.Greater(t, len(rows), 8)
				for i := 1; i < len(rows); i++ {
					require.True(t, rows[i].RecordedAt.After(rows[i-1].RecordedAt))
				}
			})
		})
	}
}

func TestMonitor_StopsWhileTheDatabaseHangs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		_, _, stop := startMonitor(t, &source{read: func(context.Context) (gpu.Sample, error) { return watts(1), nil }},
			func(ctx context.Context, _ gpu.Row) error { <-ctx.Done(); return ctx.Err() }, &log)
		began := time.Now()
		stop()
		require.Equal(t, began, time.Now())
		require.NotContains(t, log.String(), "cannot be stored")
	})
}
