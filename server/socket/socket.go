// Package socket speaks the two WebSockets of the server that this one replaces: /ws/events and /ws/system. What they tell comes from
// the same hub as the stream of server-sent events, which is the better way for whoever writes a new client: it resumes.
package socket

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/coder/websocket"

	"hsi.home.arpa/server/live"
)

const (
	// Subprotocol is what is answered to clients that offer any: a key is sent as one, and never answered.
	Subprotocol = "hsi"
	// keyPrefix begins the subprotocol that carries a key.
	keyPrefix = "api-key."

	// pingEvery is how often the client is asked for a sign of life, idleTimeout how long it may be silent.
	pingEvery, idleTimeout = 30 * time.Second, 300 * time.Second
	// writeTimeout is how long a client may take to take one message.
	writeTimeout = 10 * time.Second
	// maxMessage bounds a message of a client.
	maxMessage = 64 << 10
)

// ping and pong are messages, not frames of the protocol: that is how the old clients know them.
var (
	ping = []byte(`{"type":"ping"}`)
	pong = []byte(`{"type":"pong"}`)
)

// Key returns the API key that a request sends as a subprotocol.
func Key(r *http.Request) (key string, sent bool) {
	for _, line := range r.Header.Values("Sec-Websocket-Protocol") {
		for offered := range strings.SplitSeq(line, ",") {
			if key, sent := strings.CutPrefix(strings.TrimSpace(offered), keyPrefix); sent {
				return key, true
			}
		}
	}
	return "", false
}

// IsUpgrade tells whether a request asks for a WebSocket in the way that Serve can answer.
func IsUpgrade(r *http.Request) bool {
	return r.Method == http.MethodGet && r.ProtoAtLeast(1, 1) && hasToken(r.Header, "Connection", "upgrade") &&
		hasToken(r.Header, "Upgrade", "websocket") && r.Header.Get("Sec-Websocket-Version") == "13" &&
		len(r.Header.Values("Sec-Websocket-Key")) == 1 && len(r.Header.Get("Sec-Websocket-Key")) == 24
}

func hasToken(header http.Header, name, token string) bool {
	for _, line := range header.Values(name) {
		for value := range strings.SplitSeq(line, ",") {
			if strings.EqualFold(strings.TrimSpace(value), token) {
				return true
			}
		}
	}
	return false
}

// Sockets serve WebSockets from a hub.
type Sockets struct{ hub *live.Hub }

// New makes them.
func New(hub *live.Hub) *Sockets { return &Sockets{hub} }

// Events sends each new event until either side ends the connection or done is closed. Origin and key have been checked. An error
// comes before the upgrade: nothing was answered yet.
func (s *Sockets) Events(w http.ResponseWriter, r *http.Request, done <-chan struct{}) error {
	return s.serve(w, r, live.Wants{Changes: true}, done)
}

// System sends the system's status at once and every 5 s, and the changes of services.
func (s *Sockets) System(w http.ResponseWriter, r *http.Request, done <-chan struct{}) error {
	return s.serve(w, r, live.Wants{Status: true, Services: true}, done)
}

func (s *Sockets) serve(w http.ResponseWriter, r *http.Request, wants live.Wants, done <-chan struct{}) error {
	subscriber, err := s.hub.Join("", wants)
	if err != nil {
		return err
	}
	defer subscriber.Leave()
	conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{
		Subprotocols: []string{Subprotocol}, InsecureSkipVerify: true, // the edge has checked it: it knows the trusted ones
		CompressionMode: websocket.CompressionDisabled, // it would need memory for each client
	})
	if err != nil {
		return nil // it has answered, or the client is gone
	}
	conn.SetReadLimit(maxMessage)
	// The request's own context ends in ways of its own once the connection is taken over.
	ctx, cancel := context.WithCancel(context.WithoutCancel(r.Context()))
	reading := make(chan struct{})
	c := &connection{conn: conn, heard: make(chan struct{}, 1)}
	go func() { defer close(reading); c.read(ctx) }()
	code, reason := c.write(ctx, subscriber, s.hub.Closed(), done, reading)
	if code == 0 {
		_ = conn.CloseNow() // it is broken
	} else {
		_ = conn.Close(code, reason) // the client may be gone
	}
	cancel()
	<-reading
	return nil
}

// connection is one WebSocket.
type connection struct {
	conn  *websocket.Conn
	heard chan struct{} // has a value when a message has come
}

// read answers messages until the connection ends.
func (c *connection) read(ctx context.Context) {
	for {
		_, message, err := c.conn.Read(ctx)
		if err != nil {
			return
		}
		select {
		case c.heard <- struct{}{}:
		default:
		}
		if reply := answer(message); reply != nil && c.send(ctx, reply) != nil {
			return
		}
	}
}

// write sends what there is to tell until the end, and returns how to close; 0 when there is nobody to tell.
func (c *connection) write(ctx context.Context, s *live.Subscriber, closed, done, reading <-chan struct{}) (websocket.StatusCode, string) {
	pings, idle := time.NewTicker(pingEvery), time.NewTimer(idleTimeout)
	defer pings.Stop()
	defer idle.Stop()
	for {
		messages, more := s.Messages(ctx)
		for _, message := range messages {
			if c.send(ctx, message) != nil {
				return 0, ""
			}
		}
		select { // the end comes before more
		case <-closed:
			return websocket.StatusGoingAway, "Server stops"
		case <-done:
			return websocket.StatusPolicyViolation, "Session ended"
		default:
		}
		select {
		case <-closed:
		case <-done:
		case <-reading:
			return 0, ""
		case <-idle.C:
			return websocket.StatusNormalClosure, "Idle timeout"
		case <-c.heard:
			idle.Reset(idleTimeout)
		case <-pings.C:
			if c.send(ctx, ping) != nil {
				return 0, ""
			}
		case <-more:
		}
	}
}

func (c *connection) send(ctx context.Context, message []byte) error {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	return c.conn.Write(ctx, websocket.MessageText, message)
}
