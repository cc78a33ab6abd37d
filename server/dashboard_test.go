package server

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"regexp"
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
		require.Equal(t, []string{
			"default-src 'none'", "script-src 'self'", "style-src 'self'", "img-src 'self'",
			"connect-src 'self'", "worker-src 'self'", "base-uri 'none'", "form-action 'none'",
			"frame-ancestors 'none'", "require-trusted-types-for 'script'",
			"trusted-types hsi-worker", // no name more, nor two policies of this one
		}, strings.Split(got.Header.Get("Content-Security-Policy"), "; "))
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

// TestDashboard_Pages: each page can be opened by its address, by everybody and whatever it names,
// with addresses in it that lead to the root from where it is.
func TestDashboard_Pages(t *testing.T) {
	t.Parallel()
	const head = `<meta name="root" content="./" /><link href="./favicon.svg" />` +
		`<script type="module" src="./assets/main-a1b2.js"></script>`
	const deeperHead = `<meta name="root" content="../" /><link href="../favicon.svg" />` +
		`<script type="module" src="../assets/main-a1b2.js"></script>`
	filler := strings.Repeat("long ", 1000) + "./ and ../"
	files := dashboardFiles()
	files["index.html"] = &fstest.MapFile{Data: []byte(head + filler)}
	s := start(t, newFakes(t), withKeys, func(o *Options) {
		o.Dashboard, o.ListensBeyondLoopback = files, true
	})
	atRoot := s.get(t, "/").want(t, 200)
	require.Equal(t, head+filler, string(atRoot.body))
	pages := map[string]string{"/system": head, "/cameras": head, "/system?day=2026-01-02": head}
	for _, deeper := range []string{
		"/cameras/front_door", "/cameras/a%20b", "/cameras/%E5%89%8D", "/cameras/a%2Fb",
		"/cameras/100%25", "/cameras/a%252Fb", "/c%61meras/a%2fb", "/cameras/..", "/cameras/a%00",
		"/cameras/" + strings.Repeat("a", 2000), "/events/12", "/events/12?camera_id=garden",
		"/events/0", "/events/gone", "/events/stats",
	} {
		pages[deeper] = deeperHead
	}
	for target, want := range pages {
		got := s.get(t, target).want(t, 200)
		require.Equal(t, want+filler, string(got.body), target)
		for _, name := range []string{
			"Content-Type", "Cache-Control", "Content-Security-Policy", "Vary", "X-Frame-Options",
			"Referrer-Policy", "X-Content-Type-Options",
		} {
			require.Equal(t, atRoot.Header.Get(name), got.Header.Get(name), "%s: %s", target, name)
		}
		require.Equal(t, want == head, atRoot.Header.Get("Etag") == got.Header.Get("Etag"), target)
		packed := s.get(t, target, header("Accept-Encoding", "gzip")).want(t, 200)
		require.Equal(t, "gzip", packed.Header.Get("Content-Encoding"), target)
		require.Equal(t, want+filler, string(unpacked(t, packed.body)), target)
		again := s.get(t, target, header("If-None-Match", got.Header.Get("Etag"))).want(t, 304)
		require.Empty(t, again.body)
		require.Equal(t, "no-cache", again.Header.Get("Cache-Control"), target)
		require.Empty(t, s.send(t, http.MethodHead, target, "").want(t, 200).body)
		s.get(t, target, header("Sec-Fetch-Site", "cross-site")).want(t, 200)
		s.get(t, target, host("elsewhere.example.com")).want(t, 421)
		for _, method := range []string{http.MethodPost, http.MethodDelete} {
			s.send(t, method, target, "").want(t, 405)
		}
	}
	for _, unknown := range []string{
		"/system/", "/system/x", "/cameras/", "/cameras/a/", "/cameras/a/b", "/cameras//a",
		"//cameras",
		"/events", "/events/", "/events/12/", "/events/12/image", "/events/12/x.js", "/Cameras",
		"/cameras/x/../y", "/event/12", "/system%2Fx", "/events%2F12",
	} {
		got := s.get(t, unknown).want(t, 404)
		require.JSONEq(t, `{"detail":"Not Found"}`, string(got.body), unknown)
	}
	// The operations of the same names are not disturbed.
	s.get(t, "/api/cameras/front_door", header("X-API-Key", testKey)).want(t, 200)
	s.get(t, "/api/events/12").want(t, 401)
}

func unpacked(t *testing.T, packed []byte) []byte {
	t.Helper()
	reader, err := gzip.NewReader(bytes.NewReader(packed))
	require.NoError(t, err)
	content, err := io.ReadAll(reader)
	require.NoError(t, err)
	return content
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
	require.Equal(t, files["index.html"].Data, unpacked(t, packed.body))

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
	// Of the built page as of the one that stands in for it, all addresses fit where it is opened.
	address := regexp.MustCompile(`(?:href|src)="?([^"#][^" >]*)`)
	deeper := string(s.get(t, "/events/12").want(t, 200).body)
	atRoot := address.FindAllStringSubmatch(page, -1)
	below := address.FindAllStringSubmatch(deeper, -1)
	require.NotEmpty(t, atRoot)
	require.Len(t, below, len(atRoot))
	for i := range atRoot {
		require.Regexp(t, `^\./[^.]`, atRoot[i][1])
		require.Equal(t, "."+atRoot[i][1], below[i][1])
	}
}

func TestDashboard_UnknownKindOfFile(t *testing.T) {
	t.Parallel()
	_, err := newDashboardPage("assets/x.wasm", nil)
	require.ErrorContains(t, err, "assets/x.wasm")
}
