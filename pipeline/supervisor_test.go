package pipeline_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"hsi.home.arpa/embedded/embeddedtest"
	"hsi.home.arpa/pipeline"
)

func TestMain(m *testing.M) { embeddedtest.Main(m) }

// status returns the status of one worker.
func status(t *testing.T, s *pipeline.Supervisor, name string) pipeline.WorkerStatus {
	t.Helper()
	for _, w := range s.Workers() {
		if w.Name == name {
			return w
		}
	}
	require.Fail(t, "worker is not listed", name)
	return pipeline.WorkerStatus{}
}

// start runs a supervisor with the given functions inside a synctest bubble and returns how to stop
// it.
func start(t *testing.T, options pipeline.Options, functions ...pipeline.Function) (*pipeline.Supervisor, func()) {
	t.Helper()
	if options.Log == nil {
		options.Log = slog.New(slog.DiscardHandler)
	}
	s := pipeline.New(options)
	s.Add(functions...)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	synctest.Wait()
	return s, func() {
		cancel()
		require.NoError(t, <-done)
	}
}

func untilDone(ctx context.Context, _ *pipeline.Heartbeat) error {
	<-ctx.Done()
	return nil
}

func TestSupervisor_ListsAllWorkersInOrder(t *testing.T) {
	t.Parallel()
	s := pipeline.New(pipeline.Options{Log: slog.New(slog.DiscardHandler)})
	s.Add(pipeline.Function{Name: pipeline.BatchWorker, Run: untilDone}, pipeline.Function{Name: "extra", Run: untilDone})
	workers := s.Workers()
	names := make([]string, 0, len(workers))
	for _, w := range workers {
		names = append(names, w.Name)
		require.False(t, w.Running)
		require.Equal(t, "not started", w.Message)
	}
	require.Equal(t, []string{
		"gpu_monitor", "cleanup_service", "detection_worker", "analysis_worker", "file_watcher", "batch_worker",
	}, names)
}

func TestSupervisor_RestartsAfterErrorAndPanic(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var starts atomic.Int64
		var log bytes.Buffer
		s, stop := start(t,
			pipeline.Options{
				Log:     slog.New(slog.NewTextHandler(&log, nil)),
				Backoff: func(attempt int) time.Duration { return time.Duration(attempt) * time.Second },
			},
			pipeline.Function{Name: pipeline.DetectionWorker, Run: func(ctx context.Context, _ *pipeline.Heartbeat) error {
				switch starts.Add(1) {
				case 1:
					return errors.New("broken pipe")
				case 2:
					panic("index out of range")
				case 3:
					return nil // returning without being stopped is a failure too
				}
				return untilDone(ctx, nil)
			}},
		)
		got := status(t, s, pipeline.DetectionWorker)
		require.False(t, got.Running)
		require.Equal(t, "failed, starts again (failure 1 in a row); started again once, last after an error", got.Message)
		<-time.After(time.Second)
		synctest.Wait()
		require.Contains(t, status(t, s, pipeline.DetectionWorker).Message, "started again 2 times, last after a panic")

		<-time.After(2*time.Second + 3*time.Second)
		synctest.Wait()
		require.EqualValues(t, 4, starts.Load())
		got = status(t, s, pipeline.DetectionWorker)
		require.True(t, got.Running)
		require.Equal(t, 3, got.Restarts)
		require.Equal(t, "started again 3 times, last after it ended by itself", got.Message)
		stop()
		require.Contains(t, log.String(), "broken pipe")
		require.Contains(t, log.String(), "panic: index out of range")
		require.Contains(t, log.String(), "supervisor_test.go", "the stack of the panic is in the log")
		require.Contains(t, log.String(), "returned although nobody stopped it")
		got = status(t, s, pipeline.DetectionWorker)
		require.False(t, got.Running)
		require.Equal(t, "stopped; started again 3 times, last after it ended by itself", got.Message)
	})
}

func TestSupervisor_HeartbeatsDecideWhetherAWorkerRuns(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		beats := make(chan func(*pipeline.Heartbeat))
		s, stop := start(t, pipeline.Options{}, pipeline.Function{
			Name: pipeline.AnalysisWorker, FreshFor: 10 * time.Second,
			Run: func(ctx context.Context, heartbeat *pipeline.Heartbeat) error {
				for {
					select {
					case <-ctx.Done():
						return nil
					case act := <-beats:
						act(heartbeat)
					}
				}
			},
		})
		defer stop()
		running := func() bool { return status(t, s, pipeline.AnalysisWorker).Running }

		require.True(t, running(), "a start counts as a beat")
		<-time.After(10 * time.Second)
		require.True(t, running(), "a beat counts up to the limit")
		<-time.After(time.Second)
		require.False(t, running(), "no beat for too long")

		beats <- (*pipeline.Heartbeat).Beat
		synctest.Wait()
		require.True(t, running())

		var done func()
		beats <- func(h *pipeline.Heartbeat) {
			h.Say("waiting for the language model")
			done = h.Step(time.Minute)
		}
		synctest.Wait()
		<-time.After(time.Minute)
		require.True(t, running(), "a step within its deadline needs no beat")
		require.Equal(t, "waiting for the language model", status(t, s, pipeline.AnalysisWorker).Message)
		<-time.After(time.Millisecond)
		require.False(t, running(), "a step past its deadline is stuck")
		beats <- (*pipeline.Heartbeat).Beat
		synctest.Wait()
		require.False(t, running(), "a beat does not excuse a step that is stuck")
		done()
		done()
		require.True(t, running(), "the end of a step is a beat")
	})
}

func TestSupervisor_AWorkerTellsWhatAllItsPartsSay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var parts []pipeline.Function
		for _, message := range []string{"1,204 images waiting", "", "waiting for the detector", "waiting for the detector"} {
			parts = append(parts, pipeline.Function{Name: pipeline.DetectionWorker, FreshFor: time.Hour, Run: func(ctx context.Context, h *pipeline.Heartbeat) error {
				h.Say(message)
				<-ctx.Done()
				return nil
			}})
		}
		s, stop := start(t, pipeline.Options{}, parts...)
		defer stop()
		synctest.Wait()
		require.Equal(t, "1,204 images waiting; waiting for the detector", status(t, s, pipeline.DetectionWorker).Message)
	})
}

func TestSupervisor_AWorkerRunsWhenAllItsPartsRun(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		fail := make(chan struct{})
		s, stop := start(t, pipeline.Options{Backoff: func(int) time.Duration { return time.Second }},
			pipeline.Function{Name: pipeline.DetectionWorker, Part: "1", Run: pipeline.Plain(func(ctx context.Context) error {
				<-ctx.Done()
				return nil
			})},
			pipeline.Function{Name: pipeline.DetectionWorker, Part: "2", Run: func(ctx context.Context, _ *pipeline.Heartbeat) error {
				select {
				case <-ctx.Done():
					return nil
				case <-fail:
					return errors.New("gone")
				}
			}, FreshFor: time.Hour},
		)
		defer stop()
		<-time.After(10 * time.Minute)
		require.True(t, status(t, s, pipeline.DetectionWorker).Running, "a plain function needs no heartbeat")
		fail <- struct{}{}
		synctest.Wait()
		require.False(t, status(t, s, pipeline.DetectionWorker).Running)
		<-time.After(time.Second)
		synctest.Wait()
		require.True(t, status(t, s, pipeline.DetectionWorker).Running)
	})
}

func TestSupervisor_StopsGroupsInOrder(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var order []string
		stopping := func(name string, takes time.Duration) func(context.Context, *pipeline.Heartbeat) error {
			return func(ctx context.Context, _ *pipeline.Heartbeat) error {
				<-ctx.Done()
				<-time.After(takes)
				mu.Lock()
				defer mu.Unlock()
				order = append(order, name)
				return nil
			}
		}
		_, stop := start(t, pipeline.Options{StopTimeout: 10 * time.Second},
			pipeline.Function{Name: "services", Group: pipeline.GroupServices, Run: stopping("services", 0)},
			pipeline.Function{Name: "workers", Group: pipeline.GroupWorkers, Run: stopping("workers", time.Second)},
			pipeline.Function{Name: "intake", Group: pipeline.GroupIntake, Run: stopping("intake", 2*time.Second)},
		)
		stop()
		require.Equal(t, []string{"intake", "workers", "services"}, order)
	})
}

func TestSupervisor_DoesNotWaitForEverForAGroup(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		var log bytes.Buffer
		_, stop := start(t,
			pipeline.Options{StopTimeout: 3 * time.Second, Log: slog.New(slog.NewTextHandler(&log, nil))},
			pipeline.Function{Name: pipeline.GPUMonitor, Run: func(context.Context, *pipeline.Heartbeat) error {
				<-release
				return nil
			}},
		)
		before := time.Now()
		stop()
		require.Equal(t, 3*time.Second, time.Since(before))
		require.Contains(t, log.String(), "did not stop in time")
		require.Contains(t, log.String(), pipeline.GPUMonitor)
		close(release)
	})
}

func TestSupervisor_RefusesASecondRun(t *testing.T) {
	t.Parallel()
	s := pipeline.New(pipeline.Options{Log: slog.New(slog.DiscardHandler)})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.NoError(t, s.Run(ctx))
	require.Error(t, s.Run(ctx))
	require.Panics(t, func() { s.Add(pipeline.Function{Name: "late"}) })
}

func TestHeartbeat_NilDoesNothing(t *testing.T) {
	t.Parallel()
	var heartbeat *pipeline.Heartbeat
	require.NotPanics(t, func() {
		heartbeat.Beat()
		heartbeat.Say("x")
		heartbeat.Step(time.Second)()
	})
}
