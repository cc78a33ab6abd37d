package server

import (
	"context"
	"errors"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"hsi.home.arpa/server/health"
	"hsi.home.arpa/store"
	"hsi.home.arpa/store/media"
	"hsi.home.arpa/store/retention"
)

// handClock is a clock that stands until it is set.
type handClock struct{ at atomic.Pointer[time.Time] }

func newHandClock() *handClock {
	c := &handClock{}
	c.set(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
	return c
}

func (c *handClock) now() time.Time          { return *c.at.Load() }
func (c *handClock) set(at time.Time)        { c.at.Store(&at) }
func (c *handClock) advance(d time.Duration) { c.set(c.now().Add(d)) }

func TestKept_IsOldForAMomentOnly(t *testing.T) {
	t.Parallel()
	clock := newHandClock()
	var reads atomic.Int64
	var broken atomic.Bool
	k := newKept(func(context.Context) (int64, error) {
		clock.advance(10 * time.Millisecond) // a read takes its time, which counts
		if broken.Load() {
			return 0, errors.New("database is away")
		}
		return reads.Add(1), nil
	}, &Options{RequestTimeout: time.Minute, keepFigures: 100 * time.Millisecond, Now: clock.now})

	began := clock.now()
	for range 3 {
		found, err := k.get(t.Context())
		require.NoError(t, err)
		require.EqualValues(t, 1, found.value)
		require.Equal(t, began, found.at, "the age counts from the beginning of the read")
	}
	clock.set(began.Add(100*time.Millisecond - 1))
	found, err := k.get(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, 1, found.value)
	clock.set(began.Add(100 * time.Millisecond))
	found, err = k.get(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, 2, found.value)

	clock.advance(time.Second)
	broken.Store(true)
	_, err = k.get(t.Context())
	require.Error(t, err, "the old figure is not the answer when there is no new one")
	broken.Store(false)
	found, err = k.get(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, 3, found.value)
}

// A read that was under way while something changed may be of the state before it.
func TestKept_ForgetsAReadThatBeganBeforeAChange(t *testing.T) {
	t.Parallel()
	state := atomic.Int64{}
	begun, goOn := make(chan struct{}), make(chan struct{})
	var first atomic.Bool
	first.Store(true)
	k := newKept(func(context.Context) (int64, error) {
		seen := state.Load()
		if first.CompareAndSwap(true, false) {
			close(begun)
			<-goOn
		}
		return seen, nil
	}, &Options{RequestTimeout: time.Minute, keepFigures: time.Hour, Now: time.Now})
	done := make(chan error, 1)
	go func() {
		_, err := k.get(context.WithoutCancel(t.Context()))
		done <- err
	}()
	<-begun
	state.Store(1)
	k.forget()
	close(goOn)
	require.NoError(t, <-done)
	for range 2 {
		found, err := k.get(t.Context())
		require.NoError(t, err)
		require.EqualValues(t, 1, found.value)
	}
}

func TestKept_WaitsNoLongerThanTheTimeout(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	t.Cleanup(func() { close(release) })
	k := newKept(func(context.Context) (int64, error) { <-release; return 1, nil },
		&Options{RequestTimeout: 20 * time.Millisecond, keepFigures: time.Hour, Now: time.Now})
	_, err := k.get(t.Context())
	require.ErrorIs(t, err, context.DeadlineExceeded)
}

// What a client did through the API shows in its next request, however long figures are kept.
func TestServer_AWriteShowsAtOnce(t *testing.T) {
	t.Parallel()
	f := newFakes(t)
	var days, events, waiting atomic.Int64
	days.Store(30)
	events.Store(156)
	config := func() store.SystemConfig {
		return store.SystemConfig{RetentionDays: int(days.Load()), BatchWindow: time.Minute, BatchIdleTimeout: time.Second}
	}
	f.config = func(context.Context) (store.SystemConfig, error) { return config(), nil }
	f.counts = func(context.Context) (store.Counts, error) { return store.Counts{Events: events.Load()}, nil }
	f.depths = func(context.Context) (store.QueueDepths, error) {
		return store.QueueDepths{Detection: waiting.Load()}, nil
	}
	f.update = func(_ context.Context, update store.SystemConfigUpdate, _ store.Actor) (store.SystemConfig, error) {
		days.Store(int64(*update.RetentionDays))
		return config(), nil
	}
	f.cleanup = func(context.Context, bool) (retention.Report, error) {
		events.Store(0)
		return retention.Report{RetentionDays: 1, At: at(t, "2025-12-27T10:30:00Z")}, nil
	}
	f.requeue = func(context.Context, store.DeadLetterSelection, store.Actor) (int64, error) {
		waiting.Store(2)
		return 2, nil
	}
	ts := start(t, f, func(o *Options) { o.keepFigures = time.Hour })
	see := func(path, part string) {
		t.Helper()
		require.Contains(t, string(ts.get(t, path).want(t, http.StatusOK).body), part)
	}
	see("/api/system/config", `"retention_days":30`)
	see("/api/system/stats", `"total_events":156`)
	see("/api/system/storage", `"events_count":156`)
	see("/api/system/telemetry", `"detection_queue":0`)

	days.Store(31)
	see("/api/system/config", `"retention_days":30`) // kept: this was not done through the API
	ts.send(t, http.MethodPatch, "/api/system/config", `{"retention_days":14}`).want(t, http.StatusOK)
	see("/api/system/config", `"retention_days":14`)
	ts.send(t, http.MethodPost, "/api/system/cleanup", "").want(t, http.StatusOK)
	see("/api/system/stats", `"total_events":0`)
	see("/api/system/storage", `"events_count":0`)
	ts.send(t, http.MethodPost, "/api/system/dead-letters/requeue", `{"all":true}`).want(t, http.StatusOK)
	see("/api/system/telemetry", `"detection_queue":2`)
}

// Answers are kept encoded; each part of what they are made from must make a new one.
func TestServer_KeptAnswersFollowWhatTheyAreMadeFrom(t *testing.T) {
	t.Parallel()
	f := newFakes(t)
	probed := at(t, "2025-12-23T10:30:00Z")
	services := healthyServices(probed)
	readiness := f.readiness()
	files, err := f.media()
	require.NoError(t, err)
	f.health = func() health.Report { return health.Report{State: health.Healthy, Services: services, At: probed} }
	f.readiness = func() health.Readiness {
		readiness.Services, readiness.At = services, probed
		return readiness
	}
	f.media = func() (media.Report, error) { return files, nil }
	ts := start(t, f)
	paths := []string{"/api/system/health", "/api/system/health/ready"}
	before := map[string]string{}
	for _, path := range append(paths, "/api/system/storage") {
		before[path] = string(ts.get(t, path).want(t, http.StatusOK).body)
		require.Equal(t, before[path], string(ts.get(t, path).want(t, http.StatusOK).body))
	}
	differs := func(path string) {
		t.Helper()
		now := string(ts.get(t, path).body)
		require.NotEqual(t, before[path], now)
		before[path] = now
	}
	for _, change := range []func(){
		func() { probed = probed.Add(time.Second) },
		func() { services.Database.Message = "Database operational, too" },
		func() { services.Redis.Details = map[string]string{"redis_version": "7.0.1"} },
		func() { services.AI.Details = map[string]string{} },
		func() { services.Storage.State = health.Degraded },
	} {
		change()
		for _, path := range paths {
			differs(path)
		}
	}
	for _, change := range []func(){
		func() { readiness.Workers[1].Running = false },
		func() { readiness.Workers[3].Message = "waiting for the analyzer" },
		func() { readiness.State = health.NotReady },
		func() { readiness.Ready = false },
	} {
		readiness.Workers = append(readiness.Workers[:0:0], readiness.Workers...) // published values do not change
		change()
		differs("/api/system/health/ready")
	}
	for _, change := range []func(){
		func() { files.Clips.FileCount++ },
		func() { files.DiskFreeBytes-- },
	} {
		change()
		differs("/api/system/storage")
	}
}
