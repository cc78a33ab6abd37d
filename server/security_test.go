package server

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/fstest"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/labstack/echo/v4"
	"github.com/stretchr/testify/require"

	"hsi.home.arpa/store"
	"hsi.home.arpa/store/retention"
)

// One test per item of the OWASP API Security Top 10 (2023), as far as it applies to a server
// without user accounts. SECURITY.md maps items to tests, and TestSecurityDocument holds it to
// that.

// writes counts what changes something behind the server.
func writes(f *fakes) *atomic.Int64 {
	var count atomic.Int64
	update, cleanup, requeue := f.update, f.cleanup, f.requeue
	f.update = func(ctx context.Context, u store.SystemConfigUpdate, by store.Actor) (store.SystemConfig, error) {
		count.Add(1)
		return update(ctx, u, by)
	}
	f.cleanup = func(ctx context.Context, dryRun bool) (retention.Report, error) {
		count.Add(1)
		return cleanup(ctx, dryRun)
	}
	f.requeue = func(ctx context.Context, s store.DeadLetterSelection, by store.Actor) (int64, error) {
		count.Add(1)
		return requeue(ctx, s, by)
	}
	return &count
}

// operationsOf lists the contract's operations.
func operationsOf(tb testing.TB) map[string]*openapi3.Operation {
	tb.Helper()
	doc, err := spec()
	require.NoError(tb, err)
	found := map[string]*openapi3.Operation{}
	for path, item := range doc.Paths.Map() {
		for method, operation := range item.Operations() {
			found[method+" "+path] = operation
		}
	}
	return found
}

// showsObjects are the reads that name single objects, each with the reason why whoever may ask it
// may see all of them.
var showsObjects = map[string]string{}

// API1. There are no accounts, so no object belongs to one client and not to another. What names
// single objects is a write, and every write needs a key; a read that does has its reason in
// showsObjects.
func TestOWASP_API1_BrokenObjectLevelAuthorization(t *testing.T) {
	t.Parallel()
	for name, operation := range operationsOf(t) {
		namesObject := strings.Contains(name, "{")
		for _, parameter := range operation.Parameters {
			namesObject = namesObject || strings.HasSuffix(parameter.Value.Name, "_id") && parameter.Value.Name != "after_id"
		}
		if namesObject && operation.Security == nil {
			require.NotEmpty(t, showsObjects[operation.OperationID], "%s: decide who may see the objects that it names", name)
		}
		if operation.RequestBody != nil {
			require.NotNil(t, operation.Security, "%s takes objects or values without a key", name)
		}
	}
	f := newFakes(t)
	count := writes(f)
	s := start(t, f, withKeys)
	s.send(t, http.MethodPost, "/api/system/dead-letters/requeue", `{"ids":[1,2,3]}`).want(t, http.StatusUnauthorized)
	require.Zero(t, count.Load())
}

// API2. Only the right key, whole, once, and in its header is a key.
func TestOWASP_API2_BrokenAuthentication(t *testing.T) {
	t.Parallel()
	f := newFakes(t)
	count := writes(f)
	s := start(t, f, withKeys)
	basic := "Basic " + base64.StdEncoding.EncodeToString([]byte("admin:"+testKey))
	for name, change := range map[string]func(*http.Request){
		"none":          func(*http.Request) {},
		"empty":         header("X-API-Key", ""),
		"wrong":         header("X-API-Key", "correct-horse-battery-stapler"),
		"beginning":     header("X-API-Key", testKey[:len(testKey)-1]),
		"other case":    header("X-API-Key", strings.ToUpper(testKey)),
		"space":         header("X-API-Key", testKey+" x"),
		"list":          header("X-API-Key", "another-key,"+testKey),
		"twice":         func(r *http.Request) { r.Header["X-Api-Key"] = []string{testKey, testKey} },
		"wrong, right":  func(r *http.Request) { r.Header["X-Api-Key"] = []string{"wrong", testKey} },
		"bearer":        header("Authorization", "Bearer "+testKey),
		"basic":         header("Authorization", basic),
		"cookie":        header("Cookie", "X-API-Key="+testKey+"; api_key="+testKey),
		"query":         func(r *http.Request) { r.URL.RawQuery = "api_key=" + testKey },
		"other header":  header("X-Api_Key", testKey),
		"forwarded":     header("X-Forwarded-For", "127.0.0.1"),
		"original user": header("X-Forwarded-User", "admin"),
	} {
		for _, id := range []string{"updateSystemConfig", "runCleanup", "requeueDeadLetters"} {
			got := s.ask(t, id, change).want(t, http.StatusUnauthorized)
			require.NotEmpty(t, got.Header.Get("WWW-Authenticate"), name)
		}
	}
	require.Zero(t, count.Load(), "a refused request changes nothing")
	s.ask(t, "updateSystemConfig", header("X-API-Key", testKey)).want(t, http.StatusOK)
	require.EqualValues(t, 1, count.Load())
	log := s.log.String()
	require.NotContains(t, log, testKey)
	require.NotContains(t, log, basic)

	_, err := New(func() Options { o := newFakes(t).options(); o.APIKeyEnabled = true; return o }())
	require.ErrorContains(t, err, "there is no key", "keys that are switched on without one would lock nobody out, or everybody")
}

// API3. Only what the contract lists as writable can be written, whatever else a body brings; and
// answers show what it lists.
func TestOWASP_API3_BrokenObjectPropertyLevelAuthorization(t *testing.T) {
	t.Parallel()
	f := newFakes(t)
	count := writes(f)
	s := start(t, f)
	for _, property := range []string{
		`"app_name":"x"`, `"version":"9"`, `"api_keys":["mine"]`, `"api_key_enabled":false`, `"database_url":"postgres://x"`, `"id":2`,
		`"Retention_Days":7`, `"RETENTION_DAYS":7`, `"retention_days ":7`, `"__proto__":{"retention_days":7}`, `"retention_days":{"$ne":1}`,
		`"retention_days":7,"retention_days":365`, `"retention_days":7,"retentıon_days":365`,
	} {
		s.send(t, http.MethodPatch, "/api/system/config", "{"+property+"}").want(t, http.StatusUnprocessableEntity)
		s.send(t, http.MethodPatch, "/api/system/config", `{"batch_window_seconds":60,`+property+`}`).want(t, http.StatusUnprocessableEntity)
	}
	require.Zero(t, count.Load(), "nothing of a refused body is stored")
	doc, err := spec()
	require.NoError(t, err)
	for name, schema := range doc.Components.Schemas { // the tests refuse an answer with a property that is in none
		for property := range schema.Value.Properties {
			for _, private := range []string{"password", "secret", "api_key", "_url", "token", "dsn"} {
				if property == "thumbnail_url" { // a path of ours
					continue
				}
				require.NotContains(t, property, private, name)
			}
		}
	}
}

// API5. Every operation that changes something needs the key, and so does what shows what the
// cameras saw; the others change nothing, however they are asked.
func TestOWASP_API5_BrokenFunctionLevelAuthorization(t *testing.T) {
	t.Parallel()
	f := newFakes(t)
	count := writes(f)
	s := start(t, f, withKeys)
	for name, operation := range operationsOf(t) {
		method, path, _ := strings.Cut(name, " ")
		needsKey := operation.Security != nil && len(*operation.Security) > 0
		require.Equal(t, method != http.MethodGet || isPrivate(path), needsKey, "%s: a key exactly for what is private or no GET", name)
	}
	for id, request := range operationRequest() {
		if request.method != http.MethodGet || isPrivate(request.path) {
			s.ask(t, id).want(t, http.StatusUnauthorized)
			continue
		}
		s.ask(t, id).want(t, http.StatusOK)
		for _, name := range []string{"X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"} {
			s.ask(t, id, header(name, http.MethodPatch)).want(t, http.StatusOK)
		}
		s.send(t, http.MethodHead, request.target+request.query, "").want(t, http.StatusOK)
	}
	for _, path := range []string{"/api/system/config", "/api/system/cleanup", "/api/system/dead-letters/requeue"} {
		for _, method := range []string{http.MethodPut, http.MethodDelete, http.MethodOptions, http.MethodTrace} {
			s.send(t, method, path, "").want(t, http.StatusMethodNotAllowed)
		}
		s.send(t, http.MethodPatch, strings.ToUpper(path), `{"retention_days":1}`).want(t, http.StatusNotFound)
		s.send(t, http.MethodPatch, path+"/", `{"retention_days":1}`).want(t, http.StatusNotFound)
	}
	require.Zero(t, count.Load())
}

// API6. The one flow that could be turned against the owner is the deletion of data: it needs the
// key, it cannot be started from another web page, and a preview that was asked for in a wrong way
// is not taken for the real thing.
func TestOWASP_API6_UnrestrictedAccessToSensitiveBusinessFlows(t *testing.T) {
	t.Parallel()
	f := newFakes(t)
	count := writes(f)
	s := start(t, f, withKeys)
	key := header("X-API-Key", testKey)
	s.ask(t, "runCleanup").want(t, http.StatusUnauthorized)
	s.ask(t, "runCleanup", key, header("Origin", "https://evil.example.com")).want(t, http.StatusForbidden)
	s.ask(t, "runCleanup", key, header("Sec-Fetch-Site", "cross-site")).want(t, http.StatusForbidden)
	s.ask(t, "runCleanup", key, host("rebound.example.com")).want(t, http.StatusMisdirectedRequest)
	for _, query := range []string{"?dry_run=yes", "?dry_run=True", "?dryRun=true", "?dry_run=true&dry_run=false", "?dry_run"} {
		s.send(t, http.MethodPost, "/api/system/cleanup"+query, "", key).want(t, http.StatusUnprocessableEntity)
	}
	s.send(t, http.MethodPost, "/api/system/cleanup", `{"dry_run":true}`, key).want(t, http.StatusUnprocessableEntity)
	require.Zero(t, count.Load())
	f.cleanup = func(context.Context, bool) (retention.Report, error) { return retention.Report{}, retention.ErrRunning }
	s.ask(t, "runCleanup", key).want(t, http.StatusConflict)
}

// API7. Nothing that a client sends is an address that the server would go to. The settings name
// the AI services, and TestSecurity_AIServicesCannotSendUsElsewhere shows that these cannot lead it
// further.
func TestOWASP_API7_ServerSideRequestForgery(t *testing.T) {
	t.Parallel()
	var check func(where string, schema *openapi3.SchemaRef)
	check = func(where string, schema *openapi3.SchemaRef) {
		if schema == nil || schema.Value == nil {
			return
		}
		value := schema.Value
		require.NotContains(t, []string{"uri", "url", "uri-reference", "hostname", "ipv4", "ipv6"}, value.Format, where)
		for name, property := range value.Properties {
			if name == "folder_path" { // a name directly below the camera root: TestMakeFolder
				continue
			}
			for _, address := range []string{"url", "uri", "host", "callback", "webhook", "path"} {
				require.NotContains(t, strings.ToLower(name), address, "%s: a client must not say where to go", where)
			}
			check(where+"."+name, property)
		}
		check(where+"[]", value.Items)
	}
	for name, operation := range operationsOf(t) {
		for _, parameter := range operation.Parameters {
			check(name+" "+parameter.Value.Name, parameter.Value.Schema)
		}
		if operation.RequestBody != nil {
			for _, content := range operation.RequestBody.Value.Content {
				check(name, content.Schema)
			}
		}
	}
	// As a forward proxy it refuses, and it asks no Host for a decision where to go.
	s := start(t, newFakes(t))
	got := raw(t, s.addr, "GET http://169.254.169.254/latest/meta-data/ HTTP/1.1\r\nHost: 169.254.169.254\r\nConnection: close\r\n\r\n", asked(t, "GET", "/x"))
	require.Equal(t, http.StatusNotFound, got[0].StatusCode)
	got = raw(t, s.addr, "GET http://metadata.example.com/ HTTP/1.1\r\nHost: metadata.example.com\r\nConnection: close\r\n\r\n", asked(t, "GET", "/"))
	require.Equal(t, http.StatusMisdirectedRequest, got[0].StatusCode)
}

// API8. The defaults are closed, answers tell nothing of the inside, and pages can be made to do
// nothing else.
func TestOWASP_API8_SecurityMisconfiguration(t *testing.T) {
	t.Parallel()
	const inside = "pq: password authentication failed for user hsi at 10.1.2.3"
	f := newFakes(t)
	f.counts = func(context.Context) (store.Counts, error) { return store.Counts{}, errors.New(inside) }
	f.config = func(context.Context) (store.SystemConfig, error) {
		return store.SystemConfig{}, fmt.Errorf("%w: %s", store.ErrUnavailable, inside)
	}
	f.depths = func(context.Context) (store.QueueDepths, error) { panic(inside) }
	s := start(t, f, func(o *Options) { o.Dashboard = fstest.MapFS{"index.html": {Data: []byte("<html></html>")}} })
	for target, status := range map[string]int{
		"/api/system/stats": 500, "/api/system/config": 503, "/api/system/telemetry": 500, "/nowhere": 404, "/api/system/gpu": 200, "/": 200, "/docs": 200,
	} {
		got := s.get(t, target, header("Origin", "https://evil.example.com")).want(t, status)
		require.NotContains(t, string(got.body), "password")
		require.NotContains(t, string(got.body), "10.1.2.3")
		require.NotContains(t, string(got.body), ".go:")
		require.Equal(t, "nosniff", got.Header.Get("X-Content-Type-Options"), target)
		require.NotEmpty(t, got.Header.Get("Cache-Control"), target)
		require.Empty(t, got.Header.Get("Server"), target)
		require.Empty(t, got.Header.Get("X-Powered-By"), target)
		for name := range got.Header {
			require.False(t, strings.HasPrefix(name, "Access-Control-"), "%s: %s without CORS_ORIGINS", target, name)
		}
		if strings.HasPrefix(got.Header.Get("Content-Type"), "text/html") {
			policy := got.Header.Get("Content-Security-Policy")
			require.Contains(t, policy, "default-src 'none'", target)
			require.Contains(t, policy, "frame-ancestors 'none'", target)
			require.NotContains(t, policy, "unsafe", target)
		}
	}
	// A page whose name was made to lead here afterwards (DNS rebinding) is refused; so is a write
	// from another site.
	s.get(t, "/api/system/severity", host("rebound.example.com")).want(t, http.StatusMisdirectedRequest)
	s.ask(t, "updateSystemConfig", header("Origin", "https://evil.example.com")).want(t, http.StatusForbidden)
	s.ask(t, "updateSystemConfig", header("Origin", "null")).want(t, http.StatusForbidden)
	// What other clients do to a GET's meaning does not matter either: TRACE is off, and the log
	// keeps no query.
	s.send(t, http.MethodTrace, "/api/system/config", "").want(t, http.StatusMethodNotAllowed)
}

// API9. What is served is what the contract says, and nothing that was forgotten: no old version,
// no debugging, no files.
func TestOWASP_API9_ImproperInventoryManagement(t *testing.T) {
	t.Parallel()
	s := start(t, newFakes(t))
	doc, err := spec()
	require.NoError(t, err)
	pages := []string{
		"/", "/openapi.json", "/openapi.yaml", "/docs", "/docs/init.js", "/docs/swagger-ui-bundle.js", "/docs/swagger-ui.css", "/docs/favicon-32x32.png",
		"/ws/events", "/ws/system",
	} // the contract tells of the upgrades in words
	routed := regexp.MustCompile(`:([a-z_]+)`)
	for _, route := range s.server.echo.Routes() {
		if route.Method == echo.RouteNotFound { // behind a parameter
			continue
		}
		if item := doc.Paths.Value(routed.ReplaceAllString(route.Path, "{$1}")); item != nil && item.GetOperation(route.Method) != nil {
			continue
		}
		require.Equal(t, http.MethodGet, route.Method, route.Path)
		require.Contains(t, pages, route.Path, "neither in the contract nor a page")
	}
	for _, forgotten := range []string{
		"/debug/pprof/", "/debug/vars", "/metrics", "/api/metrics", "/api/v1/system/config", "/api/system/health/live", "/api/keys", "/api", "/api/system",
		"/.env", "/.git/config", "/data/", "/docs/..%2f..%2fgo.mod", "/etc/passwd", "/server-status", "/graphql", "/admin", "/redoc", "/swagger",
	} {
		s.get(t, forgotten).want(t, http.StatusNotFound)
	}
	served := s.get(t, "/openapi.yaml").want(t, http.StatusOK)
	written, err := os.ReadFile("../openapi.yaml")
	require.NoError(t, err)
	require.Equal(t, string(written), string(served.body), "the contract that is served is the one that is kept")
	require.NotEmpty(t, doc.Info.Version)
	for name, operation := range operationsOf(t) {
		require.False(t, operation.Deprecated, "%s is deprecated: say until when", name)
	}
}

// SECURITY.md says which test stands for which item; each test that it names exists, and no item is
// left out.
func TestSecurityDocument(t *testing.T) {
	t.Parallel()
	document, err := os.ReadFile("../SECURITY.md")
	require.NoError(t, err)
	for item := 1; item <= 10; item++ {
		require.Contains(t, string(document), fmt.Sprintf("| API%d:2023 ", item))
	}
	known := map[string]bool{}
	for _, dir := range []string{".", "../cmd/hsi", "../tools/packaging", "../pipeline/aicall", "../pipeline/picture", "pictures", "../store/media"} {
		entries, err := os.ReadDir(dir)
		require.NoError(t, err)
		for _, entry := range entries {
			if !strings.HasSuffix(entry.Name(), "_test.go") {
				continue
			}
			content, err := os.ReadFile(dir + "/" + entry.Name())
			require.NoError(t, err)
			for line := range strings.Lines(string(content)) {
				if rest, found := strings.CutPrefix(line, "func Test"); found {
					name, _, _ := strings.Cut(rest, "(")
					known["Test"+name] = true
				}
			}
		}
	}
	named := slices.Collect(func(yield func(string) bool) {
		for word := range strings.SplitSeq(string(document), "`") {
			if strings.HasPrefix(word, "Test") && !yield(word) {
				return
			}
		}
	})
	require.GreaterOrEqual(t, len(named), 10)
	for _, name := range named {
		require.True(t, known[name], "SECURITY.md names %s, and there is no such test", name)
	}
}

// drain reads what is left of a connection.
func drain(r io.Reader) string {
	rest, _ := io.ReadAll(r) // the server hangs up
	return string(rest)
}
