package server

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/labstack/echo/v4"

	"hsi.home.arpa/gen"
)

// inMemory are the operations that answer from memory. They need no deadline, because they wait for
// nothing but a kept figure, which has its own.
var inMemory = map[string]bool{
	"getLiveness": true, "getReadinessProbe": true, "getHealth": true, "getReadiness": true,
	"getGPUStats": true, "getSeverity": true, "getPipelineLatency": true,
	"getSystemConfig": true, "getStats": true, "getStorage": true, "getTelemetry": true,
}

// longRunning are the operations that bring a deadline of their own and may run for minutes.
var longRunning = map[string]bool{"runCleanup": true, "exportEvents": true}

// timeouts are the operations that may wait longer for the database than Options.RequestTimeout.
var timeouts = map[string]time.Duration{"requeueDeadLetters": RequeueTimeout, "reviewEvents": RequeueTimeout}

// operation is what the edge does for one operation of the contract.
type operation struct {
	*validator
	access
	probe    bool
	needsKey bool
	inMemory bool
	isLong   bool
	isStream bool
	// looksAtRequester: the handler wants to know who asks, or what the client knows already.
	looksAtRequester bool
	timeout          time.Duration // zero: the usual one
	// shadowed are literal paths that fit the path's parameters too, and their methods, without
	// this operation's: /things/{thing_id} fits /things/newest. The literal path is meant.
	shadowed map[string]string
}

// operations reads the contract.
func operations(doc *openapi3.T) (map[string]*operation, error) {
	found := map[string]*operation{}
	for path, item := range doc.Paths.Map() {
		for method, specified := range item.Operations() {
			v, err := newValidator(doc, path, method, item, specified)
			if err != nil {
				return nil, fmt.Errorf("read the contract: %w", err)
			}
			id, needsKey := specified.OperationID, specified.Security != nil && len(*specified.Security) > 0
			found[id] = &operation{
				validator: v,
				probe:     isProbe(path),
				needsKey:  needsKey,
				inMemory:  inMemory[id],
				isLong:    longRunning[id],
				isStream:  streaming[id],
				timeout:   timeouts[id],
				shadowed:  shadowedBy(doc, path, method),
				access:    access{private: isPrivate(path), byCookie: takesCookie(specified), changes: method != http.MethodGet},

				looksAtRequester: needsKey || specified.Responses.Status(http.StatusNotModified) != nil,
			}
		}
	}
	return found, nil
}

// takesCookie tells whether a session does instead of the key.
func takesCookie(operation *openapi3.Operation) bool {
	if operation.Security == nil {
		return false
	}
	return slices.ContainsFunc(*operation.Security, func(alternative openapi3.SecurityRequirement) bool {
		_, found := alternative["SessionCookie"]
		return found
	})
}

// admitInTime is admit with a deadline for the look at the sessions.
func (s *Server) admitInTime(r *http.Request, requestID string, want access) (requester, error) {
	ctx, cancel := context.WithTimeout(r.Context(), s.options.RequestTimeout)
	defer cancel()
	return s.admit(ctx, r, requestID, want)
}

// shadowedBy lists the literal paths that fit a path with parameters and have other methods, with
// the value of Allow for each.
func shadowedBy(doc *openapi3.T, path, method string) map[string]string {
	if !strings.Contains(path, "{") {
		return nil
	}
	shadowed := map[string]string{}
	for literal, item := range doc.Paths.Map() {
		if !strings.Contains(literal, "{") && fits(path, literal) && item.GetOperation(method) == nil {
			methods := slices.Sorted(maps.Keys(item.Operations()))
			shadowed[literal] = allowHeader(methods)
		}
	}
	return shadowed
}

// fits tells whether a path is one of those that a path with parameters stands for.
func fits(template, path string) bool {
	want, got := strings.Split(template, "/"), strings.Split(path, "/")
	return slices.EqualFunc(want, got, func(want, got string) bool {
		return want == got || strings.HasPrefix(want, "{") && got != ""
	})
}

// pathParameter is a parameter in a path of the contract.
var pathParameter = regexp.MustCompile(`\{([^}]+)\}`)

// endPathParameters keeps the router from letting a parameter at the end of a path swallow what
// follows the next slash: that is another path, and not found. Where the contract has longer paths
// the router stops at the slash anyway.
func endPathParameters(e *echo.Echo, doc *openapi3.T) {
	nameless := func(path string) string { return pathParameter.ReplaceAllString(path, "{}") }
	for path := range doc.Paths.Map() {
		goesOn := func(other string) bool {
			return strings.HasPrefix(nameless(other), nameless(path)+"/")
		}
		if strings.HasSuffix(path, "}") && !slices.ContainsFunc(doc.Paths.Keys(), goesOn) {
			e.RouteNotFound(pathParameter.ReplaceAllString(path, ":$1")+"/*", echo.NotFoundHandler)
		}
	}
}

// middleware goes on where edge ends: 401, then 413 and 415, then 422, then the handler with its
// deadline.
func (s *Server) middleware(op *operation) echo.MiddlewareFunc {
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		if op.probe {
			return next
		}
		return func(c echo.Context) error {
			r := c.Request()
			if methods, literal := op.shadowed[echo.GetPath(r)]; literal {
				return errMethodNotAllowed(methods)
			}
			from := requester{actor: anonymous}
			requestID := c.Response().Header().Get("X-Request-Id")
			if op.needsKey {
				var err error
				if from, err = s.admitInTime(asSent(r), requestID, op.access); err != nil {
					return err
				}
			}
			if err := op.check(r, pathValues(c)); err != nil {
				return err
			}
			ctx := r.Context()
			if op.looksAtRequester {
				from.requestID, from.ifNoneMatch = requestID, strings.Join(r.Header.Values("If-None-Match"), ",")
				from.request = asSent(r)
				ctx = withRequester(ctx, from)
			}
			switch {
			case op.isStream:
				ctx = context.WithValue(ctx, headKey{}, asSent(r).Method == http.MethodHead)
			case op.isLong:
				liftDeadlines(c.Response(), s.now())
			case !op.inMemory:
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, max(op.timeout, s.options.RequestTimeout))
				defer cancel()
			}
			if ctx != r.Context() {
				c.SetRequest(r.WithContext(ctx))
			}
			return next(c)
		}
	}
}

// liftDeadlines gives the connection of a long request the time that the request may take. Where
// that is not possible, the request runs all the same and only its answer may be cut off.
func liftDeadlines(w http.ResponseWriter, now time.Time) {
	control := http.NewResponseController(w)
	until := now.Add(CleanupTimeout + WriteTimeout)
	_ = control.SetReadDeadline(until)
	_ = control.SetWriteDeadline(until)
}

// within is the strict middleware around every handler: no request waits longer than its deadline,
// also when what it waits for ignores its context, and a handler without an answer is a fault.
func within(next gen.StrictHandlerFunc, _ string) gen.StrictHandlerFunc {
	return func(c echo.Context, request any) (any, error) {
		response, err := call(next, c, request)
		if err == nil && response == nil {
			return nil, errNoResponse
		}
		return response, err
	}
}

// call runs a handler that has a deadline in a goroutine of its own and leaves it behind when the
// deadline passes. What is left behind is bounded by the connections of the pool that it waits on.
func call(next gen.StrictHandlerFunc, c echo.Context, request any) (any, error) {
	ctx := c.Request().Context()
	if _, bounded := ctx.Deadline(); !bounded {
		return next(c, request)
	}
	type answer struct {
		response any
		err      error
	}
	done := make(chan answer, 1)
	own := &detachedContext{Context: c, request: c.Request()}
	go func() {
		var a answer
		defer func() {
			if value := recover(); value != nil {
				a.err = newPanicError(value)
			}
			done <- a
		}()
		a.response, a.err = next(own, request)
		if file, ok := a.response.(io.Closer); ok && ctx.Err() != nil { // nobody takes it any more
			_ = file.Close() // only read
			a.response, a.err = nil, context.Cause(ctx)
		}
	}()
	select {
	case a := <-done:
		return a.response, a.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// detachedContext is what a handler in a goroutine of its own may touch: the framework gives the
// real context to another request as soon as this one is answered.
type detachedContext struct {
	echo.Context
	request *http.Request
}

func (d *detachedContext) Request() *http.Request { return d.request }
