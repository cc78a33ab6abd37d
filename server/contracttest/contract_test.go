package contracttest

import (
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// reply is what a server under test sends.
type reply struct {
	method, path string
	status       int
	header       map[string]string
	body         string
}

func (r reply) with(name, value string) reply {
	r.header = maps.Clone(r.header)
	r.header[name] = value
	return r
}

func (r reply) without(name string) reply {
	r.header = maps.Clone(r.header)
	delete(r.header, name)
	return r
}

func good(method, path string, status int, body string) reply {
	return reply{method, path, status, map[string]string{
		"X-Request-Id": "a", "X-Content-Type-Options": "nosniff", "Cache-Control": "no-store", "Content-Type": "application/json",
	}, body}
}

// picture is a file in place of JSON.
func picture(status int) reply {
	return good("GET", "/api/detections/7/image", status, "\xff\xd8\xff\xd9").
		with("Content-Type", "image/jpeg").
		with("Etag", `"abc"`).with("Cache-Control", "private, no-cache")
}

// send lets a server send the reply to a client of this package.
func send(t *testing.T, r reply) error {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		for name, value := range r.header {
			w.Header().Set(name, value)
		}
		w.WriteHeader(r.status)
		_, _ = io.WriteString(w, r.body)
	}))
	defer server.Close()
	client := Client(t, server.URL)
	defer client.CloseIdleConnections()
	request, err := http.NewRequestWithContext(t.Context(), r.method, r.path, http.NoBody)
	require.NoError(t, err)
	response, err := client.Do(request)
	if err == nil {
		body, readErr := io.ReadAll(response.Body)
		require.NoError(t, readErr)
		if r.method != http.MethodHead {
			require.Equal(t, r.body, string(body), "the test still gets the body")
		}
		require.NoError(t, response.Body.Close())
	}
	return err
}

// example is an example of the contract for the 200 answer of a GET.
func example(t *testing.T, path string) string {
	t.Helper()
	c, err := load()
	require.NoError(t, err)
	examples := c.doc.Paths.Value(path).Get.Responses.Status(200).Value.Content.Get("application/json").Examples
	for _, name := range slices.Sorted(maps.Keys(examples)) {
		text, err := json.Marshal(examples[name].Value.Value)
		require.NoError(t, err)
		return string(text)
	}
	require.Fail(t, "no example", path)
	return ""
}

// changed is a JSON object with another value.
func changed(t *testing.T, object, name string, value any) string {
	t.Helper()
	var all map[string]any
	require.NoError(t, json.Unmarshal([]byte(object), &all))
	require.Contains(t, all, name)
	all[name] = value
	text, err := json.Marshal(all)
	require.NoError(t, err)
	return string(text)
}

func TestTransport_LetsThroughWhatTheContractSays(t *testing.T) {
	t.Parallel()
	const service = `"mail":{"status":"healthy","message":null,"details":{"any":"name"}}`
	for name, r := range map[string]reply{
		"liveness":           good("GET", "/health", 200, `{"status":"alive"}`),
		"trailing white":     good("GET", "/health", 200, "{\"status\":\"alive\"}\n"),
		"charset":            good("GET", "/health", 200, `{"status":"alive"}`).with("Content-Type", "application/json; charset=utf-8"),
		"stats":              good("GET", "/api/system/stats?x=1", 200, example(t, "/api/system/stats")),
		"documented error":   good("GET", "/api/system/stats", 503, `{"detail":"x"}`).with("Retry-After", "5"),
		"list of errors":     good("GET", "/api/system/stats", 422, `{"detail":[{"loc":["query","x"],"msg":"m","type":"t"}]}`),
		"HEAD":               good("HEAD", "/api/system/stats", 200, ``),
		"unknown path":       good("GET", "/api/nothing", 404, `{"detail":"Not Found"}`),
		"HEAD, unknown path": good("HEAD", "/api/nothing", 404, ``),
		"wrong method":       good("PUT", "/health", 405, `{"detail":"x"}`).with("Allow", "GET"),
		"page":               good("GET", "/docs", 200, `<html>`).with("Content-Type", "text/html").without("Cache-Control"),
		"one more service":   good("GET", "/api/system/health", 200, strings.Replace(example(t, "/api/system/health"), `"redis":{`, service+`,"redis":{`, 1)),
		"picture":            picture(200),
		"picture, to be kept": picture(200).
			with("Cache-Control", "private, max-age=31536000, immutable"),
		"part of a picture": picture(206).with("Content-Range", "bytes 0-1/9"),
		"percent-encoded":   good("GET", "/%68ealth", 200, `{"status":"alive"}`),
	} {
		require.NoError(t, send(t, r), name)
	}
}

func TestTransport_CatchesWhatBreaksTheContract(t *testing.T) {
	t.Parallel()
	stats := example(t, "/api/system/stats")
	telemetry, history, health := example(t, "/api/system/telemetry"), example(t, "/api/system/gpu/history"), example(t, "/api/system/health")
	statsWith := func(name string, value any) string { return changed(t, stats, name, value) }
	for name, r := range map[string]reply{
		"undocumented status":       good("GET", "/health", 500, `{"detail":"x"}`),
		"undocumented redirect":     good("GET", "/api/system/stats", 307, ``),
		"empty body":                good("GET", "/health", 200, ``),
		"no JSON":                   good("GET", "/health", 200, `alive`),
		"bytes after the value":     good("GET", "/health", 200, `{"status":"alive"}x`),
		"second value":              good("GET", "/health", 200, `{"status":"alive"}{}`),
		"not UTF-8":                 good("GET", "/api/system/stats", 500, "{\"detail\":\"\xff\"}"),
		"wrong type":                good("GET", "/health", 200, `{"status":"alive"}`).with("Content-Type", "text/plain"),
		"no type":                   good("GET", "/health", 200, `{"status":"alive"}`).with("Content-Type", ""),
		"unknown value":             good("GET", "/health", 200, `{"status":"dead"}`),
		"extra key":                 good("GET", "/health", 200, `{"status":"alive","x":1}`),
		"extra key deep inside":     good("GET", "/api/system/telemetry", 200, strings.Replace(telemetry, `"p99_ms"`, `"x":1,"p99_ms"`, 1)),
		"extra key in an item":      good("GET", "/api/system/gpu/history", 200, strings.Replace(history, `"gpu_name"`, `"x":1,"gpu_name"`, 1)),
		"extra key in a map's item": good("GET", "/api/system/health", 200, strings.Replace(health, `"message"`, `"x":1,"message"`, 1)),
		"no item of the map":        good("GET", "/api/system/health", 200, strings.Replace(health, `"redis":{`, `"x":1,"redis":{`, 1)),
		"extra key of an error":     good("GET", "/api/system/stats", 500, `{"detail":"x","x":1}`),
		"extra key of a 422":        good("GET", "/api/system/stats", 422, `{"detail":[{"loc":["query","x"],"msg":"m","type":"t","x":1}]}`),
		"extra key, no operation":   good("GET", "/api/nothing", 404, `{"detail":"x","x":1}`),
		"missing key":               good("GET", "/api/system/stats", 200, `{"total_cameras":0}`),
		"null":                      good("GET", "/api/system/stats", 200, statsWith("uptime_seconds", nil)),
		"out of range":              good("GET", "/api/system/stats", 200, statsWith("uptime_seconds", -0.5)),
		"fraction":                  good("GET", "/api/system/stats", 200, statsWith("total_events", 0.5)),
		"503 without Retry-After":   good("GET", "/api/system/stats", 503, `{"detail":"x"}`),
		"Retry-After out of range":  good("GET", "/api/system/stats", 503, `{"detail":"x"}`).with("Retry-After", "0"),
		"error of another shape":    good("GET", "/api/system/stats", 500, `{"message":"x"}`),
		"422 that is a sentence":    good("GET", "/api/system/stats", 422, `{"detail":"x"}`),
		"health 503 with a detail":  good("GET", "/ready", 503, `{"ready":false,"status":"not_ready","detail":"x"}`),
		"foreign error of a shape":  good("GET", "/api/nothing", 404, `{"message":"Not Found"}`),
		"foreign success":           good("GET", "/api/nothing", 200, `{}`),
		"foreign 500":               good("GET", "/api/nothing", 500, `{"detail":"x"}`),
		"405 without Allow":         good("PUT", "/health", 405, `{"detail":"x"}`),
		"no request id":             good("GET", "/health", 200, `{"status":"alive"}`).without("X-Request-Id"),
		"long request id":           good("GET", "/health", 200, `{"status":"alive"}`).with("X-Request-Id", strings.Repeat("a", 65)),
		"no nosniff":                good("GET", "/health", 200, `{"status":"alive"}`).without("X-Content-Type-Options"),
		"API answer may be kept":    good("GET", "/api/system/stats", 200, stats).without("Cache-Control"),
		"a page for a picture":      picture(200).with("Content-Type", "text/html"),
		"a video for a picture":     picture(200).with("Content-Type", "video/mp4"),
		"JSON for a picture":        picture(200).with("Content-Type", "application/json"),
		"picture without a tag":     picture(200).without("Etag"),
		"picture for everybody":     picture(200).with("Cache-Control", "public, max-age=3600"),
		"picture for all, kept": picture(200).
			with("Cache-Control", "public, max-age=31536000, immutable"),
		"part without its range":    picture(206),
		"304 without a tag":         picture(304).without("Etag"),
		"HEAD, undocumented status": good("HEAD", "/api/system/stats", 418, ``),
	} {
		err := send(t, r)
		require.Error(t, err, name)
		require.Contains(t, err.Error(), "contract broken by", name)
	}
	c, err := load()
	require.NoError(t, err)
	require.Error(t, checkEmpty([]byte("x")))
	require.NotEmpty(t, c.promised())
}

// TestFind: the contract's own way from a request to its operation.
func TestFind(t *testing.T) {
	t.Parallel()
	c := newContract(WithThings(t))
	for asked, want := range map[string]string{
		"GET /api/system/stats":                     "getStats",
		"HEAD /api/system/%73tats":                  "getStats",
		"POST /api/system/stats":                    "",
		"GET /api/system/stats/":                    "",
		"GET /api/system%2fstats":                   "",
		"GET /test/things/1":                        "getThing",
		"GET /test/things/anything":                 "getThing",
		"PATCH /test/things/1":                      "updateThing",
		"GET /test/things/newest":                   "getNewestThing",
		"PATCH /test/things/newest":                 "",
		"GET /test/things/1%2F2":                    "getThing",
		"GET /test/things/":                         "",
		"GET /test/things/1/2":                      "",
		"GET /test/things/1/":                       "",
		"GET /test/rooms/a/things/high?q=x":         "listThingsOfRoom",
		"GET /test/rooms/a%2Fb/things/%2E%2E?q=x/y": "listThingsOfRoom",
		"GET /test/rooms//things/high":              "",
		"GET /test/rooms/a/b/things/high":           "",
		"GET /test/files/..":                        "getFile",
	} {
		method, target, _ := strings.Cut(asked, " ")
		request, err := http.NewRequestWithContext(t.Context(), method, "http://localhost"+target, http.NoBody)
		require.NoError(t, err)
		found := ""
		if route := c.find(request); route != nil {
			found = route.Operation.OperationID
		}
		require.Equal(t, want, found, asked)
	}
}

func TestGate(t *testing.T) {
	t.Parallel()
	c, err := load()
	require.NoError(t, err)
	promised := c.promised()
	require.Contains(t, promised, point{"runCleanup", 409})
	require.Contains(t, promised, point{"getHealth", 503})

	mine := &coverage{seen: map[point]int{}}
	require.Len(t, mine.missing(promised), len(promised))
	for _, p := range promised {
		if p != (point{"runCleanup", 409}) {
			mine.add(p)
		}
	}
	require.Equal(t, []string{"runCleanup 409"}, mine.missing(promised))

	var out strings.Builder
	require.Equal(t, 1, gate(&out), "the tests of this package see only a few")
	require.Contains(t, out.String(), "runCleanup 409")
}

// A broken answer does not count as seen.
func TestTransport_CountsOnlyWhatIsRight(t *testing.T) {
	t.Parallel()
	require.Error(t, send(t, good("GET", "/api/system/storage", 200, `{}`)))
	seen.mu.Lock()
	defer seen.mu.Unlock()
	require.Zero(t, seen.seen[point{"getStorage", 200}])
}
