package server

import (
	"context"
	"net/http"

	"github.com/labstack/echo/v4"

	"hsi.home.arpa/gen"
	"hsi.home.arpa/server/socket"
)

// liveStreams is the hub.
type liveStreams interface {
	// Stream takes in a client behind a position, or from now on when that is empty. What it
	// returns writes the stream until the client, the session or the hub ends. The error is a
	// live.ErrFull or a store.ErrUnavailable.
	Stream(
		ctx context.Context, after string, done <-chan struct{},
	) (func(http.ResponseWriter) error, error)
	// Close ends all streams and sockets at once.
	Close()
}

// liveSockets are the two WebSockets. An error comes before the upgrade.
type liveSockets interface {
	Events(w http.ResponseWriter, r *http.Request, done <-chan struct{}) error
	System(w http.ResponseWriter, r *http.Request, done <-chan struct{}) error
}

// streaming are the operations whose answer has no end of its own.
var streaming = map[string]bool{"streamEvents": true}

// StreamEvents follows what changes. Who may is decided before, as for all operations.
func (s *Server) StreamEvents(
	ctx context.Context, request gen.StreamEventsRequestObject,
) (gen.StreamEventsResponseObject, error) {
	after := ""
	switch {
	case request.Params.LastEventID != nil && *request.Params.LastEventID != "":
		after = *request.Params.LastEventID
	case request.Params.After != nil:
		after = *request.Params.After
	}
	if isHead, _ := ctx.Value(headKey{}).(bool); isHead {
		return stream(func(w http.ResponseWriter) error {
			w.Header().Set("Content-Type", "text/event-stream")
			w.WriteHeader(http.StatusOK)
			return nil
		}), nil
	}
	allowed, release := s.whileAllowed(ctx)
	context.AfterFunc(ctx, release) // the request ends after the stream
	write, err := s.options.Live.Stream(ctx, after, allowed.Done())
	if err != nil {
		release()
		return nil, err
	}
	return stream(write), nil
}

// headKey is the key of whether a request for a stream wants its headers only.
type headKey struct{}

// stream is an answer that writes itself.
type stream func(http.ResponseWriter) error

// VisitStreamEventsResponse implements gen.StreamEventsResponseObject.
func (write stream) VisitStreamEventsResponse(w http.ResponseWriter) error { return write(w) }

// routeSockets adds the two WebSockets. An upgrade is no operation of the contract, which tells of
// them in words.
func (s *Server) routeSockets(e *echo.Echo) {
	type serve = func(http.ResponseWriter, *http.Request, <-chan struct{}) error
	for path, serve := range map[string]serve{
		"/ws/events": s.options.Sockets.Events,
		"/ws/system": s.options.Sockets.System,
	} {
		e.GET(path, func(c echo.Context) error {
			r := asSent(c.Request())
			from, err := s.admitSocket(r, c.Response().Header().Get("X-Request-Id"))
			if err != nil {
				return err
			}
			if !socket.IsUpgrade(r) {
				return &problem{
					status: http.StatusUpgradeRequired, detail: "This path takes WebSocket upgrades",
					header: "Upgrade", value: "websocket",
				}
			}
			allowed, release := s.whileAllowed(withRequester(r.Context(), from))
			defer release()
			return serve(c.Response(), r, allowed.Done())
		})
	}
}

// admitSocket is admit for an upgrade. It refuses pages of other origins, whose upgrades browsers
// send like any other, and takes the key from the subprotocol too.
func (s *Server) admitSocket(r *http.Request, requestID string) (requester, error) {
	if !s.origins.mayUpgrade(r) {
		return requester{}, &problem{status: http.StatusForbidden, detail: "Cross-origin request refused"}
	}
	if key, sent := socket.Key(r); sent {
		// The key in the place where it is looked for; the request itself stays as it is.
		original := r
		r = original.Clone(original.Context())
		r.Header.Add("X-Api-Key", key)
	}
	return s.admitInTime(r, requestID, access{private: true, byCookie: true, changes: true})
}
