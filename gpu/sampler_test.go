package gpu_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"hsi.home.arpa/gpu"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const interval = 5 * time.Second

// source is a Source made of functions.
type source struct {
	read   func(ctx context.Context) (gpu.Sample, error)
	close  func() error
	closed atomic.Int32
}

func (s *source) Read(ctx context.Context) (gpu.Sample, error) { return s.read(ctx) }

func (s *source) Close() error {
	s.closed.Add(1)
	if s.close != nil {
		return s.close()
	}
	return nil
}

func (s *source) Calling() string { return "a call" }

func watts(value float64) gpu.Sample { return gpu.Sample{PowerWatts: &value} }

// start runs a sampler; stop ends it and waits for that.
func start(t *testing.T, s gpu.Source, log *bytes.Buffer) (sampler *gpu.Sampler, stop func()) {
	t.Helper()
	sampler = gpu.NewSampler(s, gpu.Options{Log: slog.New(slog.NewTextHandler(log, nil)), Interval: interval})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- sampler.Run(ctx) }()
	synctest.Wait()
	return sampler, func() {
		cancel()
		require.NoError(t, <-ended)
	}
}

// after waits for a moment of fake time.
func after(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func TestSampler_States(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		answers := []error{
			gpu.ErrNoDriver, gpu.ErrNoDevice, errors.New("odd"), nil, nil, gpu.ErrNoDriver, gpu.ErrNoDevice, nil, nil, errors.New("odd"), nil,
		}
		states := []gpu.State{
			gpu.StateNoDriver, gpu.StateNoDevice, gpu.StateLost, gpu.StateBack, gpu.StateOK, gpu.StateLost, gpu.StateLost, gpu.StateBack,
			gpu.StateOK, gpu.StateLost, gpu.StateBack,
		}
		failures := []int{1, 2, 3, 0, 0, 1, 2, 0, 0, 1, 0}
		turn := 0
		sampler := gpu.NewSampler(&source{read: func(context.Context) (gpu.Sample, error) {
			turn++
			return watts(float64(turn)), answers[turn-1]
		}}, gpu.Options{Log: slog.New(slog.NewTextHandler(&log, nil)), Interval: interval, Host: "here"})
		require.Equal(t, gpu.StateStarting, sampler.Latest().State)
		require.Nil(t, sampler.Latest().Sample)
		ctx, cancel := context.WithCancel(t.Context())
		go func() { _ = sampler.Run(ctx) }()
		var success time.Time
		for i, state := range states {
			synctest.Wait()
			got := sampler.Latest()
			require.Equal(t, state, got.State, "turn %d", i)
			require.Equal(t, failures[i], got.Failures)
			require.Equal(t, time.Now(), got.Attempted)
			if answers[i] == nil {
				success = time.Now()
				require.InDelta(t, float64(i+1), *got.Sample.PowerWatts, 0)
				require.Equal(t, "here", *got.Sample.Host)
				require.Equal(t, success, got.SampledAt)
				require.Empty(t, got.Message)
			} else {
				require.Nil(t, got.Sample)
				require.Zero(t, got.SampledAt)
				require.Equal(t, answers[i].Error(), got.Message)
			}
			require.Equal(t, success, got.LastSuccess)
			if i < len(states)-1 {
				after(interval)
			}
		}
		cancel()
		synctest.Wait()
		require.Equal(t, 8, strings.Count(log.String(), "\n"), "one line for each change:\n%s", log.String())
	})
}

func TestSampler_GivesNoSampleOlderThanThreeIntervals(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		sampler, stop := start(t, &source{read: func(context.Context) (gpu.Sample, error) { return watts(1), nil }}, &log)
		stop()
		after(3 * interval)
		require.NotNil(t, sampler.Latest().Sample)
		after(1)
		got := sampler.Latest()
		require.Nil(t, got.Sample)
		require.Equal(t, gpu.StateLost, got.State)
		require.NotEmpty(t, got.Message)
		require.Zero(t, got.SampledAt)
	})
}

func TestSampler_StuckDriver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		release := make(chan struct{})
		reads := 0
		s := &source{read: func(context.Context) (gpu.Sample, error) {
			if reads++; reads == 2 {
				<-release
			}
			return watts(float64(reads)), nil
		}}
		sampler, stop := start(t, s, &log)
		require.NotNil(t, sampler.Latest().Sample)
		after(time.Minute)
		require.Equal(t, 2, reads, "no second call beside a stuck one")
		got := sampler.Latest()
		require.Nil(t, got.Sample)
		require.Equal(t, gpu.StateLost, got.State)
		require.Equal(t, "the GPU driver does not answer a call", got.Message)
		require.Equal(t, time.Now(), got.Attempted, "each interval tells anew that it is stuck")
		require.GreaterOrEqual(t, got.Failures, 11)

		close(release)
		after(time.Millisecond)
		require.Nil(t, sampler.Latest().Sample, "an answer that comes too late is not used")
		after(interval)
		got = sampler.Latest()
		require.Equal(t, gpu.StateBack, got.State)
		require.InDelta(t, 3, *got.Sample.PowerWatts, 0)
		stop()
		require.EqualValues(t, 1, s.closed.Load())
	})
}

func TestSampler_StopsWithoutAStuckDriver(t *testing.T) {
	t.Parallel()
	for _, where := range []string{"read", "close"} {
		t.Run(where, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var log bytes.Buffer
				release := make(chan struct{})
				s := &source{read: func(context.Context) (gpu.Sample, error) { return watts(1), nil }}
				hang := func() { <-release }
				if where == "read" {
					s.read = func(context.Context) (gpu.Sample, error) { hang(); return watts(1), nil }
				} else {
					s.close = func() error { hang(); return nil }
				}
				_, stop := start(t, s, &log)
				after(interval)
				began := time.Now()
				stop()
				require.LessOrEqual(t, time.Since(began), time.Second)
				require.Equal(t, where == "close", s.closed.Load() == 1, "never shut down under a running call")
				require.Contains(t, log.String(), "stuck")
				close(release)
			})
		})
	}
}

func TestSampler_PanicOfTheSourceIsAFailedReading(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		boom := func() { panic("boom") }
		sampler, stop := start(t, &source{
			read:  func(context.Context) (gpu.Sample, error) { boom(); return watts(1), nil },
			close: func() error { boom(); return nil },
		}, &log)
		require.Nil(t, sampler.Latest().Sample)
		require.Contains(t, sampler.Latest().Message, "boom")
		stop()
		require.Contains(t, log.String(), "letting the GPU go panicked")
	})
}

func TestSampler_RefusesASecondRunAndRunsAgainAfterTheFirst(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		sampler, stop := start(t, &source{read: func(context.Context) (gpu.Sample, error) { return watts(1), nil }}, &log)
		require.Error(t, sampler.Run(t.Context()))
		stop()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		require.NoError(t, sampler.Run(ctx))
	})
}
