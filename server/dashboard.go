package server

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io/fs"
	"net/http"
	"path"
	"strings"

	"github.com/labstack/echo/v4"
)

const (
	// dashboardPolicy lets the dashboard load its own files and ask this server, and nothing else:
	// no inline script or style, no other host, no frame around it, and no text that becomes
	// markup. The one text that becomes a script is the address of the worker that its tabs share,
	// by the Trusted Types policy of that name.
	dashboardPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; " +
		"img-src 'self'; connect-src 'self'; worker-src 'self'; " +
		"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; " +
		"require-trusted-types-for 'script'; trusted-types hsi-worker"
	// hashedFolder holds the files whose names change with their content: a client never has to ask
	// again.
	hashedFolder = "assets/"
	// forever is a year, the longest that caches honour.
	forever = "public, max-age=31536000, immutable"
	// smallestGzipped is the size in bytes from which compressing pays.
	smallestGzipped = 1024
)

// dashboardTypes are the content types of the files that a dashboard may have.
var dashboardTypes = map[string]string{
	".html": "text/html; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
	".css":  "text/css; charset=utf-8",
	".svg":  "image/svg+xml",
	".png":  "image/png",
	".txt":  "text/plain; charset=utf-8",
}

// dashboardPages are the pages of the dashboard beside /, as its router knows them: the server
// answers each with index.html, and the script in it reads the address. The address of a page may
// come from elsewhere and name what is gone, so that whatever stands for a parameter is answered.
var dashboardPages = [...]string{"/system", "/cameras", "/cameras/:camera_id", "/events/:event_id"}

// routeDashboard adds each file of the dashboard under its own path, and index.html as / and as
// each of the pages. Any other path stays unknown.
func routeDashboard(e *echo.Echo, files fs.FS) error {
	return fs.WalkDir(files, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := fs.ReadFile(files, name)
		if err != nil {
			return fmt.Errorf("read the dashboard: %w", err)
		}
		if name == "index.html" {
			return routeDashboardPages(e, content)
		}
		file, err := newDashboardPage(name, content)
		if err != nil {
			return err
		}
		e.GET("/"+name, file.serve)
		return nil
	})
}

// routeDashboardPages adds index.html under the addresses of the pages. Its own addresses are
// relative, since a proxy may serve all this below a path that it strips: seen from a page one
// level deeper the root is one level up.
func routeDashboardPages(e *echo.Echo, index []byte) error {
	atRoot, err := newDashboardPage("index.html", index)
	if err != nil {
		return err
	}
	deeper, err := newDashboardPage("index.html", oneLevelUp(index))
	if err != nil {
		return err
	}
	e.GET("/", atRoot.serve)
	for _, path := range dashboardPages {
		if strings.Count(path, "/") == 1 {
			e.GET(path, atRoot.serve)
			continue
		}
		e.GET(path, deeper.serve)
		e.RouteNotFound(path+"/*", echo.NotFoundHandler) // the parameter ends at the next slash
	}
	return nil
}

// oneLevelUp makes the relative addresses of index.html, all of which begin with a dot, fit a page
// one level below the root.
func oneLevelUp(index []byte) []byte {
	return bytes.ReplaceAll(index, []byte(`"./`), []byte(`"../`))
}

func newDashboardPage(name string, content []byte) (page, error) {
	contentType, known := dashboardTypes[path.Ext(name)]
	if !known {
		return page{}, fmt.Errorf("the dashboard has a file of an unknown kind: %s", name)
	}
	file := newPage(content, contentType)
	file.policy = dashboardPolicy
	if strings.HasPrefix(name, hashedFolder) {
		file.cacheControl = forever
	}
	if len(content) >= smallestGzipped && contentType != "image/png" {
		file.gzipped = gzipped(content)
	}
	return file, nil
}

// gzipped compresses once, at the start.
func gzipped(content []byte) []byte {
	var buffer bytes.Buffer
	writer, err := gzip.NewWriterLevel(&buffer, gzip.BestCompression)
	if err != nil {
		return nil
	}
	if _, err := writer.Write(content); err != nil {
		return nil
	}
	if err := writer.Close(); err != nil {
		return nil
	}
	return buffer.Bytes()
}

// acceptsGzip tells whether the client names gzip, and not to refuse it.
func acceptsGzip(r *http.Request) bool {
	for offer := range strings.SplitSeq(strings.Join(r.Header.Values("Accept-Encoding"), ","), ",") {
		name, weight, _ := strings.Cut(offer, ";")
		if strings.EqualFold(strings.TrimSpace(name), "gzip") {
			refused := weight != "" && strings.Trim(strings.TrimSpace(weight), "q=0.") == ""
			return !refused
		}
	}
	return false
}
