package live_test

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"hsi.home.arpa/gpu"
	"hsi.home.arpa/internal/await"
	"hsi.home.arpa/server/contracttest"
	"hsi.home.arpa/server/health"
	"hsi.home.arpa/server/live"
	"hsi.home.arpa/store"
	storelive "hsi.home.arpa/store/live"
	"hsi.home.arpa/store/storetest"
)

// world is a database with a camera, a sequencer, and a hub behind an HTTP server with the limits of the real one.
type world struct {
	db        *store.DB
	sequencer *storelive.Sequencer
	hub       *live.Hub
	server    *httptest.Server
	session   chan struct{} // closing it ends all sessions
}

func newWorld(tb testing.TB, change ...func(*live.Options)) *world {
	tb.Helper()
	db := storetest.New(tb)
	storetest.Exec(tb, db, `INSERT INTO cameras (id, name, folder_path) VALUES ('front', 'Front', '/f'); DELETE FROM live_pending`)
	return newServer(tb, db, change...)
}

// newServer is one more server on a database.
func newServer(tb testing.TB, db *store.DB, change ...func(*live.Options)) *world {
	tb.Helper()
	w := &world{db: db, session: make(chan struct{})}
	w.sequencer = storelive.New(storelive.Options{DB: w.db, Log: storetest.Logger(tb)})
	options := live.Options{Source: w.sequencer, Log: storetest.Logger(tb), Status: live.StatusSources{
		Health:       func() health.Report { return health.Report{State: health.Healthy} },
		GPU:          func() gpu.Snapshot { return gpu.Snapshot{} },
		InferenceFPS: func() *float64 { return nil },
		Queues: func(context.Context) (store.QueueDepths, error) {
			return store.QueueDepths{Detection: 5, Analysis: 2}, nil
		},
		Cameras: func(ctx context.Context) (storelive.CameraCounts, error) { return w.sequencer.CountCameras(ctx, 0) },
	}}
	for _, alter := range change {
		alter(&options)
	}
	w.hub = live.New(options)
	ctx, stop := context.WithCancel(context.WithoutCancel(tb.Context()))
	done := make(chan error, 2)
	go func() { done <- w.sequencer.Run(ctx) }()
	go func() { done <- w.hub.Run(ctx) }()
	w.server = httptest.NewUnstartedServer(http.HandlerFunc(w.serve))
	w.server.Start()
	tb.Cleanup(func() {
		w.hub.Close()
		w.server.Close()
		stop()
		for range 2 {
			require.NoError(tb, await.Value(tb, done))
		}
	})
	await.True(tb, func() bool { return w.hub.Position() != "" }, "the hub does not start")
	return w
}

func (w *world) serve(rw http.ResponseWriter, r *http.Request) {
	after := r.Header.Get("Last-Event-ID")
	write, err := w.hub.Stream(r.Context(), after, w.session)
	if err != nil {
		http.Error(rw, err.Error(), http.StatusServiceUnavailable)
		return
	}
	_ = write(rw) // the client is gone
}

// client reads a stream, and checks each frame against the contract.
type client struct {
	response *http.Response
	lines    *bufio.Reader
	last     string // the last id, as a browser keeps it
}

func (w *world) follow(tb testing.TB, after string) *client {
	tb.Helper()
	ctx, cancel := context.WithCancel(tb.Context())
	tb.Cleanup(cancel)
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, w.server.URL, http.NoBody)
	require.NoError(tb, err)
	if after != "" {
		request.Header.Set("Last-Event-ID", after)
	}
	response, err := w.server.Client().Do(request)
	require.NoError(tb, err)
	require.Equal(tb, http.StatusOK, response.StatusCode)
	require.Equal(tb, "text/event-stream", response.Header.Get("Content-Type"))
	tb.Cleanup(func() { _ = response.Body.Close() })
	return &client{response: response, lines: bufio.NewReader(response.Body), last: after}
}

// block reads up to the next empty line. It ends with the stream.
func (c *client) block() (contracttest.Frame, error) {
	var text strings.Builder
	for {
		line, err := c.lines.ReadString('\n')
		if err != nil {
			return contracttest.Frame{}, err
		}
		text.WriteString(line)
		if line == "\n" {
			break
		}
	}
	if err := contracttest.CheckFrames("streamEvents", text.String()); err != nil {
		return contracttest.Frame{}, err
	}
	frames, err := contracttest.ParseFrames(text.String())
	if err != nil {
		return contracttest.Frame{}, err
	}
	if frames[0].ID != "" {
		c.last = frames[0].ID
	}
	return frames[0], nil
}

// next returns the next frame that tells a change.
func (c *client) next(tb testing.TB) contracttest.Frame {
	tb.Helper()
	for {
		f, err := c.block()
		require.NoError(tb, err)
		if f.Kind != "" && f.Kind != "system_status" {
			return f
		}
	}
}

// nextKind returns the next frame of a kind.
func (c *client) nextKind(tb testing.TB, kind string) contracttest.Frame {
	tb.Helper()
	for {
		f, err := c.block()
		require.NoError(tb, err)
		if f.Kind == kind {
			return f
		}
	}
}

func (w *world) exec(tb testing.TB, statement string) {
	tb.Helper()
	storetest.Exec(tb, w.db, statement)
}

// reached waits until the hub knows so many positions.
func (w *world) reached(tb testing.TB, head int64) {
	tb.Helper()
	await.True(tb, func() bool {
		p, _ := storelive.ParsePosition(w.hub.Position())
		return p.Number >= head
	}, "position %d is not reached", head)
}

func (w *world) at(number int64) string {
	state, _ := w.sequencer.State()
	return storelive.Position{Epoch: state.Epoch, Number: number}.String()
}

// field returns a number or text of a JSON object, as it is written.
func field(tb testing.TB, data, name string) string {
	tb.Helper()
	var fields map[string]json.RawMessage
	require.NoError(tb, json.Unmarshal([]byte(data), &fields))
	return string(fields[name])
}
