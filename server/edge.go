package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"runtime/debug"
	"strings"
	"time"

	"github.com/labstack/echo/v4"
)

// routedAsUnknown is the method that OPTIONS requests are routed as, since the router has an answer
// of its own for them.
const routedAsUnknown = "-"

// edge is what happens to every request before it is routed and after it is answered. Its order is
// a promise of the contract: Host, then cross-origin, then 404 and 405; operation goes on with 401,
// 413, 415 and 422.
func (s *Server) edge(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		startedAt := s.now()
		incoming := asSent(c.Request())
		id := requestID(incoming.Header.Values("X-Request-Id"))
		header := c.Response().Header()
		header.Set("X-Request-Id", id)
		header.Set("X-Content-Type-Options", "nosniff")
		header.Set("Cache-Control", "no-store") // the documentation pages set their own
		err := s.guarded(c, incoming, next)
		if err != nil {
			s.fail(c, err)
		}
		s.logRequest(c, incoming, id, s.now().Sub(startedAt), err)
		return nil
	}
}

// forRouting gives HEAD the way of GET (the HTTP server leaves the body out), reads percent-encoded
// letters of the path, and keeps OPTIONS from the router. Paths are matched exactly otherwise: a
// slash too many is another path, and not found.
func forRouting(r *http.Request) *http.Request {
	method := r.Method
	switch method {
	case http.MethodHead:
		method = http.MethodGet
	case http.MethodOptions:
		method = routedAsUnknown
	}
	if method == r.Method && r.URL.RawPath == "" && r.URL.Path != "" {
		return r
	}
	// The HTTP server keeps looking at the original, and so do the checks and the log.
	changed := r.WithContext(context.WithValue(r.Context(), asSentKey{}, r))
	changed.Method = method
	target := *r.URL
	target.RawPath = routable(target.RawPath)
	if target.Path == "" {
		target.Path = "/"
	}
	changed.URL = &target
	return changed
}

// stillEscaped writes the two characters that would change where a segment ends or how it is read.
var stillEscaped = strings.NewReplacer("%", "%25", "/", "%2F")

// routable decodes an escaped path as far as its segments stay what they are. Without an encoded
// slash nothing is left to escape, and the router may take the decoded path: the answer is empty.
// With one, only it and the percent sign stay escaped, so that a literal segment is found whatever
// its writing, and the value of a path parameter is decoded once, by whoever reads it.
func routable(escaped string) string {
	if !strings.Contains(strings.ToLower(escaped), "%2f") {
		return ""
	}
	segments := strings.Split(escaped, "/")
	for i, segment := range segments {
		decoded, err := url.PathUnescape(segment)
		if err != nil { // the HTTP server has read it already
			return escaped
		}
		segments[i] = stillEscaped.Replace(decoded)
	}
	return strings.Join(segments, "/")
}

// pathValues are the path parameters of a routed request, each decoded once.
func pathValues(c echo.Context) map[string]string {
	names := c.ParamNames()
	if len(names) == 0 {
		return nil
	}
	values := make(map[string]string, len(names))
	for _, name := range names {
		value := c.Param(name)
		if c.Request().URL.RawPath != "" { // routed in the form that routable gives it
			if decoded, err := url.PathUnescape(value); err == nil {
				value = decoded
			}
		}
		values[name] = value
	}
	return values
}

// asSentKey is the key of the original of a request that forRouting changed.
type asSentKey struct{}

// asSent returns the request as the client sent it.
func asSent(r *http.Request) *http.Request {
	if original, changed := r.Context().Value(asSentKey{}).(*http.Request); changed {
		return original
	}
	return r
}

// guarded checks what holds for every path and turns a panic into an error.
func (s *Server) guarded(c echo.Context, incoming *http.Request, next echo.HandlerFunc) (err error) {
	defer func() {
		switch value := recover(); value {
		case nil:
		case http.ErrAbortHandler:
			panic(value) // the HTTP server knows it and closes the connection
		default:
			err = newPanicError(value)
		}
	}()
	if !isProbe(incoming.URL.Path) && !s.hosts.allows(incoming.Host) && !hasNoHost(incoming) {
		return &problem{status: http.StatusMisdirectedRequest, detail: "Host not allowed"}
	}
	if err := s.origins.check(incoming); err != nil {
		return err
	}
	if s.origins.headers(incoming, c.Response().Header()) {
		return c.NoContent(http.StatusNoContent)
	}
	if strings.Contains(echo.GetPath(c.Request()), "//") {
		return echo.ErrNotFound // the router would take nothing as the value of a parameter
	}
	return next(c)
}

// isProbe tells the paths that orchestrators ask: by address, by a name of their own, and with
// whatever query they like.
func isProbe(path string) bool {
	switch path {
	case "/health", "/ready", "/api/system/health", "/api/system/health/ready":
		return true
	default:
		return false
	}
}

// hasNoHost: HTTP/1.0 has no Host header. No browser speaks it, and browsers are what the check is
// about.
func hasNoHost(r *http.Request) bool { return r.Host == "" && !r.ProtoAtLeast(1, 1) }

// panicError is a panic turned into an error.
type panicError struct {
	value any
	stack []byte
}

func newPanicError(value any) error { return &panicError{value: value, stack: debug.Stack()} }

func (e *panicError) Error() string { return fmt.Sprintf("panic: %v", e.value) }

// fail answers with an error, unless the answer has begun already: then the connection broke while
// it was written.
func (s *Server) fail(c echo.Context, err error) {
	if c.Response().Committed {
		return
	}
	if writeErr := toProblem(c, err).write(c); writeErr != nil && !c.Response().Committed {
		c.Response().WriteHeader(http.StatusInternalServerError)
	}
}

// logRequest writes the one line of the request. The query is left out: clients put secrets there.
func (s *Server) logRequest(c echo.Context, r *http.Request, id string, took time.Duration, err error) {
	status := c.Response().Status
	level := slog.LevelInfo
	switch {
	case status >= 500 && err != nil && !isProblemOfClient(err):
		level = slog.LevelError
		if status == http.StatusServiceUnavailable {
			level = slog.LevelWarn
		}
	case status < 400 && (r.Method == http.MethodGet || r.Method == http.MethodHead):
		level = slog.LevelDebug // dashboards and probes ask all the time
	}
	ctx := r.Context()
	if !s.log.Enabled(ctx, level) {
		return
	}
	attrs := make([]slog.Attr, 0, 10)
	attrs = append(attrs,
		slog.String("request_id", id),
		slog.String("method", shorten(r.Method)),
		slog.String("path", shortenTo(r.URL.Path, 200)),
		slog.Int("status", status),
		slog.Float64("duration_ms", float64(took.Microseconds())/1000),
		slog.Int64("bytes", c.Response().Size),
		slog.String("client", s.proxies.clientIP(r)),
	)
	if level > slog.LevelInfo {
		attrs = append(attrs, slog.Any("error", err))
		if panicked, ok := errors.AsType[*panicError](err); ok {
			attrs = append(attrs, slog.String("stack", string(panicked.stack)))
		}
	}
	s.log.LogAttrs(ctx, level, "request", attrs...)
}

// isProblemOfClient: the client left before it was answered.
func isProblemOfClient(err error) bool { return errors.Is(err, context.Canceled) }
