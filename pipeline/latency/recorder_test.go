package latency_test

import (
	"context"
	"log/slog"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/rueidis"
	"github.com/stretchr/testify/require"

	"hsi.home.arpa/embedded/embeddedtest"
	"hsi.home.arpa/internal/await"
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
	await.True(t, func() bool {
		s, err := r.Summary(latency.Detect, 60)
		return err == nil && s.Count == want
	})
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
	r.Observe(latency.Detect, time.Second)
	waitForCount(t, r, 2)

	redis.Pause(t)
	await.True(t, func() bool {
		_, err := r.Summary(latency.Detect, 60)
		return err != nil
	})
	redis.Resume(t)
	waitForCount(t, r, 2)

	redis.Kill(t)
	redis.Start(t)
	r.Observe(latency.Detect, time.Second)
	waitForCount(t, r, 3)
	require.Error(t, r.Run(t.Context()), "a second Run is refused")
	stop()
	// An outage has a beginning and an end, however many a busy machine sees: each try in between
	// is not told.
	var levels []string
	for line := range strings.Lines(log.String()) {
		levels = append(levels, regexp.MustCompile(`level=\w+`).FindString(line))
	}
	require.NotEmpty(t, levels)
	require.Len(t, slices.Compact(slices.Clone(levels)), len(levels), "%v", levels)
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
