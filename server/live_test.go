package server

import (
	"bufio"
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/require"

	"hsi.home.arpa/internal/await"
	"hsi.home.arpa/server/live"
	"hsi.home.arpa/server/live/livetest"
	"hsi.home.arpa/server/socket"
)

// upgrade makes a request an upgrade to a WebSocket.
func upgrade(r *http.Request) {
	r.Header.Set("Connection", "keep-alive, Upgrade")
	r.Header.Set("Upgrade", "websocket")
	r.Header.Set("Sec-WebSocket-Version", "13")
	r.Header.Set("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
}

func TestStreamEvents_Position(t *testing.T) {
	t.Parallel()
	s := start(t, newFakes(t))
	for name, test := range map[string]struct{ header, query, want string }{
		"none":         {"", "", ""},
		"header":       {"e-1", "", "e-1"},
		"query":        {"", "?last_event_id=e-2", "e-2"},
		"header first": {"e-1", "?last_event_id=e-2", "e-1"},
		"anything":     {"what a browser was given", "", "what a browser was given"},
	} {
		var change []func(*http.Request)
		if test.header != "" {
			change = append(change, header("Last-Event-ID", test.header))
		}
		got := s.get(t, "/api/events/stream"+test.query, change...).want(t, http.StatusOK)
		require.Equal(t, test.want, got.Header.Get("X-After"), name)
	}
	s.get(t, "/api/events/stream?last_event_id=x").want(t, http.StatusUnprocessableEntity)
	got := s.send(t, http.MethodHead, "/api/events/stream", "").want(t, http.StatusOK)
	require.Equal(t, "text/event-stream", got.Header.Get("Content-Type"))
}

func TestStreamEvents_TooManyClients(t *testing.T) {
	t.Parallel()
	f := newFakes(t)
	f.live = func() error { return live.ErrFull }
	s := start(t, f)
	got := s.get(t, "/api/events/stream").want(t, http.StatusServiceUnavailable)
	require.JSONEq(t, `{"detail":"Too many live clients"}`, string(got.body))
	require.Equal(t, "5", got.Header.Get("Retry-After"))
}

// TestSockets_WhoMay: only upgrades, from no page of another origin, with a key where one is needed; and the key is never told.
func TestSockets_WhoMay(t *testing.T) {
	t.Parallel()
	f := newFakes(t)
	f.live = func() error { return live.ErrFull } // so that no upgrade comes about
	const let = http.StatusServiceUnavailable
	open := start(t, f, func(o *Options) { o.CORSOrigins = []string{"https://home.example.org"} })
	locked := start(t, f, withKeys)
	protocol := func(value string) func(*http.Request) { return header("Sec-WebSocket-Protocol", value) }
	for _, path := range []string{"/ws/events", "/ws/system"} {
		get := func(s *testServer, change ...func(*http.Request)) answer {
			got, err := s.request(t, path, change...)
			require.NoError(t, err)
			require.NotContains(t, got.Header, "Sec-Websocket-Protocol")
			require.NotContains(t, string(got.body), testKey)
			return got
		}
		got := get(open).want(t, http.StatusUpgradeRequired)
		require.Equal(t, "websocket", got.Header.Get("Upgrade"))
		get(open, upgrade).want(t, let)
		get(open, upgrade, header("Sec-WebSocket-Version", "8")).want(t, http.StatusUpgradeRequired)
		get(open, upgrade, host("evil.example.com")).want(t, http.StatusMisdirectedRequest)
		for origin, status := range map[string]int{
			open.url: let, "https://home.example.org": let, "http://evil.example.com": 403, "null": 403, "http://localhost.evil.example.com": 403,
			"http://127.0.0.1:1": 403, "": 403,
		} {
			get(open, upgrade, header("Origin", origin)).want(t, status)
		}
		get(open, upgrade, header("Origin", open.url), func(r *http.Request) { r.Header.Add("Origin", "http://evil.example.com") }).want(t, 403)

		get(locked, upgrade).want(t, http.StatusUnauthorized)
		get(locked).want(t, http.StatusUnauthorized)
		get(locked, upgrade, protocol("api-key.wrong, hsi")).want(t, http.StatusUnauthorized)
		get(locked, upgrade, protocol("api-key."+testKey+", "+socket.Subprotocol)).want(t, let)
		get(locked, upgrade, header("X-API-Key", testKey)).want(t, let)
		get(locked, upgrade, header("X-API-Key", "wrong"), protocol("api-key."+testKey)).want(t, http.StatusUnauthorized)
	}
	require.NotContains(t, f.log.String(), testKey)
	require.NotContains(t, strings.ToLower(f.log.String()), "sec-websocket")
}

// TestLive_ThroughTheEdge: the stream and the sockets of a real hub, over TCP and behind everything that is before a handler.
func TestLive_ThroughTheEdge(t *testing.T) {
	t.Parallel()
	source := livetest.NewSource("A person")
	hub := live.New(source.Options())
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- hub.Run(ctx) }()
	await.True(t, func() bool { return hub.Position() != "" }, "the hub does not start")
	f := newFakes(t)
	s := start(t, f, withKeys, func(o *Options) { o.Live, o.Sockets = hub, socket.New(hub) })

	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url+"/api/events/stream?last_event_id=e-0", http.NoBody)
	require.NoError(t, err)
	request.Header.Set("X-API-Key", testKey)
	response, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(request)
	require.NoError(t, err)
	defer response.Body.Close()
	require.Equal(t, http.StatusOK, response.StatusCode)
	options := &websocket.DialOptions{
		Subprotocols: []string{"api-key." + testKey, socket.Subprotocol}, HTTPHeader: http.Header{"Origin": {s.url}},
	}
	conn, answer, err := websocket.Dial(ctx, "ws"+strings.TrimPrefix(s.url, "http")+"/ws/events", options) //nolint:bodyclose // an upgrade has none
	require.NoError(t, err)
	require.Equal(t, []string{socket.Subprotocol}, answer.Header.Values("Sec-Websocket-Protocol"))

	source.Add(1)
	_, message, err := conn.Read(ctx)
	require.NoError(t, err)
	require.Contains(t, string(message), `"event_id":1`)
	lines := bufio.NewScanner(response.Body)
	for lines.Scan() && lines.Text() != "id: e-1" {
		continue
	}
	require.NoError(t, lines.Err())

	s.server.Close()
	_, _, err = conn.Read(ctx)
	require.Equal(t, websocket.StatusGoingAway, websocket.CloseStatus(err))
	for lines.Scan() {
		continue
	}
	require.NoError(t, lines.Err(), "it ends as answers do")
	stop()
	require.NoError(t, await.Value(t, done))
	await.True(t, func() bool { return strings.Contains(f.log.String(), `"path":"/ws/events","status":101`) }, f.log.String())
	require.NotContains(t, f.log.String(), testKey)
}
