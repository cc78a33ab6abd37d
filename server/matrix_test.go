package server

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"hsi.home.arpa/gen"
	"hsi.home.arpa/internal/await"
	"hsi.home.arpa/server/contracttest"
)

const testKey = "correct-horse-battery-staple"

func withKeys(o *Options) {
	o.APIKeyEnabled = true
	o.APIKeys = []string{"another-key", testKey}
	o.triesPerMinute = 1_000_000 // all tests are one client
}

// TestMatrix goes through what can be wrong with a request, for every operation.
func TestMatrix(t *testing.T) {
	t.Parallel()
	open, locked := start(t, newFakes(t)), start(t, newFakes(t), withKeys)
	eachOperation(t, func(t *testing.T, id string) {
		t.Helper()
		request := operationRequest()[id]
		writes := request.method != http.MethodGet
		fine := successOf(t, id)
		open.ask(t, id).want(t, fine)

		// HEAD answers like GET.
		if !writes {
			got := open.send(t, http.MethodHead, request.target+request.query, "").want(t, 200)
			content := operationsByID(t)[id].Responses.Status(fine).Value.Content
			require.NotNil(t, content.Get(got.Header.Get("Content-Type")))
		}

		// Unknown, repeated and unreadable parameters.
		for _, query := range []string{"?unknown=1", "?a=1&a=2", "?%zz", "?a;b", "?%ff=1", "?" + strings.Repeat("x", 300) + "=1"} {
			status := 422
			if isProbeID(id) {
				status = 200
			}
			got := open.send(t, request.method, request.target+query, request.body).want(t, status)
			require.Less(t, len(got.body), 2000)
		}

		// Wrong method.
		for _, method := range []string{"DELETE", "PUT", "OPTIONS", "TRACE", "PROPFIND", "GET", "POST", "PATCH", "HEAD"} {
			if _, exists := allowedMethods(t, request.path)[method]; exists {
				continue
			}
			got := open.send(t, method, request.target, "").want(t, 405)
			var methods []string
			for _, allowed := range []string{"GET", "HEAD", "PATCH", "POST", "DELETE"} {
				if _, exists := allowedMethods(t, request.path)[allowed]; exists {
					methods = append(methods, allowed)
				}
			}
			require.ElementsMatch(t, methods, strings.Split(got.Header.Get("Allow"), ", "))
		}

		// Wrong path.
		others := []string{request.target + "/", request.target + "/x", "/" + request.target, strings.ToUpper(request.target), "/x" + request.target}
		if !strings.HasSuffix(request.path, "}") { // there it would be another value
			others = append(others, request.target+"x")
		}
		doc, err := spec()
		require.NoError(t, err)
		for _, target := range others {
			if slices.ContainsFunc(doc.Paths.Keys(), func(path string) bool { return fits(path, target) }) {
				continue
			}
			open.send(t, request.method, target, request.body).want(t, 404)
		}
		// The same path, percent-encoded.
		open.send(t, request.method, strings.Replace(request.target, "h", "%68", 1)+request.query, request.body).want(t, fine)
		open.send(t, request.method, "/%2f"+request.target[1:], request.body).want(t, 404)

		// Wrong Host.
		status := 421
		if isProbeID(id) {
			status = fine
		}
		open.ask(t, id, host("evil.example.com")).want(t, status)

		// Cross-origin.
		status = fine
		if writes {
			status = 403
		}
		open.ask(t, id, header("Sec-Fetch-Site", "cross-site")).want(t, status)
		open.ask(t, id, header("Origin", "https://evil.example.com")).want(t, status)
		open.ask(t, id, header("Sec-Fetch-Site", "same-origin")).want(t, fine)

		// Key missing or wrong.
		status = fine
		if writes || isPrivate(request.path) {
			status = 401
		}
		locked.ask(t, id).want(t, status)
		locked.ask(t, id, header("X-API-Key", "wrong")).want(t, status)
		locked.ask(t, id, header("X-API-Key", "")).want(t, status)
		locked.ask(t, id, header("X-API-Key", testKey)).want(t, fine)
		open.ask(t, id, header("X-API-Key", "wrong")).want(t, fine) // nobody asks for it

		// A body where none belongs: a write refuses it, otherwise it is not read.
		if request.body == "" {
			small, large := fine, fine
			if writes {
				small, large = 422, 413
			}
			open.send(t, request.method, request.target+request.query, `{"half`).want(t, small)
			open.send(t, request.method, request.target+request.query, strings.Repeat("x", maxBodyBytes+1)).want(t, large)
			return
		}
		// A body of the wrong size, type or encoding, and none at all.
		open.send(t, request.method, request.target, strings.Repeat(" ", maxBodyBytes+1-len(request.body))+request.body).want(t, 413)
		open.send(t, request.method, request.target+request.query, strings.Repeat(" ", maxBodyBytes-len(request.body))+request.body).want(t, fine)
		open.ask(t, id, header("Content-Type", "text/plain")).want(t, 415)
		open.ask(t, id, header("Content-Encoding", "gzip")).want(t, 415)
		open.send(t, request.method, request.target, "", header("Content-Type", "application/json")).want(t, 422)
	})
}

// spec is read once: it takes longer than most tests.
var spec = sync.OnceValues(gen.GetSpec)

// allowedMethods are the methods of the contract's path.
func allowedMethods(tb testing.TB, path string) map[string]struct{} {
	tb.Helper()
	doc, err := spec()
	require.NoError(tb, err)
	methods := map[string]struct{}{}
	for method := range doc.Paths.Value(path).Operations() {
		methods[method] = struct{}{}
		if method == http.MethodGet {
			methods[http.MethodHead] = struct{}{}
		}
	}
	return methods
}

// TestOrder: of several faults the first in the promised order is told.
func TestOrder(t *testing.T) {
	t.Parallel()
	s := start(t, newFakes(t), withKeys)
	large := strings.Repeat("x", maxBodyBytes+1)
	foreign, cross, key, text := host("evil.example.com"), header("Sec-Fetch-Site", "cross-site"), header("X-API-Key", testKey), header("Content-Type", "text/plain")
	for _, target := range []string{"/api/system/config?x=1", "/api/nothing", "/api/system/severity"} {
		s.send(t, "PATCH", target, large, foreign, cross).want(t, 421)
		s.send(t, "PATCH", target, large, cross).want(t, 403)
	}
	s.send(t, "PATCH", "/api/nothing", large).want(t, 404)
	s.send(t, "PATCH", "/api/system/severity", large).want(t, 405)
	s.send(t, "PATCH", "/api/system/config?x=1", large, text).want(t, 401)
	s.send(t, "PATCH", "/api/system/config?x=1", large, text, key).want(t, 413)
	s.send(t, "PATCH", "/api/system/config?x=1", `{"x"`, text, key).want(t, 415)
	s.send(t, "PATCH", "/api/system/config?x=1", `{"x"`, key).want(t, 422)
	s.send(t, "PATCH", "/api/system/config?x=1", `{}`, key).want(t, 422)
	s.send(t, "PATCH", "/api/system/config", `{}`, key).want(t, 200)
	s.send(t, "POST", "/api/system/cleanup?x=1", large).want(t, 401)
	s.send(t, "POST", "/api/system/cleanup?x=1", large, key).want(t, 413)
	s.send(t, "POST", "/api/system/cleanup?x=1", "", key).want(t, 422)
}

func TestParameters(t *testing.T) {
	t.Parallel()
	s := start(t, newFakes(t))
	for target, loc := range map[string]string{
		"/api/system/gpu/history?limit=0":                                "limit",
		"/api/system/gpu/history?limit=5001":                             "limit",
		"/api/system/gpu/history?limit=-1":                               "limit",
		"/api/system/gpu/history?limit=1.0":                              "limit",
		"/api/system/gpu/history?limit=1e2":                              "limit",
		"/api/system/gpu/history?limit=ten":                              "limit",
		"/api/system/gpu/history?limit=+5":                               "limit",
		"/api/system/gpu/history?limit=%2B5":                             "limit",
		"/api/system/gpu/history?limit=007":                              "limit",
		"/api/system/gpu/history?limit=0x10":                             "limit",
		"/api/system/gpu/history?limit=1_0":                              "limit",
		"/api/system/gpu/history?limit=5%0a":                             "limit",
		"/api/system/gpu/history?limit=-0":                               "limit",
		"/api/system/dead-letters?after_id=-0":                           "after_id",
		"/api/system/gpu/history?limit=":                                 "limit",
		"/api/system/gpu/history?limit":                                  "limit",
		"/api/system/gpu/history?limit=%00":                              "limit",
		"/api/system/gpu/history?limit=%D9%A1":                           "limit",
		"/api/system/gpu/history?limit=4294967297":                       "limit",
		"/api/system/gpu/history?limit=99999999999999999999":             "limit",
		"/api/system/gpu/history?limit=5&limit=5":                        "limit",
		"/api/system/gpu/history?Limit=5":                                "Limit",
		"/api/system/gpu/history?limit[]=5":                              "limit[]",
		"/api/system/gpu/history?limit=%ff":                              "limit",
		"/api/system/pipeline-latency?window_minutes=0":                  "window_minutes",
		"/api/system/pipeline-latency?window_minutes=1441":               "window_minutes",
		"/api/system/pipeline-latency?window_minutes=60&window_minutes=": "window_minutes",
		"/api/system/pipeline-latency?window_minutes=true":               "window_minutes",
	} {
		got := s.get(t, target).want(t, 422)
		require.Contains(t, string(got.body), fmt.Sprintf(`"loc":["query",%q]`, loc), target)
	}
	for target, want := range map[string]string{
		"/api/system/gpu/history?limit=5000":               `"limit":5000`,
		"/api/system/gpu/history?limit=1":                  `"limit":1`,
		"/api/system/gpu/history?":                         `"limit":300`,
		"/api/system/pipeline-latency":                     `"window_minutes":60`,
		"/api/system/pipeline-latency?window_minutes=1440": `"window_minutes":1440`,
		"/api/system/pipeline-latency?window_minutes=1":    `"window_minutes":1`,
	} {
		require.Contains(t, string(s.get(t, target).want(t, 200).body), want, target)
	}
	// Everything that is wrong is named at once, in the order of the names.
	got := s.get(t, "/api/system/gpu/history?limit=0&since=x&zzz=1&aaa=2").want(t, 422)
	require.JSONEq(t, `{"detail":[
		{"loc":["query","aaa"],"msg":"unknown parameter","type":"unknown"},
		{"loc":["query","zzz"],"msg":"unknown parameter","type":"unknown"},
		{"loc":["query","since"],"msg":"does not have the documented form, such as 2025-12-23T09:00:00Z","type":"pattern"},
		{"loc":["query","limit"],"msg":"number must be at least 1","type":"minimum"}]}`, string(got.body))
}

func TestBodies(t *testing.T) {
	t.Parallel()
	s := start(t, newFakes(t))
	field := func(name string) string { return fmt.Sprintf(`"loc":["body",%q]`, name) }
	for body, want := range map[string]string{
		`{"retention_days":0}`:                                  field("retention_days"),
		`{"retention_days":366}`:                                field("retention_days"),
		`{"retention_days":-1}`:                                 field("retention_days"),
		`{"retention_days":14.0}`:                               field("retention_days"),
		`{"retention_days":14.5}`:                               field("retention_days"),
		`{"retention_days":1e1}`:                                field("retention_days"),
		`{"retention_days":"14"}`:                               field("retention_days"),
		`{"retention_days":true}`:                               field("retention_days"),
		`{"retention_days":[14]}`:                               field("retention_days"),
		`{"retention_days":{}}`:                                 field("retention_days"),
		`{"batch_window_seconds":0}`:                            field("batch_window_seconds"),
		`{"batch_window_seconds":2147483648}`:                   field("batch_window_seconds"),
		`{"batch_window_seconds":9223372036854775808}`:          field("batch_window_seconds"),
		`{"batch_idle_timeout_seconds":0}`:                      field("batch_idle_timeout_seconds"),
		`{"batch_idle_timeout_seconds":1E400}`:                  `"loc":["body"`,
		`{"detection_confidence_threshold":1.0000000000000002}`: field("detection_confidence_threshold"),
		`{"detection_confidence_threshold":-0.1}`:               field("detection_confidence_threshold"),
		`{"detection_confidence_threshold":1e400}`:              `"loc":["body"`,
		`{"detection_confidence_threshold":"0.5"}`:              field("detection_confidence_threshold"),
		`{"unknown":1}`:                                         field("unknown"),
		`{"Retention_Days":14}`:                                 field("Retention_Days"),
		`{"app_name":"x"}`:                                      field("app_name"),
		`{"":1}`:                                                field(""),
		`{"retention_days":14,"retention_days":14}`:             field("retention_days"),
		`{"retention_days":14,"RETENTION_DAYS":14}`:             field("RETENTION_DAYS"),
		`{"retention_days":14,"retention\u005fdays":15}`:        field("retention_days"),
		``:                                   `"loc":["body"]`,
		` `:                                  `"loc":["body"]`,
		`null`:                               `"loc":["body"]`,
		`[]`:                                 `"loc":["body"]`,
		`[{"retention_days":14}]`:            `"loc":["body"`,
		`"x"`:                                `"loc":["body"]`,
		`14`:                                 `"loc":["body"]`,
		`true`:                               `"loc":["body"]`,
		`{`:                                  `"loc":["body"]`,
		`{}}`:                                `"loc":["body"]`,
		`{} {}`:                              `"loc":["body"]`,
		`{"retention_days":14} x`:            `"loc":["body"]`,
		`{"retention_days":14,}`:             `"loc":["body"]`,
		`{"retention_days":014}`:             `"loc":["body"]`,
		`{"retention_days":+14}`:             `"loc":["body"]`,
		`{"retention_days":NaN}`:             `"loc":["body"]`,
		`{'retention_days':14}`:              `"loc":["body"]`,
		`{"retention_days":14} // x`:         `"loc":["body"]`,
		"{\"retention_days\":14}\x00":        `"loc":["body"]`,
		"\ufeff{\"retention_days\":14}":      `"loc":["body"]`,
		"{\"retention_days\":14,\"\xff\":1}": `"loc":["body"]`,
		`{"x":` + strings.Repeat("[", 40) + strings.Repeat("]", 40) + `}`: `"loc":["body"]`,
		strings.Repeat("[", maxBodyBytes):                                 `"loc":["body"]`,
		strings.Repeat(`{"a":`, 9000):                                     `"loc":["body"]`,
	} {
		got := s.send(t, "PATCH", "/api/system/config", body, header("Content-Type", "application/json")).want(t, 422)
		require.Contains(t, string(got.body), want, "%.200s", body)
	}
	// Everything that is wrong is named at once.
	got := s.send(t, "PATCH", "/api/system/config", `{"retention_days":14.0,"batch_window_seconds":0,"x":1}`).want(t, 422)
	require.JSONEq(t, `{"detail":[
		{"loc":["body","retention_days"],"msg":"must be an integer, written without fraction or exponent","type":"type"},
		{"loc":["body","x"],"msg":"unknown key","type":"unknown"},
		{"loc":["body","batch_window_seconds"],"msg":"number must be at least 1","type":"minimum"}]}`, string(got.body))
	// A key in another case is another key, and said to be unknown only.
	got = s.send(t, "PATCH", "/api/system/config", `{"retention_days":30,"Retention_Days":3}`).want(t, 422)
	require.JSONEq(t, `{"detail":[{"loc":["body","Retention_Days"],"msg":"unknown key","type":"unknown"}]}`, string(got.body))
	got = s.send(t, "PATCH", "/api/system/config", `{"retention_days":30,"retention_days":3}`).want(t, 422)
	require.JSONEq(t, `{"detail":[{"loc":["body","retention_days"],"msg":"given more than once","type":"duplicate"}]}`, string(got.body))
	// A hostile body does not make a long answer.
	var many strings.Builder
	for i := range 4000 {
		fmt.Fprintf(&many, `"%s%d":1,`, strings.Repeat("k", 5), i)
	}
	got = s.send(t, "PATCH", "/api/system/config", `{`+many.String()+`"x":1}`).want(t, 422)
	require.Less(t, len(got.body), 4000)
}

func TestBodySizeAndType(t *testing.T) {
	t.Parallel()
	s := start(t, newFakes(t))
	fill := func(size int) string {
		const body = `{"retention_days":14}`
		return body + strings.Repeat(" ", size-len(body))
	}
	patch := func(body string, change ...func(*http.Request)) answer {
		return s.send(t, "PATCH", "/api/system/config", body, change...)
	}
	chunked := func(r *http.Request) { r.ContentLength = -1; r.Body = io.NopCloser(io.MultiReader(r.Body)) }
	patch(fill(maxBodyBytes)).want(t, 200)
	patch(fill(maxBodyBytes), chunked).want(t, 200)
	patch(fill(maxBodyBytes+1)).want(t, 413)
	patch(fill(maxBodyBytes+1), chunked).want(t, 413)
	patch(fill(1<<20)).want(t, 413)

	for _, contentType := range []string{"application/json; charset=utf-8", "Application/JSON", `application/json;charset="UTF-8"`} {
		patch(`{}`, header("Content-Type", contentType)).want(t, 200)
	}
	for _, contentType := range []string{
		"text/plain", "application/merge-patch+json", "application/jsonx", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x",
		"application/json; charset=latin1", "application/json;", "json", ";", "application/json, text/plain", "*/*",
	} {
		if contentType == "application/json;" {
			continue // read as application/json
		}
		patch(`{}`, header("Content-Type", contentType)).want(t, 415)
	}
	patch(`{}`, func(r *http.Request) { r.Header.Del("Content-Type") }).want(t, 415)
	patch(`{}`, func(r *http.Request) { r.Header.Add("Content-Type", "application/json") }).want(t, 415)

	var packed bytes.Buffer
	writer := gzip.NewWriter(&packed)
	_, err := writer.Write([]byte(`{}`))
	require.NoError(t, err)
	require.NoError(t, writer.Close())
	got := patch(packed.String(), header("Content-Encoding", "gzip")).want(t, 415)
	require.Equal(t, "identity", got.Header.Get("Accept-Encoding"))
	patch(`{}`, header("Content-Encoding", "identity")).want(t, 200)
	encodings := func(values ...string) func(*http.Request) {
		return func(r *http.Request) { r.Header["Content-Encoding"] = values }
	}
	patch(`{}`, encodings("identity", "Identity")).want(t, 200)
	patch(`{}`, encodings("identity", "gzip")).want(t, 415)
	patch(`{}`, encodings("", "gzip")).want(t, 415)
	patch(`{}`, encodings("identity, gzip")).want(t, 415)
}

// raw sends bytes as they are and returns the answer to each request in them, checked against the
// contract.
func raw(tb testing.TB, addr, text string, requests ...*http.Request) []answer {
	tb.Helper()
	conn, err := (&net.Dialer{}).DialContext(tb.Context(), "tcp", addr)
	require.NoError(tb, err)
	defer func() { _ = conn.Close() }()
	require.NoError(tb, conn.SetDeadline(time.Now().Add(await.Limit)))
	_, err = io.WriteString(conn, text)
	require.NoError(tb, err)
	require.NoError(tb, conn.(*net.TCPConn).CloseWrite())
	reader := bufio.NewReader(conn)
	var answers []answer
	for _, request := range requests {
		response, err := http.ReadResponse(reader, request)
		require.NoError(tb, err)
		body, err := io.ReadAll(response.Body)
		require.NoError(tb, err)
		_ = response.Body.Close()
		require.NoError(tb, contracttest.Check(request, response, body))
		answers = append(answers, answer{response, body})
	}
	return answers
}

func asked(tb testing.TB, method, target string) *http.Request {
	tb.Helper()
	request, err := http.NewRequestWithContext(tb.Context(), method, "http://localhost"+target, http.NoBody)
	require.NoError(tb, err)
	return request
}

// TestOddities: what other programs, old programs and broken connections send.
func TestOddities(t *testing.T) {
	t.Parallel()
	s := start(t, newFakes(t))
	severity := asked(t, "GET", "/api/system/severity")
	for name, test := range map[string]struct {
		text    string
		request *http.Request
		status  int
	}{
		"HTTP/1.0 without Host":        {"GET /api/system/severity HTTP/1.0\r\n\r\n", severity, 200},
		"HTTP/1.0 with a foreign Host": {"GET /api/system/severity HTTP/1.0\r\nHost: evil.example.com\r\n\r\n", severity, 421},
		"empty Host":                   {"GET /api/system/severity HTTP/1.1\r\nHost:\r\nConnection: close\r\n\r\n", severity, 421},
		"absolute address":             {"GET http://localhost/api/system/severity HTTP/1.1\r\nHost: evil.example.com\r\nConnection: close\r\n\r\n", severity, 200},
		"absolute foreign address":     {"GET http://evil.example.com/api/system/severity HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", severity, 421},
		"address without path":         {"DELETE http://localhost HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", asked(t, "DELETE", "/"), 405},
		"CONNECT":                      {"CONNECT localhost:80 HTTP/1.1\r\nHost: localhost:80\r\nConnection: close\r\n\r\n", asked(t, "DELETE", "/"), 405},
		"star":                         {"DELETE * HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", asked(t, "DELETE", "/*"), 404},
		"OPTIONS star":                 {"OPTIONS * HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", asked(t, "OPTIONS", "/*"), 404},
		"OPTIONS star, foreign Host":   {"OPTIONS * HTTP/1.1\r\nHost: evil.example.com\r\nConnection: close\r\n\r\n", asked(t, "OPTIONS", "/*"), 421},
		"double slash":                 {"GET //api/system/severity HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", asked(t, "DELETE", "/x"), 404},
		"dots":                         {"GET /api/../api/system/severity HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", asked(t, "GET", "/x"), 404},
		"nul in the path":              {"GET /api/system/severity%00 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", asked(t, "GET", "/x"), 404},
		"truncated body": {
			"PATCH /api/system/config HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{\"retention_days\":14}",
			asked(t, "PATCH", "/api/system/config"), 422,
		},
		"truncated chunk": {
			"PATCH /api/system/config HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n15\r\n{\"retention_days\":14}\r\n",
			asked(t, "PATCH", "/api/system/config"), 422,
		},
		"Expect and no key needed": {
			"PATCH /api/system/config HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\nContent-Length: 5\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n",
			asked(t, "PATCH", "/api/system/config"), 415,
		},
	} {
		got := raw(t, s.addr, test.text, test.request)
		require.Equal(t, test.status, got[0].StatusCode, "%s: %s", name, got[0].body)
	}

	// Two requests on one connection, the first of them refused with its body unread.
	got := raw(t, s.addr, "POST /api/system/severity HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello"+
		"GET /api/system/severity HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", asked(t, "POST", "/api/system/severity"), severity)
	require.Equal(t, 405, got[0].StatusCode)
	require.Equal(t, 200, got[1].StatusCode)
}

// TestOversizedRequestLine: the HTTP server itself refuses what is too long, with a status of the
// client.
func TestOversizedRequestLine(t *testing.T) {
	t.Parallel()
	s := start(t, newFakes(t))
	long := strings.Repeat("a", 2*MaxHeaderBytes)
	for _, text := range []string{
		"GET /" + long + " HTTP/1.1\r\nHost: localhost\r\n\r\n",
		"GET /api/system/severity?" + long + " HTTP/1.1\r\nHost: localhost\r\n\r\n",
		"GET /api/system/severity HTTP/1.1\r\nHost: localhost\r\nX-Long: " + long + "\r\n\r\n",
		"GET /api/system/severity HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
		"GET /api/system/severity HTTP/1.1\r\n\r\n",
		"GET /%zz HTTP/1.1\r\nHost: localhost\r\n\r\n",
		"BREW? /api/system/severity HTTP/1.1\r\nHost: localhost\r\n\r\n",
		"PATCH /api/system/config HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: localhost\r\nExpect: miracles\r\n\r\n",
	} {
		conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", s.addr)
		require.NoError(t, err)
		require.NoError(t, conn.SetDeadline(time.Now().Add(await.Limit)))
		go func() { _, _ = io.WriteString(conn, text) }() // the server may hang up first
		response, err := http.ReadResponse(bufio.NewReader(conn), nil)
		require.NoError(t, err, "%.60s", text)
		require.GreaterOrEqual(t, response.StatusCode, 400, "%.60s", text)
		require.Less(t, response.StatusCode, 500, "%.60s", text)
		_ = response.Body.Close()
		_ = conn.Close()
	}
}
