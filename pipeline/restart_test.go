package pipeline_test

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

	"hsi.home.arpa/pipeline"
)

func TestSupervisor_PausesGrowUntilHalfAMinute(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var starts []time.Time
		_, stop := start(t, pipeline.Options{}, pipeline.Function{Name: pipeline.GPUMonitor, Run: func(context.Context, *pipeline.Heartbeat) error {
			starts = append(starts, time.Now())
			return errors.New("again")
		}})
		<-time.After(5 * time.Minute)
		stop()
		require.Greater(t, len(starts), 8)
		for i, least := range []float64{1, 2, 4, 8, 16, 30, 30, 30} {
			seconds := starts[i+1].Sub(starts[i]).Seconds()
			require.GreaterOrEqual(t, seconds, least, "pause %d", i+1)
			require.Less(t, seconds, 1.25*least, "pause %d", i+1)
		}
	})
}

func TestSupervisor_AMinuteOfHealthForgetsTheFailures(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		lasts := []time.Duration{0, 0, time.Minute - 1, time.Minute, 0}
		var attempts []int
		turn := 0
		s, stop := start(t,
			pipeline.Options{Backoff: func(attempt int) time.Duration {
				attempts = append(attempts, attempt)
				return time.Second
			}},
			pipeline.Function{Name: pipeline.GPUMonitor, FreshFor: time.Hour, Run: func(ctx context.Context, h *pipeline.Heartbeat) error {
				if turn == len(lasts) {
					return untilDone(ctx, h)
				}
				h.Step(time.Millisecond) // left open: it must not count against the next run
				<-time.After(lasts[turn])
				turn++
				return errors.New("again")
			}})
		<-time.After(10 * time.Minute)
		synctest.Wait()
		require.Equal(t, []int{1, 2, 3, 1, 2}, attempts)
		require.True(t, status(t, s, pipeline.GPUMonitor).Running)
		stop()
	})
}

func TestSupervisor_Defaults(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		s, stop := start(t, pipeline.Options{}, pipeline.Function{Name: pipeline.GPUMonitor, Run: func(context.Context, *pipeline.Heartbeat) error {
			<-release
			return nil
		}})
		<-time.After(30 * time.Second)
		require.True(t, status(t, s, pipeline.GPUMonitor).Running)
		<-time.After(time.Millisecond)
		got := status(t, s, pipeline.GPUMonitor)
		require.False(t, got.Running)
		require.Equal(t, "stuck: no heartbeat", got.Message)
		before := time.Now()
		stop()
		require.Equal(t, 5*time.Second, time.Since(before))
		close(release)
	})
}

func TestSupervisor_LogsHowFunctionsStop(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		var log bytes.Buffer
		function := func(name string, group int, run func(ctx context.Context) error) pipeline.Function {
			return pipeline.Function{Name: name, Group: group, Run: pipeline.Plain(run)}
		}
		stuck := func(context.Context) error { <-release; return nil }
		_, stop := start(t, pipeline.Options{Log: slog.New(slog.NewTextHandler(&log, nil)), StopTimeout: time.Second},
			function("fine", pipeline.GroupWorkers, func(ctx context.Context) error { <-ctx.Done(); return nil }),
			function("cancelled", pipeline.GroupWorkers, func(ctx context.Context) error { <-ctx.Done(); return fmt.Errorf("call: %w", ctx.Err()) }),
			function("torn", pipeline.GroupWorkers, func(ctx context.Context) error { <-ctx.Done(); return errors.New("half a write") }),
			function("stuck", pipeline.GroupWorkers, stuck),
			function("patient", pipeline.GroupServices, stuck),
		)
		before := time.Now()
		stop()
		require.Equal(t, 2*time.Second, time.Since(before), "a second for each group")
		require.Equal(t, 1, bytes.Count(log.Bytes(), []byte("stopped with an error")), log.String())
		require.Contains(t, log.String(), `msg="worker stopped with an error" worker=torn part="" error="half a write"`)
		require.Equal(t, 1, bytes.Count(log.Bytes(), []byte("worker=stuck")), log.String())
		require.Equal(t, 1, bytes.Count(log.Bytes(), []byte("worker=patient")), log.String())
		require.Equal(t, 2, bytes.Count(log.Bytes(), []byte("did not stop in time")), log.String())
		close(release)
	})
}

func TestSupervisor_TellsTheLastFailureOfAllParts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		fails := func(after time.Duration, how func() error) func(context.Context, *pipeline.Heartbeat) error {
			failed := false
			return func(ctx context.Context, h *pipeline.Heartbeat) error {
				if !failed {
					failed = true
					<-time.After(after)
					return how()
				}
				h.Say("well")
				return untilDone(ctx, h)
			}
		}
		s, stop := start(t, pipeline.Options{Backoff: func(int) time.Duration { return time.Second }},
			pipeline.Function{Name: pipeline.GPUMonitor, Part: "1", FreshFor: time.Hour, Run: fails(2*time.Second, func() error { panic("late") })},
			pipeline.Function{Name: pipeline.GPUMonitor, Part: "2", FreshFor: time.Hour, Run: fails(time.Second, func() error { return errors.New("early") })},
		)
		<-time.After(time.Second + time.Millisecond)
		require.Equal(t, "failed, starts again (failure 1 in a row); started again once, last after an error", status(t, s, pipeline.GPUMonitor).Message)
		<-time.After(time.Minute)
		got := status(t, s, pipeline.GPUMonitor)
		require.True(t, got.Running)
		require.Equal(t, 2, got.Restarts)
		require.Equal(t, "well; started again 2 times, last after a panic", got.Message)
		stop()
	})
}
