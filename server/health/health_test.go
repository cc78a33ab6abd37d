package health

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"hsi.home.arpa/internal/logtest"
	"hsi.home.arpa/pipeline"
	"hsi.home.arpa/store"
)

// dependency is a scripted dependency: the function in it answers each probe.
type dependency struct {
	answer  atomic.Pointer[func(ctx context.Context) error]
	running atomic.Int32
	most    atomic.Int32
	fresh   atomic.Bool // not migrated yet
}

func (d *dependency) set(answer func(ctx context.Context) error) { d.answer.Store(&answer) }

func (d *dependency) ask(ctx context.Context) error {
	now := d.running.Add(1)
	defer d.running.Add(-1)
	d.most.Store(max(d.most.Load(), now))
	return (*d.answer.Load())(ctx)
}

func (d *dependency) Ping(ctx context.Context) error { return d.ask(ctx) }

func (d *dependency) Migrated() <-chan struct{} {
	migrated := make(chan struct{})
	if !d.fresh.Load() {
		close(migrated)
	}
	return migrated
}

func (d *dependency) Version(ctx context.Context) (string, error) { return "7.0.15", d.ask(ctx) }

func (d *dependency) RoundTrip(request *http.Request) (*http.Response, error) {
	err := d.ask(request.Context())
	var status statusError
	if err != nil && !errors.As(err, &status) {
		return nil, err
	}
	code := http.StatusOK
	if status != 0 {
		code = int(status)
	}
	return &http.Response{StatusCode: code, Body: io.NopCloser(strings.NewReader(`{"status":"ok"}`)), Request: request}, nil
}

// statusError makes an AI service answer with this status.
type statusError int

func (e statusError) Error() string { return fmt.Sprintf("status %d", int(e)) }

func works(context.Context) error { return nil }

func hangs(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}

const secret = "10.20.30.40 password=hunter2"

func refuses(context.Context) error {
	return fmt.Errorf("dial %s: %w", secret, &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED})
}

// says is a fault of a known kind; what else it says is for the log.
func says(kind error) func(context.Context) error {
	return func(context.Context) error { return fmt.Errorf("ping: %w: %s", kind, secret) }
}

func breaks(context.Context) error { return errors.New("broken at " + secret) }

type workerList []pipeline.WorkerStatus

func (w workerList) Workers() []pipeline.WorkerStatus { return w }

type busySince struct {
	since   atomic.Pointer[time.Time]
	trouble atomic.Pointer[string]
}

func (b *busySince) Trouble() string {
	if trouble := b.trouble.Load(); trouble != nil {
		return *trouble
	}
	return ""
}

// fail makes our own calls fail, in these words.
func (b *busySince) fail(trouble string) { b.trouble.Store(&trouble) }

func (b *busySince) BusySince() (time.Time, bool) {
	if since := b.since.Load(); since != nil {
		return *since, true
	}
	return time.Time{}, false
}

// bench is a monitor with scripted dependencies on a virtual clock.
type bench struct {
	t *testing.T
	*Monitor
	database, redis, ai, storage *dependency
	busy                         *busySince
	log                          *logtest.Output
	stop                         func()
}

// newBench must be called within a synctest bubble. Everything works at first.
func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{t: t, database: &dependency{}, redis: &dependency{}, ai: &dependency{}, storage: &dependency{}, busy: &busySince{}, log: &logtest.Output{}}
	for _, d := range []*dependency{b.database, b.redis, b.ai, b.storage} {
		d.set(works)
	}
	var err error
	b.Monitor, err = New(Options{
		Database: b.database, Redis: b.redis,
		Detector:    AIService{URL: "http://rtdetr.test/", ReadTimeout: time.Minute, Calls: b.busy},
		AITransport: b.ai,
		Storage: func(ctx context.Context) (string, error) {
			err := b.storage.ask(ctx)
			if err != nil && strings.HasPrefix(err.Error(), "broken") {
				return "disk full", err
			}
			return "", err
		},
		Workers: workerList{{Name: pipeline.DetectionWorker, Running: true}, {Name: pipeline.AnalysisWorker, Running: true}},
		Log:     slog.New(slog.NewTextHandler(b.log, nil)),
	})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- b.Run(ctx) }()
	b.stop = func() {
		cancel()
		require.NoError(t, <-done)
	}
	synctest.Wait()
	require.Equal(t, Healthy, b.Health().State)
	return b
}

// pass lets virtual time pass.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

// until measures, in virtual time, how long it takes until check holds.
func until(t *testing.T, limit time.Duration, check func() bool) time.Duration {
	t.Helper()
	startedAt := time.Now()
	for !check() {
		require.LessOrEqual(t, time.Since(startedAt), limit, "not seen in time")
		pass(10 * time.Millisecond)
	}
	return time.Since(startedAt)
}

func inBubble(t *testing.T, name string, test func(b *bench)) {
	t.Helper()
	t.Run(name, func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			b := newBench(t)
			defer b.stop()
			test(b)
		})
	})
}

func TestMonitor_SeesEachFaultInTime(t *testing.T) {
	t.Parallel()
	database := func(b *bench) State { return b.Health().Services.Database.State }
	redis := func(b *bench) State { return b.Health().Services.Redis.State }
	ai := func(b *bench) State { return b.Health().Services.AI.State }
	storage := func(b *bench) State { return b.Health().Services.Storage.State }
	for name, test := range map[string]struct {
		which   func(b *bench) *dependency
		fault   func(ctx context.Context) error
		state   func(b *bench) State
		want    State
		overall State
		limit   time.Duration
		message string
	}{
		"database silent":    {func(b *bench) *dependency { return b.database }, hangs, database, Unhealthy, Unhealthy, 3 * time.Second, "Database health check timed out"},
		"database refused":   {func(b *bench) *dependency { return b.database }, refuses, database, Unhealthy, Unhealthy, time.Second, "Database unavailable: connection refused"},
		"database broken":    {func(b *bench) *dependency { return b.database }, breaks, database, Unhealthy, Unhealthy, 3 * time.Second, "Database unavailable: connection failed"},
		"login refused":      {func(b *bench) *dependency { return b.database }, says(store.ErrLoginRefused), database, Unhealthy, Unhealthy, time.Second, "Database unavailable: login refused"},
		"no database":        {func(b *bench) *dependency { return b.database }, says(store.ErrNoDatabase), database, Unhealthy, Unhealthy, time.Second, "Database unavailable: the database does not exist"},
		"database read-only": {func(b *bench) *dependency { return b.database }, says(store.ErrReadOnly), database, Unhealthy, Unhealthy, time.Second, "Database unavailable: read-only, nothing can be stored"},
		"database full":      {func(b *bench) *dependency { return b.database }, says(store.ErrDiskFull), database, Unhealthy, Unhealthy, time.Second, "Database unavailable: disk full, nothing can be stored"},
		"redis silent":       {func(b *bench) *dependency { return b.redis }, hangs, redis, Unhealthy, Degraded, 3 * time.Second, "Redis health check timed out"},
		"redis refused":      {func(b *bench) *dependency { return b.redis }, refuses, redis, Unhealthy, Degraded, time.Second, "Redis unavailable: connection refused"},
		"ai silent":          {func(b *bench) *dependency { return b.ai }, hangs, ai, Degraded, Degraded, DefaultAITimeout + 3*time.Second, "RT-DETR service unavailable, Nemotron operational"},
		"ai refused":         {func(b *bench) *dependency { return b.ai }, refuses, ai, Degraded, Degraded, 3 * time.Second, "RT-DETR service unavailable, Nemotron operational"},
		"ai 500":             {func(b *bench) *dependency { return b.ai }, func(context.Context) error { return statusError(500) }, ai, Degraded, Degraded, 3 * time.Second, "RT-DETR service unavailable, Nemotron operational"},
		"disk full":          {func(b *bench) *dependency { return b.storage }, breaks, storage, Degraded, Degraded, 3 * time.Second, "Media storage degraded: disk full"},
		"disk silent":        {func(b *bench) *dependency { return b.storage }, hangs, storage, Degraded, Degraded, 3 * time.Second, "Media storage health check timed out"},
	} {
		inBubble(t, name, func(b *bench) {
			t := b.t
			// The worst moment: right after a probe that went well.
			test.which(b).set(test.fault)
			took := until(t, test.limit, func() bool { return test.state(b) == test.want })
			t.Logf("seen after %v", took)
			report := b.Health()
			require.Equal(t, test.overall, report.State)
			require.Contains(t, fmt.Sprintf("%+v", report.Services), test.message)
			require.NotContains(t, fmt.Sprintf("%+v", report), "hunter2")
			require.NotContains(t, fmt.Sprintf("%+v", report), "10.20.30.40")

			pass(20 * time.Second) // it stays so
			require.Equal(t, test.want, test.state(b))
			require.Equal(t, 1, strings.Count(b.log.String(), "service not healthy"), b.log.String())

			test.which(b).set(works)
			until(t, test.limit, func() bool { return test.state(b) == Healthy })
			require.Equal(t, Healthy, b.Health().State)
			require.Equal(t, 1, strings.Count(b.log.String(), "service healthy again"), b.log.String())
		})
	}
}

func TestMonitor_OneFailureIsTolerated(t *testing.T) {
	t.Parallel()
	inBubble(t, "database", func(b *bench) {
		t := b.t
		var failures atomic.Int32
		goodAt := b.Health().Services.Database.At
		b.database.set(func(ctx context.Context) error {
			if failures.Add(1) == 1 {
				return breaks(ctx)
			}
			return nil
		})
		pass(interval + confirmAfter/2)
		require.EqualValues(t, 1, failures.Load())
		require.Equal(t, Healthy, b.Health().State)
		require.Equal(t, goodAt, b.Health().Services.Database.At, "the result used is the last good one")
		for range 300 {
			pass(10 * time.Millisecond)
			require.Equal(t, Healthy, b.Health().State)
		}
		require.True(t, b.Health().Services.Database.At.After(goodAt))
		require.Empty(t, b.log.String())
	})
}

// The second try is shorter than the others. What is slow and works must not be held to it for
// ever.
func TestMonitor_SlowAndWorkingRecovers(t *testing.T) {
	t.Parallel()
	slow := func(part time.Duration) func(ctx context.Context) error {
		return func(ctx context.Context) error {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(part):
				return nil
			}
		}
	}
	inBubble(t, "database", func(b *bench) {
		b.database.set(refuses)
		until(b.t, 3*time.Second, func() bool { return b.Health().State == Unhealthy })
		b.database.set(slow(900 * time.Millisecond))
		until(b.t, 3*time.Second, func() bool { return b.Health().State == Healthy })
	})
	inBubble(t, "ai", func(b *bench) {
		b.ai.set(refuses)
		until(b.t, 3*time.Second, func() bool { return b.Health().State == Degraded })
		b.ai.set(slow(DefaultAITimeout * 9 / 10))
		until(b.t, DefaultAITimeout+3*time.Second, func() bool { return b.Health().State == Healthy })
	})
}

func TestMonitor_StuckProbeIsNotJoinedByAnother(t *testing.T) {
	t.Parallel()
	inBubble(t, "database", func(b *bench) {
		t := b.t
		release := make(chan struct{})
		b.database.set(func(context.Context) error { // does not respect its context
			<-release
			return nil
		})
		until(t, 3*time.Second, func() bool { return b.Health().State == Unhealthy })
		pass(time.Hour)
		require.Equal(t, Unhealthy, b.Health().State)
		require.EqualValues(t, 1, b.database.most.Load())
		require.Equal(t, Healthy, b.Health().Services.Redis.State, "the others go on")

		b.database.set(works)
		close(release)
		until(t, 2*time.Second, func() bool { return b.Health().State == Healthy })
	})
}

func TestMonitor_SilentWhileOurOwnCallRunsIsBusy(t *testing.T) {
	t.Parallel()
	inBubble(t, "detector", func(b *bench) {
		t := b.t
		began := time.Now()
		b.busy.since.Store(&began)
		b.ai.set(hangs)
		pass(30 * time.Second)
		ai := b.Health().Services.AI
		require.Equal(t, Healthy, ai.State)
		require.Equal(t, map[string]string{"rtdetr": "busy", "nemotron": "embedded"}, ai.Details)
		require.Equal(t, Healthy, b.Health().State)
		// Past the read timeout of the call, busy explains nothing any more.
		until(t, 30*time.Second+DefaultAITimeout+3*time.Second, func() bool { return b.Health().Services.AI.State == Degraded })
		require.Equal(t, "request timed out", b.Health().Services.AI.Details["rtdetr"])
	})
	inBubble(t, "not while calls fail", func(b *bench) {
		t := b.t
		began := time.Now()
		b.busy.since.Store(&began)
		b.busy.fail("calls fail: breaker open since 00:00:00Z, trying now")
		b.ai.set(hangs)
		until(t, DefaultAITimeout+3*time.Second, func() bool { return b.Health().Services.AI.State == Degraded })
		require.Equal(t, "request timed out; calls fail: breaker open since 00:00:00Z, trying now", b.Health().Services.AI.Details["rtdetr"])
	})
	inBubble(t, "refused is not busy", func(b *bench) {
		t := b.t
		began := time.Now()
		b.busy.since.Store(&began)
		b.ai.set(refuses)
		until(t, 3*time.Second, func() bool { return b.Health().Services.AI.State == Degraded })
	})
}

// A service that answers its health check and fails at its work is not healthy.
func TestMonitor_CallsThatFail(t *testing.T) {
	t.Parallel()
	inBubble(t, "detector", func(b *bench) {
		t := b.t
		const trouble = "calls fail: breaker open since 00:00:00Z, next try in 7 s"
		b.busy.fail(trouble)
		took := until(t, 3*time.Second, func() bool { return b.Health().Services.AI.State == Degraded })
		t.Logf("seen after %v", took)
		ai := b.Health().Services.AI
		require.Equal(t, map[string]string{"rtdetr": trouble, "nemotron": "embedded"}, ai.Details)
		require.Equal(t, "RT-DETR service unavailable, Nemotron operational", ai.Message)
		require.Equal(t, Degraded, b.Health().State)
		require.True(t, b.Readiness().Ready, "images wait for it")

		b.busy.fail("calls fail: breaker open since 00:00:00Z, next try in 6 s")
		pass(2 * time.Second)
		require.Contains(t, b.Health().Services.AI.Details["rtdetr"], "in 6 s", "it is told anew")
		require.Equal(t, 1, strings.Count(b.log.String(), "service not healthy"), b.log.String())

		b.busy.fail("")
		until(t, 2*time.Second, func() bool { return b.Health().State == Healthy })
	})
	inBubble(t, "refused", func(b *bench) {
		t := b.t
		b.busy.fail("calls fail: breaker open since 00:00:00Z, trying now")
		b.ai.set(refuses)
		until(t, 3*time.Second, func() bool {
			return b.Health().Services.AI.Details["rtdetr"] == "connection refused; calls fail: breaker open since 00:00:00Z, trying now"
		})
	})
}

func TestMonitor_OldResultsAreNotBelieved(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.stop() // the probers are gone, their last results were good
		pass(ProbeTimeout + 3*interval)
		require.Equal(t, Healthy, b.Health().Services.Database.State)
		pass(time.Millisecond)
		report := b.Health()
		require.Equal(t, Unhealthy, report.State)
		require.Equal(t, Unhealthy, report.Services.Database.State)
		require.Equal(t, Unhealthy, report.Services.Redis.State)
		require.Equal(t, Degraded, report.Services.Storage.State)
		require.Equal(t, "Database unavailable: no recent check", report.Services.Database.Message)
		pass(DefaultAITimeout)
		require.Equal(t, "no recent check", b.Health().Services.AI.Details["rtdetr"])
		require.False(t, b.Readiness().Ready)
	})
}

func TestMonitor_NothingIsKnownBeforeTheFirstProbe(t *testing.T) {
	t.Parallel()
	startedAt := time.Unix(1000, 0)
	m, err := New(Options{
		Database: &dependency{}, Redis: &dependency{}, Workers: workerList{}, Log: slog.New(slog.DiscardHandler),
		Now: func() time.Time { return startedAt },
	})
	require.NoError(t, err)
	report := m.Health()
	require.Equal(t, Unhealthy, report.State)
	require.Equal(t, "Database unavailable: not checked yet", report.Services.Database.Message)
	require.Equal(t, "Redis unavailable: not checked yet", report.Services.Redis.Message)
	require.Equal(t, map[string]string{"rtdetr": "embedded", "nemotron": "embedded"}, report.Services.AI.Details)
	require.Equal(t, startedAt, report.At)
}

func TestMonitor_StartWithEverythingMissing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		missing := &dependency{}
		missing.set(breaks)
		missing.fresh.Store(true)
		m, err := New(Options{Database: missing, Redis: missing, Workers: workerList{}, Log: slog.New(slog.DiscardHandler)})
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- m.Run(ctx) }()
		synctest.Wait()
		// Nothing good is remembered, so the first failure says it all.
		require.Equal(t, "Database unavailable: not ready yet", m.Health().Services.Database.Message)
		require.ErrorContains(t, m.Run(ctx), "already runs")
		missing.set(works)
		until(t, 2*time.Second, func() bool { return m.Health().State == Healthy })
		cancel()
		require.NoError(t, <-done)
	})
}

// startingMonitor runs a monitor whose database and Redis refuse, until test is done. It must be
// called within a synctest bubble.
func startingMonitor(t *testing.T, grace time.Duration, test func(m *Monitor, database, redis *dependency, log *logtest.Output)) {
	t.Helper()
	database, redis, log := &dependency{}, &dependency{}, &logtest.Output{}
	database.set(refuses)
	redis.set(refuses)
	m, err := New(Options{Database: database, Redis: redis, Workers: workerList{}, Grace: grace, Log: slog.New(slog.NewTextHandler(log, nil))})
	require.NoError(t, err)
	pass(time.Hour) // the grace begins with Run
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- m.Run(ctx) }()
	synctest.Wait()
	test(m, database, redis, log)
	cancel()
	require.NoError(t, <-done)
}

func TestMonitor_GraceOfTheStart(t *testing.T) {
	t.Parallel()
	const grace = 10 * time.Second
	count := func(log *logtest.Output, level, message, service string) int {
		return strings.Count(log.String(), fmt.Sprintf("level=%s msg=%q service=%s", level, message, service))
	}
	for name, test := range map[string]func(m *Monitor, database, redis *dependency, log *logtest.Output){
		"up in time": func(m *Monitor, database, redis *dependency, log *logtest.Output) {
			pass(5 * time.Second)
			require.Equal(t, Unhealthy, m.Health().State, "the verdict does not wait")
			require.Equal(t, "Database unavailable: connection refused", m.Health().Services.Database.Message)
			database.set(works)
			redis.set(works)
			pass(time.Hour)
			require.Equal(t, Healthy, m.Health().State)
			require.NotContains(t, log.String(), "WARN")
			for _, service := range []string{"database", "redis"} {
				require.Equal(t, 1, count(log, "INFO", "service not ready yet", service), log.String())
				require.Equal(t, 1, count(log, "INFO", "service ready", service), log.String())
			}
			require.NotContains(t, log.String(), "healthy again")
		},
		"still down at the end": func(_ *Monitor, database, _ *dependency, log *logtest.Output) {
			pass(grace - time.Millisecond)
			require.NotContains(t, log.String(), "WARN")
			pass(interval)
			require.Equal(t, 1, count(log, "WARN", "service not healthy", "database"), log.String())
			pass(time.Hour)
			database.set(works)
			pass(2 * time.Second)
			require.Equal(t, 1, count(log, "INFO", "service not ready yet", "database"), log.String())
			require.Equal(t, 1, count(log, "WARN", "service not healthy", "database"), log.String())
			require.Equal(t, 1, count(log, "INFO", "service healthy again", "database"), log.String())
			require.Equal(t, 1, count(log, "WARN", "service not healthy", "redis"), log.String())
		},
		"lost again within the grace": func(_ *Monitor, database, _ *dependency, log *logtest.Output) {
			database.set(works)
			pass(2 * time.Second)
			database.set(refuses)
			pass(2 * time.Second)
			require.Equal(t, 1, count(log, "WARN", "service not healthy", "database"), log.String())
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { startingMonitor(t, grace, test) })
		})
	}
	t.Run("none", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			startingMonitor(t, 0, func(_ *Monitor, _, _ *dependency, log *logtest.Output) {
				require.Equal(t, 1, count(log, "WARN", "service not healthy", "database"), log.String())
				require.NotContains(t, log.String(), "not ready yet")
			})
		})
	})
}

func TestMonitor_Readiness(t *testing.T) {
	t.Parallel()
	inBubble(t, "redis down", func(b *bench) {
		t := b.t
		require.True(t, b.Readiness().Ready)
		require.Len(t, b.Readiness().Workers, 2)
		b.redis.set(refuses)
		until(t, 3*time.Second, func() bool { return !b.Readiness().Ready })
		require.Equal(t, ReadyDegraded, b.Readiness().State)
	})
	inBubble(t, "AI and storage change nothing", func(b *bench) {
		t := b.t
		b.ai.set(refuses)
		b.storage.set(breaks)
		until(t, 3*time.Second, func() bool { return b.Health().Services.Storage.State == Degraded })
		require.True(t, b.Readiness().Ready)
		require.Equal(t, Ready, b.Readiness().State)
	})
}

func TestMonitor_TimestampIsTheOldestResult(t *testing.T) {
	t.Parallel()
	inBubble(t, "AI", func(b *bench) {
		t := b.t
		at := b.Health().Services.AI.At
		b.ai.set(hangs)
		pass(4 * time.Second) // the health check of the AI service is still waiting
		report := b.Health()
		require.Equal(t, at, report.At)
		require.True(t, report.Services.Database.At.After(at))
		require.Equal(t, at, b.Readiness().At)
	})
}

func TestAIProbe_OverHTTP(t *testing.T) {
	t.Parallel()
	var path, key atomic.Value
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		path.Store(r.URL.Path)
		key.Store(r.Header.Get("X-API-Key") + " " + r.Header.Get("Authorization"))
		if strings.HasPrefix(r.URL.Path, "/moved") {
			http.Redirect(w, r, "/health", http.StatusFound)
			return
		}
		_, _ = io.WriteString(w, `{"status":"degraded","model_loaded":false}`)
	}))
	defer server.Close()
	client := newAIClient(time.Second)
	defer client.CloseIdleConnections()

	found := AIService{URL: server.URL + "/base/", APIKey: "k"}.probe(client)(t.Context())
	require.Equal(t, finding{state: Degraded, text: "model not loaded"}, found)
	require.Equal(t, "/base/health", path.Load())
	require.Equal(t, "k Bearer k", key.Load())

	found = AIService{URL: server.URL + "/moved"}.probe(client)(t.Context())
	require.Equal(t, "returned HTTP 302", found.text)

	server.Close()
	found = AIService{URL: server.URL}.probe(client)(t.Context())
	require.Equal(t, "connection refused", found.text)
	require.True(t, found.atOnce)
}

func TestNew_RefusesWhatItCannotHonour(t *testing.T) {
	t.Parallel()
	options := Options{Database: &dependency{}, Redis: &dependency{}, Workers: workerList{}, Log: slog.New(slog.DiscardHandler)}
	_, err := New(Options{})
	require.Error(t, err)
	options.Detector.URL, options.Analyzer.URL = "rtdetr:8090", "ftp://nemotron"
	_, err = New(options)
	require.ErrorContains(t, err, "RT-DETR")
	require.ErrorContains(t, err, "Nemotron")
}

func BenchmarkMonitor_Health(b *testing.B) {
	missing := &dependency{}
	missing.set(works)
	m, err := New(Options{Database: missing, Redis: missing, Workers: workerList{}, Log: slog.New(slog.DiscardHandler)})
	require.NoError(b, err)
	for _, p := range m.probers {
		p.record(b.Context(), finding{state: Healthy})
	}
	b.ReportAllocs()
	for b.Loop() {
		_ = m.Health()
	}
}
