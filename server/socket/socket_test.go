package socket_test

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"hsi.home.arpa/server/health"
	"hsi.home.arpa/server/live"
	"hsi.home.arpa/server/live/livetest"
	"hsi.home.arpa/server/socket"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a server of sockets on the clock of a test.
type world struct {
	t       *testing.T
	source  *livetest.Source
	hub     *live.Hub
	client  *http.Client
	session chan struct{}
}

func bubble(t *testing.T, change func(*live.Options), test func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, source: livetest.NewSource("A person"), session: make(chan struct{})}
		options := w.source.Options()
		if change != nil {
			change(&options)
		}
		w.hub = live.New(options)
		sockets := socket.New(w.hub)
		mux := http.NewServeMux()
		mux.HandleFunc("/ws/events", func(rw http.ResponseWriter, r *http.Request) { _ = sockets.Events(rw, r, w.session) })
		mux.HandleFunc("/ws/system", func(rw http.ResponseWriter, r *http.Request) { _ = sockets.System(rw, r, w.session) })
		server := &http.Server{Handler: mux, ReadTimeout: 15 * time.Second, WriteTimeout: 30 * time.Second}
		listener := livetest.NewListener()
		w.client = &http.Client{Transport: &http.Transport{DialContext: listener.Dial}}
		ctx, stop := context.WithCancel(t.Context())
		var group sync.WaitGroup
		group.Go(func() { _ = w.hub.Run(ctx) })
		group.Go(func() { _ = server.Serve(listener) })
		defer func() {
			w.hub.Close()
			stop()
			require.NoError(t, server.Close())
			group.Wait()
		}()
		synctest.Wait()
		test(w)
	})
}

// peer is a client that answers nothing by itself.
type peer struct {
	conn *websocket.Conn

	mu   sync.Mutex
	got  []string // guarded by mu
	err  error    // guarded by mu; how it ended
	done chan struct{}
}

func (w *world) dial(t *testing.T, path string, protocols ...string) *peer {
	t.Helper()
	conn, response, err := websocket.Dial(t.Context(), "ws://localhost"+path, &websocket.DialOptions{HTTPClient: w.client, Subprotocols: protocols}) //nolint:bodyclose // an upgrade has none
	require.NoError(t, err)
	require.NotContains(t, response.Header.Get("Sec-Websocket-Protocol"), "api-key")
	p := &peer{conn: conn, done: make(chan struct{})}
	go func() {
		defer close(p.done)
		for {
			_, message, err := conn.Read(t.Context())
			p.mu.Lock()
			if err != nil {
				p.err = err
				p.mu.Unlock()
				return
			}
			p.got = append(p.got, string(message))
			p.mu.Unlock()
		}
	}()
	t.Cleanup(func() { _ = conn.CloseNow() })
	synctest.Wait()
	return p
}

// take returns what has come since the last time.
func (p *peer) take() []string {
	synctest.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	got := p.got
	p.got = nil
	return got
}

func (p *peer) send(t *testing.T, message string) []string {
	t.Helper()
	require.NoError(t, p.conn.Write(t.Context(), websocket.MessageText, []byte(message)))
	return p.take()
}

// end returns how the connection was closed.
func (p *peer) end(t *testing.T) (websocket.StatusCode, string) {
	t.Helper()
	<-p.done
	var closed websocket.CloseError
	require.ErrorAs(t, p.err, &closed)
	return closed.Code, closed.Reason
}

func TestEvents(t *testing.T) {
	t.Parallel()
	bubble(t, nil, func(w *world) {
		t := w.t
		w.source.Add(1) // before it came
		p := w.dial(t, "/ws/events")
		w.source.Add(2)
		got := p.take()
		require.Len(t, got, 2)
		require.JSONEq(t, `{"type":"event","data":{"id":2,"event_id":2,"batch_id":null,"camera_id":"front","risk_score":null,
			"risk_level":null,"summary":"A person","reasoning":null,"started_at":"2025-12-23T10:30:00Z"}}`, got[0])
		require.Contains(t, got[1], `"id":3`)
		require.NoError(t, p.conn.Close(websocket.StatusNormalClosure, ""))
	})
}

func TestSystem(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	state := health.Healthy
	bubble(t, func(o *live.Options) {
		o.Status.Health = func() health.Report {
			mu.Lock()
			defer mu.Unlock()
			return health.Report{State: state, Services: health.Services{Redis: health.Service{State: state}}}
		}
	}, func(w *world) {
		t := w.t
		p := w.dial(t, "/ws/system")
		got := p.take()
		require.Len(t, got, 1)
		require.JSONEq(t, `{"type":"system_status","data":{
			"gpu":{"utilization":null,"memory_used":null,"memory_total":null,"temperature":null,"inference_fps":null},
			"cameras":{"active":null,"total":null},"queue":{"pending":5,"processing":2},"health":"healthy"},
			"timestamp":"2000-01-01T00:00:00Z"}`, got[0])
		<-time.After(16500 * time.Millisecond)
		w.source.Add(5) // not told here
		require.Len(t, p.take(), 3)
		mu.Lock()
		state = health.Unhealthy
		mu.Unlock()
		<-time.After(time.Second)
		got = p.take()
		require.Len(t, got, 2)
		require.Contains(t, got[0], `"health":"unhealthy"`)
		require.JSONEq(t, `{"type":"service_status","data":{"service":"redis","status":"unhealthy","message":"Service does not answer as it should"},
			"timestamp":"2000-01-01T00:00:17Z"}`, got[1])
		require.NoError(t, p.conn.Close(websocket.StatusNormalClosure, ""))
	})
}

func TestMessages(t *testing.T) {
	t.Parallel()
	bubble(t, nil, func(w *world) {
		t := w.t
		p := w.dial(t, "/ws/events")
		for message, want := range map[string]string{
			"ping":            `{"type":"pong"}`,
			`{"type":"ping"}`: `{"type":"pong"}`,
			`{"type":"pong"}`: "",
			`{"type":"subscribe","channels":["events"]}`:   "",
			`{"type":"unsubscribe","channels":["events"]}`: "",
			`hello`:                                 "invalid_json",
			``:                                      "invalid_json",
			`[]`:                                    "invalid_message_format",
			`null`:                                  "invalid_message_format",
			`{}`:                                    "invalid_message_format",
			`{"type":7}`:                            "invalid_message_format",
			`{"type":"shout"}`:                      "unknown_message_type",
			`{"type":"subscribe"}`:                  "validation_error",
			`{"type":"subscribe","channels":[]}`:    "validation_error",
			`{"type":"subscribe","channels":"all"}`: "validation_error",
			`{"type":"subscribe","channels":[1,"a"]}`:                                         "validation_error",
			`{"type":"subscribe","channels":["1","2","3","4","5","6","7","8","9","10","11"]}`: "validation_error",
		} {
			got := p.send(t, message)
			if want == "" {
				require.Empty(t, got, message)
				continue
			}
			require.Len(t, got, 1, message)
			if strings.HasPrefix(want, "{") {
				require.JSONEq(t, want, got[0])
				continue
			}
			var refused struct {
				Type, Error, Message string
				Details              map[string]any
			}
			require.NoError(t, json.Unmarshal([]byte(got[0]), &refused))
			require.Equal(t, "error", refused.Type)
			require.Equal(t, want, refused.Error, message)
			require.NotEmpty(t, refused.Message)
			key := map[string]string{"invalid_json": "raw_data_preview", "unknown_message_type": "supported_types"}[want]
			if key == "" {
				key = "validation_errors"
			}
			require.Contains(t, refused.Details, key)
		}
		got := p.send(t, strings.Repeat("ü", 5000))
		require.Less(t, len(got[0]), 400, "what cannot be read is not sent back whole")
		require.Equal(t, []string{`{"type":"pong"}`}, p.send(t, " ping\n"), "the connection stays")
		require.NoError(t, p.conn.Close(websocket.StatusNormalClosure, ""))
	})
}

// TestIdle: the server asks each 30 s, and closes when the client says nothing for 300 s.
func TestIdle(t *testing.T) {
	t.Parallel()
	bubble(t, nil, func(w *world) {
		t := w.t
		begin := time.Now()
		p := w.dial(t, "/ws/events")
		<-time.After(200 * time.Second)
		require.Len(t, p.take(), 6)
		require.Empty(t, p.send(t, `{"type":"pong"}`))
		code, reason := p.end(t)
		require.Equal(t, websocket.StatusNormalClosure, code)
		require.Equal(t, "Idle timeout", reason)
		require.Equal(t, 500*time.Second, time.Since(begin))
		for _, message := range p.take() {
			require.JSONEq(t, `{"type":"ping"}`, message)
		}
	})
}

func TestEnd(t *testing.T) {
	t.Parallel()
	bubble(t, nil, func(w *world) {
		t := w.t
		p := w.dial(t, "/ws/events")
		close(w.session)
		code, _ := p.end(t)
		require.Equal(t, websocket.StatusPolicyViolation, code)
	})
	bubble(t, nil, func(w *world) {
		t := w.t
		p := w.dial(t, "/ws/system")
		w.hub.Close()
		code, _ := p.end(t)
		require.Equal(t, websocket.StatusGoingAway, code)
	})
	bubble(t, func(o *live.Options) { o.MaxClients = 1 }, func(w *world) {
		t := w.t
		p := w.dial(t, "/ws/system")
		require.NoError(t, p.conn.CloseNow()) // without a word
		synctest.Wait()
		_ = w.dial(t, "/ws/system").conn.CloseNow() // there was room
	})
	bubble(t, nil, func(w *world) {
		t := w.t // a message that is too large
		p := w.dial(t, "/ws/events")
		_ = p.conn.Write(t.Context(), websocket.MessageText, make([]byte, 70<<10)) // the server may hang up first
		code, _ := p.end(t)
		require.Equal(t, websocket.StatusMessageTooBig, code)
	})
}

// TestKey: it is read from a subprotocol, and another one is answered.
func TestKey(t *testing.T) {
	t.Parallel()
	bubble(t, nil, func(w *world) {
		t := w.t
		for _, offered := range [][]string{{"api-key.secret", socket.Subprotocol}, {"api-key.secret"}, nil} {
			p := w.dial(t, "/ws/events", offered...)
			want := ""
			if len(offered) == 2 {
				want = socket.Subprotocol
			}
			require.Equal(t, want, p.conn.Subprotocol())
			require.NoError(t, p.conn.Close(websocket.StatusNormalClosure, ""))
		}
	})
	for header, want := range map[string]string{"api-key.secret, hsi": "secret", "hsi,api-key.s.t": "s.t", "api-key.": ""} {
		key, sent := socket.Key(&http.Request{Header: http.Header{"Sec-Websocket-Protocol": {header}}})
		require.True(t, sent, header)
		require.Equal(t, want, key)
	}
	_, sent := socket.Key(&http.Request{Header: http.Header{"Sec-Websocket-Protocol": {"hsi"}}})
	require.False(t, sent)
}
