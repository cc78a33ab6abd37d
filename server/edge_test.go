package server

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"hsi.home.arpa/store"
)

func TestHostCheck(t *testing.T) {
	t.Parallel()
	check, err := newHostCheck("Nest.example.org", []string{"cameras.example.com", "Gate.Example.com."})
	require.NoError(t, err)
	for _, allowed := range []string{
		"localhost", "localhost:8000", "LOCALHOST", "localhost.", "127.0.0.1", "127.0.0.1:8000", "192.168.1.20", "8.8.8.8:1",
		"[::1]", "[::1]:8000", "[fe80::1]:8000", "[fe80::1%25eth0]", "[::ffff:127.0.0.1]:80", "localhost:",
		"nest.example.org", "nest.example.org:8000", "nest", "nest.local", "NEST.LOCAL.", "hsi", "hsi:8000", "my_nas", "a-b",
		"cameras.example.com", "CAMERAS.example.com:443", "cameras.example.com.", "gate.example.com",
	} {
		require.True(t, check.allows(allowed), allowed)
	}
	for _, refused := range []string{
		"", ":8000", ".", "evil.example.com", "evil.example.com:8000", "localhost.evil.example.com", "127.0.0.1.evil.example.com",
		"evilcameras.example.com", "x.cameras.example.com", "other.local", "nest.local.evil.com", "nest.example.com", "127.1", "1.2.3",
		"::1", "[::1", "::1]", "[]", "[127.0.0.1]", "[evil.example.com]", "[::1]x", "[::1]8000", "localhost:x", "localhost:-1", "localhost:65536",
		"localhost:80:80", "user@localhost", "localhost/x", "a b", "a..b", "höst", "a\x00b", strings.Repeat("a", 254),
	} {
		require.False(t, check.allows(refused), refused)
	}
	for _, bad := range []string{"", "*", "*.example.com", "example.com:8000", "http://example.com", "a b", "ex ample.com", "."} {
		_, err := newHostCheck("", []string{bad})
		require.Error(t, err, bad)
	}
	_, err = newHostCheck("", nil)
	require.NoError(t, err)
}

func TestKeys(t *testing.T) {
	t.Parallel()
	sum := sha256.Sum256([]byte("second"))
	k, err := newKeys(true, []string{"first", "sha256:" + strings.ToUpper(hex.EncodeToString(sum[:])), "third"})
	require.NoError(t, err)
	for _, key := range []string{"first", "second", "third"} {
		hash, right := k.check([]string{key})
		require.True(t, right)
		sum := sha256.Sum256([]byte(key))
		require.Equal(t, "api_key:"+hex.EncodeToString(sum[:])[:8], actorOf(hash))
	}
	for name, wrong := range map[string][]string{
		"wrong": {"fourth"}, "prefix": {"firs"}, "longer": {"first "}, "case": {"First"}, "hash itself": {"sha256:" + hex.EncodeToString(sum[:])},
		"two": {"first", "first"}, "wrong, right": {"fourth", "first"},
	} {
		_, right := k.check(wrong)
		require.False(t, right, name)
	}

	_, err = newKeys(true, nil)
	require.ErrorContains(t, err, "there is no key")
	_, err = newKeys(true, []string{"", "sha256:abc", "sha256:" + strings.Repeat("g", 64)})
	require.ErrorContains(t, err, "key 1 ")
	require.ErrorContains(t, err, "key 2:")
	require.ErrorContains(t, err, "key 3:")
}

func TestAuth_TellsTheKeyInTheAuditAndNowhereElse(t *testing.T) {
	t.Parallel()
	f := newFakes(t)
	var actor store.Actor
	next := f.update
	f.update = func(ctx context.Context, update store.SystemConfigUpdate, by store.Actor) (store.SystemConfig, error) {
		actor = by
		return next(ctx, update, by)
	}
	s := start(t, f, withKeys)
	s.ask(t, "updateSystemConfig", header("X-API-Key", testKey)).want(t, 200)
	sum := sha256.Sum256([]byte(testKey))
	require.Equal(t, "api_key:"+hex.EncodeToString(sum[:])[:8], actor.Name)
	missing := s.ask(t, "updateSystemConfig").want(t, 401)
	require.JSONEq(t, `{"detail":"API key required. Provide via X-API-Key header."}`, string(missing.body))
	s.send(t, http.MethodPatch, "/api/system/config?api_key="+testKey, `{}`).want(t, 401)
	wrong := s.ask(t, "updateSystemConfig", header("X-API-Key", "nope")).want(t, 401)
	require.JSONEq(t, `{"detail":"Invalid API key"}`, string(wrong.body))
	require.NotContains(t, s.log.String(), testKey)
}

func TestClientIP(t *testing.T) {
	t.Parallel()
	trusted := proxies{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("::1/128")}
	for name, test := range map[string]struct {
		peer      string
		forwarded []string
		want      string
	}{
		"direct":                        {"192.0.2.1:5", nil, "192.0.2.1"},
		"not trusted":                   {"192.0.2.1:5", []string{"1.1.1.1"}, "192.0.2.1"},
		"trusted":                       {"10.0.0.1:5", []string{"1.1.1.1"}, "1.1.1.1"},
		"trusted without header":        {"10.0.0.1:5", nil, "10.0.0.1"},
		"trusted IPv6":                  {"[::1]:5", []string{"2001:db8::7"}, "2001:db8::7"},
		"mapped peer":                   {"[::ffff:10.0.0.1]:5", []string{"1.1.1.1"}, "1.1.1.1"},
		"the client's own claim":        {"10.0.0.1:5", []string{"9.9.9.9, 1.1.1.1"}, "1.1.1.1"},
		"a chain of proxies":            {"10.0.0.1:5", []string{"9.9.9.9, 1.1.1.1, 10.0.0.2"}, "1.1.1.1"},
		"several headers":               {"10.0.0.1:5", []string{"9.9.9.9", "1.1.1.1", "10.0.0.2"}, "1.1.1.1"},
		"only proxies":                  {"10.0.0.1:5", []string{"10.0.0.3, 10.0.0.2"}, "10.0.0.3"},
		"rubbish":                       {"10.0.0.1:5", []string{"<script>"}, "10.0.0.1"},
		"rubbish before a good address": {"10.0.0.1:5", []string{"<script>, 1.1.1.1"}, "1.1.1.1"},
		"unix socket":                   {"@", []string{"1.1.1.1"}, ""},
	} {
		request := &http.Request{RemoteAddr: test.peer, Header: http.Header{"X-Forwarded-For": test.forwarded}}
		require.Equal(t, test.want, trusted.clientIP(request), name)
	}
}

func TestRequestID(t *testing.T) {
	t.Parallel()
	s := start(t, newFakes(t))
	for _, kept := range []string{"a", "A.b_c-9", strings.Repeat("x", 64)} {
		require.Equal(t, kept, s.get(t, "/health", header("X-Request-ID", kept)).Header.Get("X-Request-ID"))
	}
	fresh := map[string]bool{}
	for _, replaced := range []string{"", "a b", "a/b", "é", "<x>", strings.Repeat("x", 65)} {
		id := s.get(t, "/nowhere", header("X-Request-ID", replaced)).want(t, 404).Header.Get("X-Request-ID")
		require.Len(t, id, 32)
		require.False(t, fresh[id])
		fresh[id] = true
	}
	two := s.get(t, "/health", func(r *http.Request) { r.Header["X-Request-Id"] = []string{"a", "b"} })
	require.Len(t, two.Header.Get("X-Request-ID"), 32)
}

func TestCORS(t *testing.T) {
	t.Parallel()
	const friend = "https://Dash.example.com:8443"
	preflight := func(r *http.Request) {
		r.Header.Set("Access-Control-Request-Method", "PATCH")
		r.Header.Set("Access-Control-Request-Headers", "content-type")
	}
	names := func(a answer) string {
		var found []string
		for name := range a.Header {
			if strings.HasPrefix(name, "Access-Control-") || name == "Vary" {
				found = append(found, name)
			}
		}
		return strings.Join(found, " ")
	}
	closed := start(t, newFakes(t))
	for _, got := range []answer{
		closed.get(t, "/api/system/severity", header("Origin", "https://dash.example.com:8443")).want(t, 200),
		closed.send(t, http.MethodOptions, "/api/system/config", "", header("Origin", "https://dash.example.com:8443"), preflight).want(t, 405),
	} {
		require.Empty(t, names(got), "without configuration no header is sent")
	}
	open := start(t, newFakes(t), func(o *Options) { o.CORSOrigins = []string{friend, "http://localhost:5173"} })
	got := open.get(t, "/api/system/severity", header("Origin", "https://dash.example.com:8443")).want(t, 200)
	require.Equal(t, "https://dash.example.com:8443", got.Header.Get("Access-Control-Allow-Origin"))
	require.Equal(t, "Origin", got.Header.Get("Vary"))
	got = open.ask(t, "updateSystemConfig", header("Origin", "https://dash.example.com:8443"), header("Sec-Fetch-Site", "cross-site")).want(t, 200)
	require.NotEmpty(t, got.Header.Get("Access-Control-Allow-Origin"))
	got = open.send(t, http.MethodOptions, "/api/system/config", "", header("Origin", "http://localhost:5173"), preflight).want(t, 204)
	require.Contains(t, got.Header.Get("Access-Control-Allow-Methods"), "PATCH")
	require.Contains(t, got.Header.Get("Access-Control-Allow-Headers"), "X-API-Key")
	require.Empty(t, got.Header.Get("Access-Control-Allow-Credentials"))
	// An error is readable for the page too.
	got = open.get(t, "/api/system/gpu/history?limit=0", header("Origin", "http://localhost:5173")).want(t, 422)
	require.NotEmpty(t, got.Header.Get("Access-Control-Allow-Origin"))

	for _, stranger := range []string{"https://evil.example.com", "https://dash.example.com", "http://dash.example.com:8443", "null"} {
		got := open.get(t, "/api/system/severity", header("Origin", stranger)).want(t, 200)
		require.Equal(t, "Vary", names(got))
		open.send(t, http.MethodOptions, "/api/system/config", "", header("Origin", stranger), preflight).want(t, 405)
		open.ask(t, "updateSystemConfig", header("Origin", stranger)).want(t, 403)
	}
}

// TestNewOrigins: an origin that no browser ever sends would silently let nobody in.
func TestNewOrigins(t *testing.T) {
	t.Parallel()
	for origin, want := range map[string]string{
		"*": "must be scheme://host", "null": "must be scheme://host", "": "must be scheme://host", "dash.example.com": "must be scheme://host",
		"ftp://x.example.com": "must be scheme://host", "https://": "must be scheme://host", "https://:8443": "must be scheme://host",
		"https://x.example.com/path": "must be scheme://host", "https://x.example.com/": "must be scheme://host",
		"https://x.example.com?q": "must be scheme://host", "https://x.example.com?": "must be scheme://host",
		"https://x.example.com#top": "must be scheme://host", "https://x.example.com#": "must be scheme://host",
		"https://user@x.example.com": "must be scheme://host", "https://x.example.com:": "must be scheme://host",
		"https://x.example.com:443": `write "https://x.example.com"`, "HTTPS://X.example.com:443": `write "https://x.example.com"`,
		"http://x.example.com:80": `write "http://x.example.com"`, "http://[::1]:80": `write "http://[::1]"`,
		"https://x.example.com:08443": `write "https://x.example.com:8443"`, "https://x.example.com:65536": "port",
	} {
		_, err := newOrigins([]string{origin})
		require.ErrorContains(t, err, "CORS_ORIGINS: ", origin)
		require.ErrorContains(t, err, want, origin)
		_, err = New(func() Options { o := newFakes(t).options(); o.CORSOrigins = []string{origin}; return o }())
		require.ErrorContains(t, err, want, origin)
	}
	for _, origin := range []string{
		"https://x.example.com", "http://x.example.com:443", "https://x.example.com:80", "https://[::1]:8443", "http://localhost:5173",
		"http://192.0.2.1", "HTTPS://X.example.com:8443",
	} {
		_, err := newOrigins([]string{origin})
		require.NoError(t, err, origin)
	}
}

func TestRequestLog(t *testing.T) {
	t.Parallel()
	s := start(t, newFakes(t), func(o *Options) { o.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")} })
	s.get(t, "/api/system/stats", header("X-Request-ID", "a"), header("X-Forwarded-For", "192.0.2.7"))
	s.get(t, "/health", header("X-Request-ID", "b"))
	s.get(t, "/nowhere?api_key=hidden", header("X-Request-ID", "c"))
	s.send(t, http.MethodHead, "/api/system/%73tats", "", header("X-Request-ID", "d"))
	raw(t, s.addr, "OPTIONS * HTTP/1.1\r\nHost: localhost\r\nX-Request-ID: e\r\nConnection: close\r\n\r\n", asked(t, "OPTIONS", "/*"))
	for id, want := range map[string]map[string]any{
		"a": {"level": "DEBUG", "method": "GET", "path": "/api/system/stats", "status": 200.0, "client": "192.0.2.7"},
		"b": {"level": "DEBUG", "path": "/health"},
		"c": {"level": "INFO", "path": "/nowhere", "status": 404.0, "client": "127.0.0.1"},
		"d": {"level": "DEBUG", "method": "HEAD", "path": "/api/system/stats", "status": 200.0},
		"e": {"level": "INFO", "method": "OPTIONS", "path": "*", "status": 404.0},
	} {
		lines := s.about(id)
		require.Len(t, lines, 1)
		var line map[string]any
		require.NoError(t, json.Unmarshal([]byte(lines[0]), &line))
		require.Equal(t, "request", line["msg"])
		require.Contains(t, line, "duration_ms")
		for key, value := range want {
			require.Equal(t, value, line[key], "%s of %s", key, id)
		}
		require.NotContains(t, lines[0], "hidden")
	}
}

func TestPages(t *testing.T) {
	t.Parallel()
	written, err := os.ReadFile("../openapi.yaml")
	require.NoError(t, err)
	s := start(t, newFakes(t))
	for target, contentType := range map[string]string{
		"/openapi.yaml": "application/yaml", "/openapi.json": "application/json", "/docs": "text/html; charset=utf-8",
		"/docs/init.js": "text/javascript; charset=utf-8", "/docs/swagger-ui-bundle.js": "text/javascript; charset=utf-8",
		"/docs/swagger-ui.css": "text/css; charset=utf-8", "/docs/favicon-32x32.png": "image/png",
	} {
		got := s.get(t, target).want(t, 200)
		require.Equal(t, contentType, got.Header.Get("Content-Type"))
		require.NotEmpty(t, got.body)
		require.Contains(t, got.Header.Get("Content-Security-Policy"), "default-src 'none'; script-src 'self';")
		require.NotContains(t, string(got.body[:min(len(got.body), 4096)]), "<script>")
		etag := got.Header.Get("ETag")
		require.Equal(t, "no-cache", got.Header.Get("Cache-Control"))
		again := s.get(t, target, header("If-None-Match", etag)).want(t, 304)
		require.Empty(t, again.body)
		s.get(t, target, header("If-None-Match", `"other"`)).want(t, 200)
		head := s.send(t, http.MethodHead, target, "").want(t, 200)
		require.Equal(t, int64(len(got.body)), head.ContentLength)
		s.send(t, http.MethodPost, target, "").want(t, 405)
		s.get(t, target, host("evil.example.com")).want(t, 421)
	}
	require.True(t, bytes.Equal(written, s.get(t, "/openapi.yaml").body), "the file as it was written")
	page := string(s.get(t, "/docs").body)
	require.NotContains(t, page, "http:")
	require.NotContains(t, page, "https:")
	require.NotContains(t, page, "//")
	require.Equal(t, "docs", s.get(t, "/").want(t, 302).Header.Get("Location"))
	s.get(t, "/docs/").want(t, 404)
	s.get(t, "/docs/../server.go").want(t, 404)
	s.get(t, "/assets/x").want(t, 404)
}

func TestNew_ReportsEverythingAtOnce(t *testing.T) {
	t.Parallel()
	_, err := New(Options{
		APIKeyEnabled: true, AllowedHosts: []string{"a:1"}, CORSOrigins: []string{"x"}, Severity: store.SeverityThresholds{LowMax: 5, MediumMax: 4, HighMax: 3},
	})
	for _, named := range []string{"Options.Health", "Options.Log", "Options.Cleanup", "API_KEYS", "ALLOWED_HOSTS", "CORS_ORIGINS", "SEVERITY_MEDIUM_MAX"} {
		require.ErrorContains(t, err, named)
	}
}
