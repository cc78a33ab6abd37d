package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/stretchr/testify/require"

	"hsi.home.arpa/gen"
	"hsi.home.arpa/gpu"
	"hsi.home.arpa/pipeline/latency"
	"hsi.home.arpa/pipeline/redis"
	"hsi.home.arpa/server/health"
	"hsi.home.arpa/store"
	"hsi.home.arpa/store/media"
	"hsi.home.arpa/store/retention"
)

// TestExamples: with the figures of the API's description behind it, the server answers exactly what the description shows.
func TestExamples(t *testing.T) {
	t.Parallel()
	now := at(t, "2025-12-23T10:30:00Z")
	f := newFakes(t)
	f.depths = func(ctx context.Context) (store.QueueDepths, error) {
		return store.QueueDepths{Detection: 5, Analysis: 2}, nil
	}
	s := start(t, f, func(o *Options) { o.Now = func() time.Time { return now } })
	for id, target := range map[string]string{
		"getLiveness":        "/health",
		"getHealth":          "/api/system/health",
		"getReadiness":       "/api/system/health/ready",
		"getGPUStats":        "/api/system/gpu",
		"listGPUHistory":     "/api/system/gpu/history",
		"getSystemConfig":    "/api/system/config",
		"getTelemetry":       "/api/system/telemetry",
		"getPipelineLatency": "/api/system/pipeline-latency",
		"getSeverity":        "/api/system/severity",
		"getStats":           "/api/system/stats",
		"listDeadLetters":    "/api/system/dead-letters",
	} {
		got := decoded(t, s.get(t, target).want(t, http.StatusOK).body)
		want := decoded(t, []byte(example(t, id)))
		if services, ok := got["services"].(map[string]any); ok {
			require.Contains(t, services, "storage")
			delete(services, "storage") // one more service than the description knows
		}
		for _, varies := range []string{"timestamp", "uptime_seconds"} {
			if _, there := want[varies]; there {
				require.Contains(t, got, varies, id)
				delete(want, varies)
				delete(got, varies)
			}
		}
		require.Equal(t, want, got, id)
	}

	later := start(t, newFakes(t))
	require.JSONEq(t, example(t, "getStorage"), string(later.get(t, "/api/system/storage").want(t, http.StatusOK).body))
	require.JSONEq(t, example(t, "runCleanup"), string(later.send(t, http.MethodPost, "/api/system/cleanup", "").want(t, http.StatusOK).body))
	changed := later.send(t, http.MethodPatch, "/api/system/config", example(t, "updateSystemConfig.request")).want(t, http.StatusOK)
	require.JSONEq(t, `{"app_name":"Home Security Intelligence","version":"0.1.0","retention_days":14,"batch_window_seconds":60,
		"batch_idle_timeout_seconds":20,"detection_confidence_threshold":0.6}`, string(changed.body))
	requeued := later.send(t, http.MethodPost, "/api/system/dead-letters/requeue", example(t, "requeueDeadLetters.request")).want(t, http.StatusOK)
	require.JSONEq(t, example(t, "requeueDeadLetters"), string(requeued.body))
	require.JSONEq(t, `{"ready":true,"status":"ready"}`, string(later.get(t, "/ready").want(t, http.StatusOK).body))
}

func decoded(tb testing.TB, body []byte) map[string]any {
	tb.Helper()
	var value map[string]any
	require.NoError(tb, json.Unmarshal(body, &value))
	return value
}

// operationRequest is how to ask for each operation so that it succeeds.
var operationRequest = map[string]struct{ method, target, body string }{
	"getLiveness":        {http.MethodGet, "/health", ""},
	"getReadinessProbe":  {http.MethodGet, "/ready", ""},
	"getHealth":          {http.MethodGet, "/api/system/health", ""},
	"getReadiness":       {http.MethodGet, "/api/system/health/ready", ""},
	"getGPUStats":        {http.MethodGet, "/api/system/gpu", ""},
	"listGPUHistory":     {http.MethodGet, "/api/system/gpu/history", ""},
	"getStats":           {http.MethodGet, "/api/system/stats", ""},
	"getSystemConfig":    {http.MethodGet, "/api/system/config", ""},
	"updateSystemConfig": {http.MethodPatch, "/api/system/config", `{"retention_days":14}`},
	"getTelemetry":       {http.MethodGet, "/api/system/telemetry", ""},
	"getPipelineLatency": {http.MethodGet, "/api/system/pipeline-latency", ""},
	"listDeadLetters":    {http.MethodGet, "/api/system/dead-letters", ""},
	"requeueDeadLetters": {http.MethodPost, "/api/system/dead-letters/requeue", `{"all":true}`},
	"runCleanup":         {http.MethodPost, "/api/system/cleanup", ""},
	"getSeverity":        {http.MethodGet, "/api/system/severity", ""},
	"getStorage":         {http.MethodGet, "/api/system/storage", ""},
}

// eachOperation runs a subtest for every operation of the contract, also for one that is added tomorrow.
func eachOperation(t *testing.T, test func(t *testing.T, id string)) {
	t.Helper()
	doc, err := gen.GetSpec()
	require.NoError(t, err)
	found, err := operations(doc)
	require.NoError(t, err)
	for id := range found {
		require.Contains(t, operationRequest, id, "say in operationRequest how to ask for it")
		t.Run(id, func(t *testing.T) {
			t.Parallel()
			test(t, id)
		})
	}
	require.Len(t, operationRequest, len(found))
}

// ask sends the valid request of an operation.
func (s *testServer) ask(tb testing.TB, id string, change ...func(*http.Request)) answer {
	tb.Helper()
	request := operationRequest[id]
	return s.send(tb, request.method, request.target, request.body, change...)
}

func isProbeID(id string) bool { return isProbe(operationRequest[id].target) }

// TestInternalErrors: a panic, an unknown error and a missing answer are a 500 that says nothing, and the log says it once.
func TestInternalErrors(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]func() (any, error){
		"panic":     func() (any, error) { panic("secret of the house") },
		"error":     func() (any, error) { return nil, errors.New("secret of the house") },
		"no answer": func() (any, error) { return nil, nil }, //nolint:nilnil // the fault
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := start(t, newFakes(t), func(o *Options) {
				o.strict = append(o.strict, func(next gen.StrictHandlerFunc, _ string) gen.StrictHandlerFunc {
					return func(c echo.Context, request any) (any, error) {
						if isProbe(c.Request().URL.Path) { // they document no 500
							return next(c, request)
						}
						return fault()
					}
				})
			})
			for id := range operationRequest {
				if isProbeID(id) {
					continue
				}
				got := s.ask(t, id, header("X-Request-ID", id)).want(t, http.StatusInternalServerError)
				require.JSONEq(t, `{"detail":"Internal Server Error"}`, string(got.body))
				s.get(t, "/health").want(t, http.StatusOK) // and the server lives
			}
			for id := range operationRequest {
				if isProbeID(id) {
					continue
				}
				lines := s.about(id)
				require.Len(t, lines, 1, id)
				require.Contains(t, lines[0], `"level":"ERROR"`)
				if name != "no answer" {
					require.Contains(t, lines[0], "secret of the house")
				}
				require.Equal(t, name == "panic", strings.Contains(lines[0], `"stack"`))
			}
		})
	}
}

// TestUnavailable: what each operation needs, and what it answers without it.
func TestUnavailable(t *testing.T) {
	t.Parallel()
	type broken struct{ database, redis, media bool }
	down := func(f *fakes, what broken) {
		if what.database {
			cause := fmt.Errorf("list things: %w: dial 10.1.2.3: refused", store.ErrUnavailable)
			f.samples = func(context.Context, *time.Time, int) ([]store.GPUSample, error) { return nil, cause }
			f.counts = func(context.Context) (store.Counts, error) { return store.Counts{}, cause }
			f.depths = func(context.Context) (store.QueueDepths, error) { return store.QueueDepths{}, cause }
			f.config = func(context.Context) (store.SystemConfig, error) { return store.SystemConfig{}, cause }
			f.update = func(context.Context, store.SystemConfigUpdate, store.Actor) (store.SystemConfig, error) {
				return store.SystemConfig{}, cause
			}
			f.total = func(context.Context, store.DeadLetterSelection) (int64, error) { return 0, cause }
			f.requeue = func(context.Context, store.DeadLetterSelection, store.Actor) (int64, error) { return 0, cause }
			f.cleanup = func(context.Context, bool) (retention.Report, error) { return retention.Report{}, cause }
		}
		if what.redis {
			f.latency = func(latency.Stage, int) (latency.Summary, error) { return latency.Summary{}, latency.ErrUnavailable }
		}
		if what.media {
			f.media = func() (media.Report, error) {
				return media.Report{}, fmt.Errorf("%w: /srv/secret", media.ErrUnavailable)
			}
			f.cleanup = func(context.Context, bool) (retention.Report, error) {
				return retention.Report{}, retention.ErrMediaUnavailable
			}
		}
	}
	for name, test := range map[string]struct {
		broken broken
		detail string
		needs  map[string]bool
	}{
		"database": {broken{database: true}, "Database unavailable", map[string]bool{
			"listGPUHistory": true, "getStats": true, "getSystemConfig": true, "updateSystemConfig": true, "getTelemetry": true,
			"runCleanup": true, "getStorage": true, "listDeadLetters": true, "requeueDeadLetters": true,
		}},
		"redis": {broken{redis: true}, "Redis unavailable", map[string]bool{"getTelemetry": true, "getPipelineLatency": true}},
		"media": {broken{media: true}, "Media storage unavailable", map[string]bool{"getStorage": true, "runCleanup": true}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFakes(t)
			down(f, test.broken)
			s := start(t, f)
			for id := range operationRequest {
				got := s.ask(t, id)
				if !test.needs[id] {
					got.want(t, http.StatusOK)
					continue
				}
				got.want(t, http.StatusServiceUnavailable)
				require.JSONEq(t, fmt.Sprintf(`{"detail":%q}`, test.detail), string(got.body), id)
				require.Equal(t, "5", got.Header.Get("Retry-After"), id)
			}
		})
	}
}

func TestToProblem(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		err    error
		status int
	}{
		"redis":    {fmt.Errorf("x: %w", redis.ErrUnavailable), 503},
		"both":     {fmt.Errorf("x: %w: %w", store.ErrUnavailable, context.DeadlineExceeded), 503},
		"deadline": {context.DeadlineExceeded, 503},
		"canceled": {context.Canceled, 503},
		"running":  {retention.ErrRunning, 409},
		"time up":  {fmt.Errorf("x: %w: %w", retention.ErrOutOfTime, store.ErrUnavailable), 503},
		"conflict": {store.ErrConflict, 500}, // no operation has a conflict to tell of: it would be a fault of ours
		"unknown":  {errors.New("x"), 500},
		"binder":   {echo.NewHTTPError(400, "Invalid format"), 422},
		"framework": {
			echo.NewHTTPError(502, "x"), 500,
		},
	} {
		p := toProblem(nil, test.err)
		require.Equal(t, test.status, p.status, name)
		require.NotEmpty(t, p.detail+fmt.Sprint(p.items), name)
		require.Equal(t, name == "time up", strings.Contains(p.detail, "ran out of time"), name)
	}
}

// TestHealthAnswers: the status follows the verdict, the body is the same, and no 503 of them has a detail key.
func TestHealthAnswers(t *testing.T) {
	t.Parallel()
	probed := at(t, "2025-12-23T10:30:00Z")
	for _, state := range []health.State{health.Healthy, health.Degraded, health.Unhealthy} {
		f := newFakes(t)
		f.health = func() health.Report {
			services := healthyServices(probed)
			services.AI = health.Service{State: state, At: probed}
			return health.Report{State: state, Services: services, At: probed}
		}
		status := map[bool]int{true: 200, false: 503}[state == health.Healthy]
		body := decoded(t, start(t, f).get(t, "/api/system/health").want(t, status).body)
		require.Equal(t, string(state), body["status"])
		require.NotContains(t, body, "detail")
		require.Equal(t, map[string]any{"status": string(state), "message": nil, "details": nil}, body["services"].(map[string]any)["ai"])
	}
	for _, state := range []health.ReadyState{health.Ready, health.ReadyDegraded, health.NotReady} {
		f := newFakes(t)
		f.readiness = func() health.Readiness {
			return health.Readiness{Ready: state == health.Ready, State: state, Services: healthyServices(probed), At: probed}
		}
		s := start(t, f)
		status := map[bool]int{true: 200, false: 503}[state == health.Ready]
		body := decoded(t, s.get(t, "/api/system/health/ready").want(t, status).body)
		require.Equal(t, string(state), body["status"])
		require.Equal(t, state == health.Ready, body["ready"])
		require.Equal(t, []any{}, body["workers"])
		require.NotContains(t, body, "detail")
		require.JSONEq(t, fmt.Sprintf(`{"ready":%t,"status":%q}`, state == health.Ready, state), string(s.get(t, "/ready").want(t, status).body))
	}
}

func TestGPU_WithoutAFreshSampleEverythingIsNull(t *testing.T) {
	t.Parallel()
	f := newFakes(t)
	f.gpu = func() gpu.Snapshot { return gpu.Snapshot{State: gpu.StateLost} }
	f.samples = func(context.Context, *time.Time, int) ([]store.GPUSample, error) {
		return []store.GPUSample{{RecordedAt: time.Unix(0, 5).In(time.FixedZone("", 3600))}}, nil
	}
	s := start(t, f)
	require.NotNil(t, s.server.options.InferenceFPS(), "known, and still not shown without a sample")
	require.JSONEq(t, `{"gpu_name":null,"utilization":null,"memory_used":null,"memory_total":null,"temperature":null,"power_usage":null,
		"inference_fps":null}`, string(s.get(t, "/api/system/gpu").want(t, 200).body))
	require.JSONEq(t, `{"samples":[{"recorded_at":"1970-01-01T00:00:00.000000005Z","gpu_name":null,"utilization":null,"memory_used":null,
		"memory_total":null,"temperature":null,"power_usage":null,"inference_fps":null}],"count":1,"limit":7}`,
		string(s.get(t, "/api/system/gpu/history?limit=7").want(t, 200).body))
	f.samples = func(context.Context, *time.Time, int) ([]store.GPUSample, error) { return nil, nil }
	require.JSONEq(t, `{"samples":[],"count":0,"limit":300}`, string(s.get(t, "/api/system/gpu/history").want(t, 200).body))
}

func TestGPUHistory_Bounds(t *testing.T) {
	t.Parallel()
	f := newFakes(t)
	var gotSince *time.Time
	var gotLimit int
	f.samples = func(_ context.Context, since *time.Time, limit int) ([]store.GPUSample, error) {
		gotSince, gotLimit = since, limit
		return nil, nil
	}
	var revision atomic.Int64 // something changes before each request, so that no answer is kept
	f.revision = func(context.Context) (string, error) { return strconv.FormatInt(revision.Add(1), 10), nil }
	s := start(t, f)
	s.get(t, "/api/system/gpu/history").want(t, 200)
	require.Nil(t, gotSince)
	require.Equal(t, 300, gotLimit)
	for query, want := range map[string]string{
		"since=2025-12-23T09:00:00Z":              "2025-12-23T09:00:00Z",
		"since=2025-12-23T09:00:00":               "2025-12-23T09:00:00Z",
		"since=2025-12-23t09:00:00.5z":            "2025-12-23T09:00:00.5Z",
		"since=2025-12-23T09:00:00.123456789":     "2025-12-23T09:00:00.123456789Z",
		"since=2025-12-23T09:00:00%2B05:30":       "2025-12-23T03:30:00Z",
		"since=2025-12-23T09:00:00-01:00":         "2025-12-23T10:00:00Z",
		"since=2016-12-31T23:59:60Z":              "2017-01-01T00:00:00Z",
		"since=2024-02-29T00:00:00Z&limit=5000":   "2024-02-29T00:00:00Z",
		"since=0000-01-01T00:00:00%2B23:59":       "0001-01-01T00:00:00Z",
		"limit=1&since=9999-12-31T23:59:59-23:59": "10000-01-01T23:58:59Z",
	} {
		s.get(t, "/api/system/gpu/history?"+query).want(t, 200)
		require.Equal(t, want, gotSince.Format(time.RFC3339Nano), query)
		require.Equal(t, time.UTC, gotSince.Location())
	}
	for _, query := range []string{
		"since=2025-12-23T09:00:00+05:30", // the plus is a space
		"since=2025-12-23", "since=1766480400", "since=2025-02-29T00:00:00Z", "since=2025-04-31T00:00:00", "since=", "since=%20",
		"since=2025-12-23T24:00:00Z", "since=2025-12-23T09:00:00%2B24:00", "since=2025-12-23T09:00Z", "since=now",
		"since=2025-12-23T09:00:00Z%0A", "since=%ff", "since=2025-12-23T09:00:00.1234567890Z",
	} {
		got := s.get(t, "/api/system/gpu/history?"+query).want(t, 422)
		require.Contains(t, string(got.body), `["query","since"]`, query)
	}
}

func TestConfig_PatchReachesTheStoreAsItWasMeant(t *testing.T) {
	t.Parallel()
	f := newFakes(t)
	var got store.SystemConfigUpdate
	var actor store.Actor
	next := f.update
	f.update = func(ctx context.Context, update store.SystemConfigUpdate, by store.Actor) (store.SystemConfig, error) {
		got, actor = update, by
		return next(ctx, update, by)
	}
	s := start(t, f)
	patch := func(body string) answer {
		return s.send(t, http.MethodPatch, "/api/system/config", body, header("User-Agent", "probe/1"), header("X-Request-ID", "r.1"))
	}
	patch(`{}`).want(t, 200)
	require.Equal(t, store.SystemConfigUpdate{}, got)
	require.Equal(t, store.Actor{Name: "anonymous", IPAddress: "127.0.0.1", UserAgent: "probe/1", RequestID: "r.1"}, actor)
	patch(`{"retention_days":null,"batch_window_seconds":null,"batch_idle_timeout_seconds":null,"detection_confidence_threshold":null}`).want(t, 200)
	require.Equal(t, store.SystemConfigUpdate{}, got)
	patch(` {"retention_days": 365, "batch_window_seconds": 2147483647, "batch_idle_timeout_seconds": 1, "detection_confidence_threshold": 1} `).want(t, 200)
	require.Equal(t, store.SystemConfigUpdate{
		RetentionDays: new(365), BatchWindow: new(2147483647 * time.Second), BatchIdleTimeout: new(time.Second), DetectionConfidenceThreshold: new(1.0),
	}, got)
	body := patch(`{"detection_confidence_threshold": -0.0}`).want(t, 200).body
	require.Contains(t, string(body), `"detection_confidence_threshold":0,`)
	require.False(t, math.Signbit(*got.DetectionConfidenceThreshold), "nor is -0 stored")
	patch(`{"retention\u005fdays": 7}`).want(t, 200)
	require.Equal(t, store.SystemConfigUpdate{RetentionDays: new(7)}, got)
}

func TestCleanup(t *testing.T) {
	t.Parallel()
	f := newFakes(t)
	next := f.cleanup
	var dry []bool
	f.cleanup = func(ctx context.Context, dryRun bool) (retention.Report, error) {
		dry = append(dry, dryRun)
		return next(ctx, dryRun)
	}
	s := start(t, f)
	post := func(query, body string) answer { return s.send(t, http.MethodPost, "/api/system/cleanup"+query, body) }
	post("", "").want(t, 200)
	post("?dry_run=true", "").want(t, 200)
	post("?dry_run=false", "").want(t, 200)
	require.Equal(t, []bool{false, true, false}, dry)
	for _, query := range []string{
		"?dry_run=yes", "?dry_run=", "?dry_run", "?dry_run=1", "?dry_run=0", "?dry_run=2", "?dry_run=True", "?dry_run=TRUE", "?dry_run=t", "?dry_run=f",
		"?dry_run=%20true", "?dry_run=true&dry_run=true", "?DRY_RUN=true",
	} {
		post(query, "").want(t, 422)
	}
	require.Len(t, dry, 3)

	f.cleanup = func(context.Context, bool) (retention.Report, error) { return retention.Report{}, retention.ErrRunning }
	require.JSONEq(t, `{"detail":"A cleanup is already running"}`, string(post("", "").want(t, 409).body))
}

// TestCleanup_GoesOnWhenTheClientLeaves, but not when the server stops; a dry run ends with its client.
// TestCleanup_RefusesABody: a wish that is sent in the body would not be heard, and a run deletes for good.
func TestCleanup_RefusesABody(t *testing.T) {
	t.Parallel()
	f := newFakes(t)
	runs := 0
	next := f.cleanup
	f.cleanup = func(ctx context.Context, dryRun bool) (retention.Report, error) {
		runs++
		return next(ctx, dryRun)
	}
	s := start(t, f)
	post := func(query, body string, change ...func(*http.Request)) answer {
		return s.send(t, http.MethodPost, "/api/system/cleanup"+query, body, change...)
	}
	chunked := func(r *http.Request) { r.ContentLength = -1; r.Body = io.NopCloser(io.MultiReader(r.Body)) }
	for _, body := range []string{`{"dry_run": true}`, `{}`, `null`, `dry_run=true`, ` `, `{"half`, strings.Repeat("x", maxBodyBytes)} {
		for _, change := range []func(*http.Request){
			func(*http.Request) {}, chunked, header("Content-Type", "application/x-www-form-urlencoded"), header("Content-Encoding", "gzip"),
			func(r *http.Request) { r.Header.Del("Content-Type") },
		} {
			got := post("", body, change).want(t, 422)
			require.JSONEq(t, `{"detail":[{"loc":["body"],"msg":"this operation takes no body; parameters go into the query","type":"unexpected"}]}`, string(got.body))
		}
	}
	got := post("?limit=1", `{}`).want(t, 422)
	require.Contains(t, string(got.body), `"limit"`, "everything that is wrong is told at once")
	require.Contains(t, string(got.body), `"body"`)
	large := strings.Repeat("x", maxBodyBytes+1)
	post("", large).want(t, 413)
	post("", large, chunked).want(t, 413)
	const chunks = "POST /api/system/cleanup HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n"
	raw(t, s.addr, chunks+"\r\n5\r\nhe", asked(t, "POST", "/api/system/cleanup"))[0].want(t, 422)
	require.Zero(t, runs, "nothing was deleted")

	post("", "").want(t, 200)
	post("", "", header("Content-Type", "application/json")).want(t, 200)
	post("", "", chunked).want(t, 200)
	raw(t, s.addr, chunks+"\r\n0\r\n\r\n", asked(t, "POST", "/api/system/cleanup"))[0].want(t, 200)
	raw(t, s.addr, chunks+"Content-Type: application/json\r\n\r\n0\r\n\r\n", asked(t, "POST", "/api/system/cleanup"))[0].want(t, 200)
	require.Equal(t, 5, runs)
}

func TestCleanup_GoesOnWhenTheClientLeaves(t *testing.T) {
	t.Parallel()
	f := newFakes(t)
	type end struct {
		dryRun bool
		err    error
	}
	running, ended := make(chan struct{}), make(chan end)
	f.cleanup = func(ctx context.Context, dryRun bool) (retention.Report, error) {
		running <- struct{}{}
		<-ctx.Done()
		ended <- end{dryRun, ctx.Err()}
		return retention.Report{}, ctx.Err()
	}
	s := start(t, f)
	leave := func(query string) {
		ctx, cancel := context.WithCancel(t.Context())
		request, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url+"/api/system/cleanup"+query, http.NoBody)
		require.NoError(t, err)
		gone := make(chan struct{})
		go func() {
			defer close(gone)
			response, err := s.Do(request)
			if err == nil {
				_ = response.Body.Close()
			}
		}()
		<-running
		cancel()
		<-gone
	}
	leave("")
	for range 10 { // whose clients leave later
		leave("?dry_run=true")
		require.Equal(t, end{true, context.Canceled}, <-ended, "the cleanup ended with its client")
	}
	s.server.Close()
	require.Equal(t, end{false, context.Canceled}, <-ended)
}

// TestDeadline: no request waits longer than its deadline, also when what it waits for ignores its context.
func TestDeadline(t *testing.T) {
	t.Parallel()
	f := newFakes(t)
	release := make(chan struct{})
	left := make(chan struct{}, 16)
	stuck := func() { <-release; left <- struct{}{} }
	f.counts = func(context.Context) (store.Counts, error) { stuck(); return store.Counts{}, nil }
	f.config = func(ctx context.Context) (store.SystemConfig, error) {
		<-ctx.Done()
		return store.SystemConfig{}, ctx.Err()
	}
	s := start(t, f, func(o *Options) { o.RequestTimeout = 50 * time.Millisecond })
	for _, target := range []string{"/api/system/stats", "/api/system/storage", "/api/system/config"} {
		got := s.get(t, target).want(t, 503)
		require.JSONEq(t, `{"detail":"No answer in time"}`, string(got.body))
	}
	close(release)
	<-left
	<-left
	require.Contains(t, f.log.String(), `"level":"WARN"`)
}
