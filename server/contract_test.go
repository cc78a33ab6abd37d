package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/labstack/echo/v4"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"hsi.home.arpa/gen"
	"hsi.home.arpa/gpu"
	"hsi.home.arpa/pipeline/redis"
	"hsi.home.arpa/server/health"
	"hsi.home.arpa/store"
	"hsi.home.arpa/store/retention"
)

// TestExamples: with the figures of the contract's examples behind it, and at their time, the
// server answers exactly what the contract shows.
func TestExamples(t *testing.T) {
	t.Parallel()
	shown := operationsByID(t)
	eachOperation(t, func(t *testing.T, id string) {
		t.Helper()
		var answers []string
		answer := shown[id].Responses.Status(successOf(t, id)).Value.Content.Get("application/json")
		if answer == nil {
			return // a file
		}
		for _, example := range answer.Examples {
			want := plainJSON(t, example.Value.Value)
			now := at(t, "2025-12-23T10:30:00Z")
			if stamp, ok := want["timestamp"].(string); ok {
				now = at(t, stamp)
			}
			clock := now.Add(-86_400_500 * time.Millisecond) // when the server of the example started
			s := start(t, newFakes(t), func(o *Options) {
				if !longRunning[id] { // it sets deadlines of the connection
					o.Now = func() time.Time { return clock }
				}
			})
			clock = now
			got := s.ask(t, id).want(t, successOf(t, id)).body
			answer := decoded(t, got)
			if services, ok := answer["services"].(map[string]any); ok {
				require.Contains(t, services, "storage")
				delete(services, "storage") // one more service than the examples show
			}
			if assert.ObjectsAreEqual(want, answer) {
				return
			}
			answers = append(answers, string(got))
		}
		require.Fail(t, "none of the examples", "%s", answers)
	})
}

// plainJSON is an object of the contract as a JSON reader sees it.
func plainJSON(tb testing.TB, value any) map[string]any {
	tb.Helper()
	encoded, err := json.Marshal(value)
	require.NoError(tb, err)
	return decoded(tb, encoded)
}

// operationsByID are the operations of the contract.
func operationsByID(tb testing.TB) map[string]*openapi3.Operation {
	tb.Helper()
	doc, err := spec()
	require.NoError(tb, err)
	found := map[string]*openapi3.Operation{}
	for _, item := range doc.Paths.Map() {
		for _, operation := range item.Operations() {
			found[operation.OperationID] = operation
		}
	}
	return found
}

func decoded(tb testing.TB, body []byte) map[string]any {
	tb.Helper()
	var value map[string]any
	require.NoError(tb, json.Unmarshal(body, &value))
	return value
}

// validRequest is how to ask for an operation so that it succeeds. target is the contract's path
// with values for its parameters, query what must be behind it.
type validRequest struct{ path, method, target, query, body string }

// operationRequest makes a valid request for each operation, from the examples of the contract: of
// the body the first by name, of the parameters only those that must be there.
var operationRequest = sync.OnceValue(func() map[string]validRequest {
	doc, err := spec()
	if err != nil {
		panic(err) // no test can run
	}
	requests := map[string]validRequest{}
	for path, item := range doc.Paths.Map() {
		for method, operation := range item.Operations() {
			request := validRequest{path: path, method: method, target: path}
			query := url.Values{}
			for _, parameter := range slices.Concat(item.Parameters, operation.Parameters) {
				name, value := parameter.Value.Name, fmt.Sprint(firstExample(parameter.Value.Example, parameter.Value.Examples))
				switch {
				case parameter.Value.In == openapi3.ParameterInPath:
					request.target = strings.ReplaceAll(request.target, "{"+name+"}", url.PathEscape(value))
				case parameter.Value.Required:
					query.Set(name, value)
				}
			}
			if len(query) > 0 {
				request.query = "?" + query.Encode()
			}
			if operation.RequestBody != nil {
				media := operation.RequestBody.Value.Content.Get("application/json")
				body, err := json.Marshal(firstExample(media.Example, media.Examples))
				if err != nil {
					panic(err) // it was read from JSON
				}
				request.body = string(body)
			}
			requests[operation.OperationID] = request
		}
	}
	return requests
})

// firstExample is the one example, or of several the first by name.
func firstExample(only any, several openapi3.Examples) any {
	for _, name := range slices.Sorted(maps.Keys(several)) {
		return several[name].Value.Value
	}
	return only
}

// eachOperation runs a subtest for every operation of the contract, also for one that is added
// tomorrow.
func eachOperation(t *testing.T, test func(t *testing.T, id string)) {
	t.Helper()
	for id := range operationRequest() {
		t.Run(id, func(t *testing.T) {
			t.Parallel()
			test(t, id)
		})
	}
}

// ask sends the valid request of an operation.
func (s *testServer) ask(tb testing.TB, id string, change ...func(*http.Request)) answer {
	tb.Helper()
	request, known := operationRequest()[id]
	require.True(tb, known, id)
	return s.send(tb, request.method, request.target+request.query, request.body, change...)
}

// successOf is the status of a request of this operation that succeeds.
func successOf(tb testing.TB, id string) int {
	tb.Helper()
	for _, status := range []int{http.StatusOK, http.StatusCreated} {
		if operationsByID(tb)[id].Responses.Status(status) != nil {
			return status
		}
	}
	require.Fail(tb, "no success", id)
	return 0
}

func isProbeID(id string) bool { return isProbe(operationRequest()[id].path) }

// TestOperations_AreThoseOfTheContract: what the edge does for single operations is keyed by their
// ids. A key that is none would silently do nothing.
func TestOperations_AreThoseOfTheContract(t *testing.T) {
	t.Parallel()
	for _, ids := range []iter.Seq[string]{maps.Keys(inMemory), maps.Keys(longRunning), maps.Keys(timeouts), maps.Keys(streaming)} {
		for id := range ids {
			require.Contains(t, operationRequest(), id)
		}
	}
}

// TestInternalErrors: a panic, an unknown error and a missing answer are a 500 that says nothing,
// and the log says it once.
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
			for id := range operationRequest() {
				if isProbeID(id) {
					continue
				}
				got := s.ask(t, id, header("X-Request-ID", id)).want(t, http.StatusInternalServerError)
				require.JSONEq(t, `{"detail":"Internal Server Error"}`, string(got.body))
				s.get(t, "/health").want(t, http.StatusOK) // and the server lives
			}
			for id := range operationRequest() {
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
	// What waits for the database says so by documenting a 503; only this one means Redis.
	database := map[string]bool{}
	for id, operation := range operationsByID(t) {
		database[id] = !isProbeID(id) && operation.Responses.Status(http.StatusServiceUnavailable) != nil
	}
	database["getPipelineLatency"] = false
	// Without keys there are no sessions; TestSessions_NeedTheDatabase has the others.
	database["createSession"], database["deleteSession"] = false, false
	for name, test := range map[string]struct {
		fail   func(*fakes)
		detail string
		needs  map[string]bool
	}{
		"database": {(*fakes).loseDatabase, "Database unavailable", database},
		"redis":    {(*fakes).loseRedis, "Redis unavailable", map[string]bool{"getTelemetry": true, "getPipelineLatency": true}},
		"media": {(*fakes).loseMedia, "Media storage unavailable", map[string]bool{
			"getStorage": true, "runCleanup": true,
			"getCameraSnapshot": true, "getDetectionImage": true, "getDetectionOriginal": true, "getEventImage": true,
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFakes(t)
			test.fail(f)
			s := start(t, f)
			for id := range operationRequest() {
				got := s.ask(t, id)
				if !test.needs[id] {
					got.want(t, successOf(t, id))
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

// TestHealthAnswers: the status follows the verdict, the body is the same, and no 503 of them has a
// detail key.
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

// TestCleanup_GoesOnWhenTheClientLeaves, but not when the server stops; a dry run ends with its
// client. TestCleanup_RefusesABody: a wish that is sent in the body would not be heard, and a run
// deletes for good.
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

// TestDeadline: no request waits longer than its deadline, also when what it waits for ignores its
// context.
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
