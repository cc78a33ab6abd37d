package latency_test

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/redis/rueidis"
	"github.com/stretchr/testify/require"

	"hsi.home.arpa/embedded/embeddedtest"
	"hsi.home.arpa/internal/logtest"
	"hsi.home.arpa/pipeline/latency"
)

func run(t *testing.T, url string, log *logtest.Output) (recorder *latency.Recorder, stop func()) {
	t.Helper()
	option, err := rueidis.ParseURL(url)
	require.NoError(t, err)
	option.DisableCache, option.DisableRetry, option.ForceSingleClient = true, true, true
	var client rueidis.Client
	recorder = latency.New(func(context.Context) (rueidis.Client, error) {
		if client == nil {
			var err error
			if client, err = rueidis.NewClient(option); err != nil {
				client = nil
				return nil, err
			}
		}
		return client, nil
	}, latency.Options{Log: slog.New(slog.NewTextHandler(log, nil))})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- recorder.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		require.NoError(t, <-ended)
		if client != nil {
			client.Close()
		}
	})
	t.Cleanup(stop)
	return recorder, stop
}

func waitForCount(t *testing.T, r *latency.Recorder, want int64) {
	t.Helper()
	require.Eventually(t, func() bool {
		s, err := r.Summary(latency.Detect, 60)
		return err == nil && s.Count == want
	}, 10*time.Second, 5*time.Millisecond)
}

func TestRun_HealsAndLogsOnlyTheTurns(t *testing.T) {
	t.Parallel()
	redis := embeddedtest.NewRedis(t)
	redis.Stop(t)
	var log logtest.Output
	r, stop := run(t, redis.URL(), &log)
	r.Observe(latency.Detect, time.Second)
	_, err := r.Summary(latency.Detect, 60)
	require.ErrorIs(t, err, latency.ErrUnavailable)

	redis.Start(t)
	waitForCount(t, r, 1)
	began := time.Now()
	r.Observe(latency.Detect, time.Second)
	waitForCount(t, r, 2)
	require.Less(t, time.Since(began), time.Second, "figures are at most a second old")

	redis.Pause(t)
	paused := time.Now()
	require.Eventually(t, func() bool {
		_, err := r.Summary(latency.Detect, 60)
		return err != nil
	}, 5*time.Second, 5*time.Millisecond)
	require.Less(t, time.Since(paused), 3*time.Second)
	redis.Resume(t)
	waitForCount(t, r, 2)

	redis.Kill(t)
	redis.Start(t)
	r.Observe(latency.Detect, time.Second)
	waitForCount(t, r, 3)
	require.Error(t, r.Run(t.Context()), "a second Run is refused")
	stop()
	// Three outages with a beginning and an end each; on a busy machine one more may be seen. Logging each try would give dozens.
	require.LessOrEqual(t, log.Count("\n"), 8)
}

func TestRun_WritesTheLastSamplesWhenItStops(t *testing.T) {
	t.Parallel()
	redis := embeddedtest.NewRedis(t)
	var log logtest.Output
	first, stop := run(t, redis.URL(), &log)
	waitForCount(t, first, 0)
	for range 100 {
		first.Observe(latency.Detect, time.Second)
	}
	stop()
	second, _ := run(t, redis.URL(), &log)
	waitForCount(t, second, 100)
	require.Zero(t, log.Count("\n"), "an orderly stop logs no failure")
}

func TestObserve_FromManyGoroutines(t *testing.T) {
	t.Parallel()
	redis := embeddedtest.NewRedis(t)
	var log logtest.Output
	r, _ := run(t, redis.URL(), &log)
	var workers sync.WaitGroup
	for worker := range 8 {
		workers.Go(func() {
			for i := range 20_000 {
				r.Observe(latency.Detect, time.Duration(worker*i))
			}
		})
	}
	workers.Wait()
	waitForCount(t, r, 160_000)
}
