package gpu_test

import (
	"bytes"
	"context"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"hsi.home.arpa/gpu"
)

func TestSampler_Interval(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ set, want time.Duration }{
		"five seconds unless it is set": {0, 5 * time.Second},
		"never below zero":              {-1, 5 * time.Second},
		"short":                         {time.Second, time.Second},
		"long":                          {20 * time.Second, 20 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var reads atomic.Int64
				log := slog.New(slog.DiscardHandler)
				sampler := gpu.NewSampler(&source{read: func(context.Context) (gpu.Sample, error) { reads.Add(1); return watts(1), nil }},
					gpu.Options{Log: log, Interval: test.set})
				ctx, cancel := context.WithCancel(t.Context())
				ended := make(chan error, 1)
				go func() { ended <- sampler.Run(ctx) }()
				synctest.Wait()
				after(3*test.want - time.Millisecond)
				require.EqualValues(t, 3, reads.Load())
				after(time.Millisecond)
				require.EqualValues(t, 4, reads.Load())
				cancel()
				require.NoError(t, <-ended)
				monitor := gpu.NewMonitor(sampler, nil, nil, log)
				require.Equal(t, 3*test.want+10*time.Second, monitor.FreshFor())
			})
		})
	}
}

// How long a driver may take follows the interval, but is never too short for it nor too long for
// who waits.
func TestSampler_TimeOfADriverCall(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ interval, want time.Duration }{
		"a second at least":       {100 * time.Millisecond, time.Second},
		"the interval":            {3 * time.Second, 3 * time.Second},
		"ten seconds at most":     {time.Minute, 10 * time.Second},
		"five seconds ordinarily": {0, 5 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var log bytes.Buffer
				s := &source{read: func(ctx context.Context) (gpu.Sample, error) { <-ctx.Done(); return gpu.Sample{}, ctx.Err() }}
				sampler := gpu.NewSampler(s, gpu.Options{Log: slog.New(slog.NewTextHandler(&log, nil)), Interval: test.interval})
				ctx, cancel := context.WithCancel(t.Context())
				ended := make(chan error, 1)
				go func() { ended <- sampler.Run(ctx) }()
				synctest.Wait()
				after(test.want - time.Millisecond)
				require.Equal(t, gpu.StateStarting, sampler.Latest().State)
				after(time.Millisecond)
				require.Equal(t, gpu.StateLost, sampler.Latest().State)
				cancel()
				require.NoError(t, <-ended)
			})
		})
	}
}
