package server

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"hsi.home.arpa/web"
)

func dashboardFiles() fstest.MapFS {
	return fstest.MapFS{
		"index.html":           {Data: []byte("<!doctype html><title>t</title>" + strings.Repeat("long ", 1000))},
		"assets/main-a1b2.js":  {Data: []byte("export {}" + strings.Repeat(" ", 2000))},
		"assets/main-a1b2.css": {Data: []byte("a{}")},
		"favicon.svg":          {Data: []byte("<svg/>")},
	}
}

func TestDashboard(t *testing.T) {
	t.Parallel()
	files := dashboardFiles()
	s := start(t, newFakes(t), func(o *Options) { o.Dashboard = files })
	for target, want := range map[string]struct{ name, contentType, cacheControl string }{
		"/":                     {"index.html", "text/html; charset=utf-8", "no-cache"},
		"/assets/main-a1b2.js":  {"assets/main-a1b2.js", "text/javascript; charset=utf-8", "public, max-age=31536000, immutable"},
		"/assets/main-a1b2.css": {"assets/main-a1b2.css", "text/css; charset=utf-8", "public, max-age=31536000, immutable"},
		"/favicon.svg":          {"favicon.svg", "image/svg+xml", "no-cache"},
	} {
		got := s.get(t, target).want(t, 200)
		require.Equal(t, string(files[want.name].Data), string(got.body), "as the test's client, which takes gzip, unpacks it")
		require.Equal(t, want.contentType, got.Header.Get("Content-Type"))
		require.Equal(t, want.cacheControl, got.Header.Get("Cache-Control"))
		policy := got.Header.Get("Content-Security-Policy")
		require.True(t, strings.HasPrefix(policy, "default-src 'none'; script-src 'self'; style-src 'self'; "), policy)
		require.Contains(t, policy, "frame-ancestors 'none'")
		for _, loose := range []string{"unsafe", "*", "data:", "http", "blob:"} {
			require.NotContains(t, policy, loose)
		}
		require.Equal(t, "DENY", got.Header.Get("X-Frame-Options"))
		require.Equal(t, "no-referrer", got.Header.Get("Referrer-Policy"))
		require.Equal(t, "nosniff", got.Header.Get("X-Content-Type-Options"))
		again := s.get(t, target, header("If-None-Match", got.Header.Get("ETag"))).want(t, 304)
		require.Empty(t, again.body)
		s.send(t, http.MethodHead, target, "").want(t, 200)
		s.send(t, http.MethodPost, target, "").want(t, 405)
		s.get(t, target, host("elsewhere.example.com")).want(t, 421)
	}
	for _, unknown := range []string{"/index.html", "/assets/", "/assets/main-a1b3.js", "/assets", "/favicon.ico", "/dashboard", "/assets/../index.html"} {
		got := s.get(t, unknown).want(t, 404)
		require.JSONEq(t, `{"detail":"Not Found"}`, string(got.body), unknown)
	}
}

func TestDashboard_Gzip(t *testing.T) {
	t.Parallel()
	files := dashboardFiles()
	s := start(t, newFakes(t), func(o *Options) { o.Dashboard = files })
	plain := s.get(t, "/", header("Accept-Encoding", "identity")).want(t, 200)
	require.Empty(t, plain.Header.Get("Content-Encoding"))
	require.Equal(t, "Accept-Encoding", plain.Header.Get("Vary"))
	require.Equal(t, files["index.html"].Data, plain.body)

	packed := s.get(t, "/", header("Accept-Encoding", "br, gzip;q=0.8")).want(t, 200)
	require.Equal(t, "gzip", packed.Header.Get("Content-Encoding"))
	require.NotEqual(t, plain.Header.Get("ETag"), packed.Header.Get("ETag"), "other bytes, another tag")
	require.Less(t, len(packed.body), len(plain.body)/2)
	reader, err := gzip.NewReader(bytes.NewReader(packed.body))
	require.NoError(t, err)
	content, err := io.ReadAll(reader)
	require.NoError(t, err)
	require.Equal(t, files["index.html"].Data, content)

	for _, refusing := range []string{"gzip;q=0", "gzip; q=0.000", "br", ""} {
		got := s.get(t, "/", header("Accept-Encoding", refusing)).want(t, 200)
		require.Empty(t, got.Header.Get("Content-Encoding"), refusing)
	}
	small := s.get(t, "/favicon.svg", header("Accept-Encoding", "gzip")).want(t, 200)
	require.Empty(t, small.Header.Get("Content-Encoding"), "too small to gain")
}

func TestDashboard_EmbeddedFiles(t *testing.T) {
	t.Parallel()
	files, _ := web.Files()
	s := start(t, newFakes(t), func(o *Options) { o.Dashboard = files })
	page := string(s.get(t, "/").want(t, 200).body)
	require.Contains(t, page, "<title>Home Security Intelligence</title>")
	for _, forbidden := range []string{"<style", "style=", "<script>", "javascript:", "http:", "https:"} {
		require.NotContains(t, page, forbidden)
	}
}

func TestDashboard_UnknownKindOfFile(t *testing.T) {
	t.Parallel()
	_, err := newDashboardPage("assets/x.wasm", nil)
	require.ErrorContains(t, err, "assets/x.wasm")
}
