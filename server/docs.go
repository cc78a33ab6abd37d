package server

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"
	swaggerui "github.com/swaggo/files/v2"

	"hsi.home.arpa/gen"
)

// ownPages are the page around Swagger UI and the script that starts it.
//
//go:embed docs
var ownPages embed.FS

// pagePolicy lets the documentation load what this server serves and nothing else, and no inline
// script or style. Swagger UI draws its icons from data: addresses.
const pagePolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// page is a file that never changes while the process runs.
type page struct {
	content           []byte
	contentType, etag string
	cacheControl      string
	policy            string
	// gzipped is the content for clients that take it so; nil when there is none.
	gzipped []byte
}

// newPage makes a page that clients may keep, but ask for each time.
func newPage(content []byte, contentType string) page {
	sum := sha256.Sum256(content)
	return page{
		content: content, contentType: contentType, etag: hex.EncodeToString(sum[:12]), cacheControl: "no-cache", policy: pagePolicy,
	}
}

// serve answers with the page, or with 304 when the client has it already.
func (p page) serve(c echo.Context) error {
	header := c.Response().Header()
	header.Set("Content-Type", p.contentType)
	header.Set("Cache-Control", p.cacheControl)
	header.Set("Content-Security-Policy", p.policy)
	header.Set("X-Frame-Options", "DENY")
	header.Set("Referrer-Policy", "no-referrer")
	content, etag := p.content, p.etag
	if p.gzipped != nil {
		header.Set("Vary", "Accept-Encoding")
		if acceptsGzip(c.Request()) {
			header.Set("Content-Encoding", "gzip")
			content, etag = p.gzipped, p.etag+"-gzip"
		}
	}
	header.Set("ETag", `"`+etag+`"`)
	http.ServeContent(c.Response(), c.Request(), "", time.Time{}, bytes.NewReader(content))
	return nil
}

// routePages adds the contract, its documentation and the dashboard. None of them is an operation
// of the contract.
func (s *Server) routePages(e *echo.Echo) error {
	specJSON, err := gen.GetSpecJSON()
	if err != nil {
		return fmt.Errorf("read the embedded contract: %w", err)
	}
	e.GET("/openapi.json", newPage(specJSON, "application/json").serve)
	e.GET("/openapi.yaml", newPage(gen.SpecYAML, "application/yaml").serve)

	own, err := fs.Sub(ownPages, "docs")
	if err != nil {
		return fmt.Errorf("open the documentation page: %w", err)
	}
	for path, file := range map[string]struct {
		from              fs.FS
		name, contentType string
	}{
		"/docs":                      {own, "index.html", "text/html; charset=utf-8"},
		"/docs/init.js":              {own, "init.js", "text/javascript; charset=utf-8"},
		"/docs/swagger-ui-bundle.js": {swaggerui.FS, "swagger-ui-bundle.js", "text/javascript; charset=utf-8"},
		"/docs/swagger-ui.css":       {swaggerui.FS, "swagger-ui.css", "text/css; charset=utf-8"},
		"/docs/favicon-32x32.png":    {swaggerui.FS, "favicon-32x32.png", "image/png"},
	} {
		content, err := fs.ReadFile(file.from, file.name)
		if err != nil {
			return fmt.Errorf("read the documentation: %w", err)
		}
		e.GET(path, newPage(content, file.contentType).serve)
	}

	if s.options.Dashboard == nil {
		e.GET("/", func(c echo.Context) error { return c.Redirect(http.StatusFound, "docs") })
		return nil
	}
	return routeDashboard(e, s.options.Dashboard)
}
