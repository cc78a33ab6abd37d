package live

import (
	"context"
	"net/http"
	"time"
)

const (
	// heartbeat is how often a comment is sent when nothing else is: proxies end what is silent for long.
	heartbeat = 15 * time.Second
	// writeTimeout is how long a client may take to take what is written at once.
	writeTimeout = 10 * time.Second
)

// What is no frame.
var (
	comment = []byte(": still here\n\n")
	// goodbye lets clients come back soon when the server stops: mostly it is started again.
	goodbye = []byte("retry: 1000\n: the server stops\n\n")
)

// Stream takes in a client behind a position, or from now on when that is empty. The function that it returns writes the stream until
// the client hangs up, done is closed, the hub is closed, or ctx ends; it must be called.
func (h *Hub) Stream(ctx context.Context, after string, done <-chan struct{}) (func(http.ResponseWriter) error, error) {
	s, err := h.Join(after, Wants{Changes: true, Status: true})
	if err != nil {
		return nil, err
	}
	return func(w http.ResponseWriter) error {
		defer s.Leave()
		s.write(ctx, &writer{ResponseWriter: w, control: http.NewResponseController(w)}, done)
		return nil
	}, nil
}

// write tells everything until the end. A client that is gone is no error.
func (s *Subscriber) write(ctx context.Context, w *writer, done <-chan struct{}) {
	w.begin(s.beginning())
	silent := time.NewTimer(heartbeat)
	defer silent.Stop()
	for w.err == nil {
		b, more := s.poll(ctx)
		if !b.isEmpty() {
			w.batch(b)
			silent.Reset(heartbeat)
		}
		select { // the end comes before more
		case <-ctx.Done():
			return
		case <-done:
			return
		case <-s.hub.closed:
			w.flush(goodbye)
			return
		default:
		}
		select {
		case <-ctx.Done():
		case <-done:
		case <-s.hub.closed:
		case <-more:
		case <-silent.C:
			w.flush(comment)
			silent.Reset(heartbeat)
		}
	}
}

// closedChannel never makes anybody wait.
var closedChannel = func() <-chan struct{} { c := make(chan struct{}); close(c); return c }()

// beginning is sent first: how soon to come back, and the position from which a client goes on that is cut off before the first frame.
func (s *Subscriber) beginning() []byte {
	if s.resync != "" || s.unsure {
		return []byte("retry: 2000\n\n")
	}
	return []byte("retry: 2000\nid: " + s.at.String() + "\n\n")
}

// writer writes with a deadline, and keeps the first error.
type writer struct {
	http.ResponseWriter
	control *http.ResponseController
	hurried time.Time // when the deadline was set
	err     error
}

func (w *writer) begin(first []byte) {
	// The deadline for reading the request is none of ours: the HTTP server lifts it once it has the request.
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no") // nginx would wait for more
	w.WriteHeader(http.StatusOK)
	w.flush(first)
}

func (w *writer) batch(b batch) {
	w.hurry()
	if b.status != nil {
		w.add(b.status.sse)
	}
	if b.lagged > 0 {
		w.add(laggedFrame(b.lagged))
	}
	for _, f := range b.frames {
		w.add(f.sse)
	}
	w.push()
}

func (w *writer) add(text []byte) {
	if w.err == nil && len(text) > 0 {
		_, w.err = w.Write(text)
	}
}

// flush sends a text by itself.
func (w *writer) flush(text []byte) {
	w.hurry()
	w.add(text)
	w.push()
}

// hurry gives what is written next its time, a second more or less: setting it each time would show among 500 clients.
func (w *writer) hurry() {
	if now := time.Now(); now.Sub(w.hurried) > time.Second {
		w.hurried = now
		_ = w.control.SetWriteDeadline(now.Add(writeTimeout)) // where it cannot be set there is none
	}
}

func (w *writer) push() {
	if w.err == nil {
		w.err = w.control.Flush()
	}
}
