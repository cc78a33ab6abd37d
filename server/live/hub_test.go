package live_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"hsi.home.arpa/server/contracttest"
	"hsi.home.arpa/server/health"
	"hsi.home.arpa/server/live"
	"hsi.home.arpa/server/live/livetest"
)

// scene is a hub on the clock of the test, behind an HTTP server with the deadlines of the real one.
type scene struct {
	t      *testing.T
	source *livetest.Source
	hub    *live.Hub
	ask    func(after string) io.ReadCloser
}

func bubble(t *testing.T, change func(*live.Options), test func(*scene)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		source := livetest.NewSource(strings.Repeat("x", 2000))
		options := source.Options()
		if change != nil {
			change(&options)
		}
		hub := live.New(options)
		ctx, stop := context.WithCancel(t.Context())
		listener := livetest.NewListener()
		server := &http.Server{
			ReadTimeout: 15 * time.Second, WriteTimeout: 30 * time.Second,
			Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				write, err := hub.Stream(r.Context(), r.Header.Get("Last-Event-ID"), nil)
				if err == nil {
					_ = write(w) // the client is gone
				}
			}),
		}
		var group sync.WaitGroup
		group.Go(func() { _ = hub.Run(ctx) })
		group.Go(func() { _ = server.Serve(listener) })
		transport := &http.Transport{DialContext: listener.Dial}
		defer func() {
			hub.Close()
			stop()
			transport.CloseIdleConnections()
			require.NoError(t, server.Close())
			group.Wait()
		}()
		synctest.Wait()
		test(&scene{t, source, hub, func(after string) io.ReadCloser {
			request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://localhost/", http.NoBody)
			require.NoError(t, err)
			request.Header.Set("Last-Event-ID", after)
			response, err := transport.RoundTrip(request)
			require.NoError(t, err)
			return response.Body
		}})
	})
}

// told reads a stream until it ends, and remembers what came when.
type told struct {
	mu     sync.Mutex
	text   strings.Builder // guarded by mu
	frames []string        // guarded by mu
	ended  bool            // guarded by mu
}

func listen(body io.Reader) *told {
	r := &told{}
	begin := time.Now()
	go func() {
		lines := bufio.NewScanner(body)
		for lines.Scan() {
			r.mu.Lock()
			r.text.WriteString(lines.Text() + "\n")
			if kind, ok := strings.CutPrefix(lines.Text(), "event: "); ok {
				r.frames = append(r.frames, time.Since(begin).String()+" "+kind)
			}
			if lines.Text() == ": still here" {
				r.frames = append(r.frames, time.Since(begin).String()+" comment")
			}
			r.mu.Unlock()
		}
		r.mu.Lock()
		r.ended = true
		r.mu.Unlock()
	}()
	return r
}

func (r *told) get() (text string, frames []string, ended bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.String(), append([]string{}, r.frames...), r.ended
}

// TestStream_Time: the status comes at once, each 5 s and when a service changes, and no deadline of the server ends the stream.
func TestStream_Time(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	state := health.Healthy
	bubble(t, func(o *live.Options) {
		o.Status.Health = func() health.Report {
			mu.Lock()
			defer mu.Unlock()
			return health.Report{State: state}
		}
	}, func(s *scene) {
		t := s.t
		body := s.ask("")
		defer body.Close()
		stream := listen(body)
		<-time.After(12500 * time.Millisecond)
		mu.Lock()
		state = health.Degraded
		mu.Unlock()
		<-time.After(1500 * time.Millisecond)
		s.source.Add(1)
		synctest.Wait()
		_, frames, _ := stream.get()
		require.Equal(t, []string{"0s system_status", "5s system_status", "10s system_status", "13s system_status", "14s event"}, frames)
		<-time.After(10 * time.Minute)
		s.source.Add(1)
		synctest.Wait()
		text, frames, ended := stream.get()
		require.False(t, ended)
		require.Equal(t, "10m14s event", frames[len(frames)-1])
		require.NoError(t, contracttest.CheckFrames("streamEvents", text))
		require.Contains(t, text, `"cameras":{"active":null,"total":null}`, "what is not known is null")
		require.Contains(t, text, `"health":"degraded"`)
	})
}

// TestStream_SlowClient: it is told that it lagged and gets everything from the table, in order; the hub does not wait for it.
func TestStream_SlowClient(t *testing.T) {
	t.Parallel()
	bubble(t, nil, func(s *scene) {
		t := s.t
		slow := s.ask("") // its connection holds nothing, and it reads nothing
		defer slow.Close()
		fast := s.ask("")
		defer fast.Close()
		stream := listen(fast)
		synctest.Wait()
		for range 40 {
			s.source.Add(50)
			synctest.Wait()
		}
		require.Equal(t, "e-2000", s.hub.Position())
		text, _, _ := stream.get()
		require.Contains(t, text, "id: e-2000\n")
		require.NotContains(t, text, "event: lagged")

		late := listen(slow)
		synctest.Wait()
		text, _, ended := late.get()
		require.False(t, ended)
		frames, err := contracttest.ParseFrames(text)
		require.NoError(t, err)
		require.NoError(t, contracttest.CheckFrames("streamEvents", text))
		var events, lagged int
		for _, f := range frames {
			switch f.Kind {
			case "event":
				events++
				require.Contains(t, f.Data, `"id":`+strings.TrimPrefix(f.ID, "e-")+",")
			case "lagged":
				lagged++
				require.Less(t, events, 1000)
			default:
			}
		}
		require.Equal(t, 2000, events)
		require.Equal(t, 1, lagged)
	})
}

// TestStream_AClientThatTakesNothingIsGivenUp after the time that one write may take.
func TestStream_AClientThatTakesNothingIsGivenUp(t *testing.T) {
	t.Parallel()
	bubble(t, func(o *live.Options) { o.MaxClients = 1 }, func(s *scene) {
		t := s.t
		body := s.ask("")
		defer body.Close()
		s.source.Add(1)
		<-time.After(9 * time.Second)
		_, err := s.hub.Join("", live.Wants{})
		require.ErrorIs(t, err, live.ErrFull)
		<-time.After(6 * time.Second)
		subscriber, err := s.hub.Join("", live.Wants{})
		require.NoError(t, err)
		subscriber.Leave()
	})
}

// TestStream_TheDatabaseIsAway: streams stay, and go on where they were.
func TestStream_TheDatabaseIsAway(t *testing.T) {
	t.Parallel()
	bubble(t, nil, func(s *scene) {
		t := s.t
		s.source.Add(10)
		synctest.Wait()
		s.source.Fail(errors.New("gone"))
		body := s.ask("e-3")
		defer body.Close()
		stream := listen(body)
		<-time.After(time.Minute)
		s.source.Add(1)
		<-time.After(time.Minute)
		_, frames, ended := stream.get()
		require.False(t, ended)
		require.NotContains(t, strings.Join(frames, ","), " event")
		s.source.Fail(nil)
		<-time.After(10 * time.Second)
		text, _, _ := stream.get()
		frames = nil
		parsed, err := contracttest.ParseFrames(text)
		require.NoError(t, err)
		for _, f := range parsed {
			if f.Kind == "event" {
				frames = append(frames, f.ID)
			}
		}
		require.Equal(t, []string{"e-4", "e-5", "e-6", "e-7", "e-8", "e-9", "e-10", "e-11"}, frames)
	})
}

// TestHub_WithoutClientsReadsNothing: what nobody follows costs nothing.
func TestHub_WithoutClientsReadsNothing(t *testing.T) {
	t.Parallel()
	bubble(t, nil, func(s *scene) {
		t := s.t
		s.source.Add(1000)
		synctest.Wait()
		require.Equal(t, "e-1000", s.hub.Position())
		require.Zero(t, s.source.Reads())
	})
}

// TestStream_AllComeBackTogether: what they have missed is read once for all of them.
func TestStream_AllComeBackTogether(t *testing.T) {
	t.Parallel()
	bubble(t, nil, func(s *scene) {
		t := s.t
		s.source.Add(1000)
		synctest.Wait()
		const clients = 100
		streams := make([]*told, clients)
		for i := range streams {
			body := s.ask("e-" + strconv.Itoa(i))
			defer body.Close()
			streams[i] = listen(body)
		}
		synctest.Wait()
		for i, stream := range streams {
			text, _, _ := stream.get()
			require.Equal(t, 1000-i, strings.Count(text, "event: event\n"))
			require.Contains(t, text, "id: e-"+strconv.Itoa(i+1)+"\n")
			require.Contains(t, text, "id: e-1000\n")
		}
		require.Less(t, s.source.Reads(), 4*clients, "16 pages for each of them would be 1,600")
	})
}

// TestStream_EveryPosition: from wherever a client comes, of the kept frames or the table, it gets what comes behind.
func TestStream_EveryPosition(t *testing.T) {
	t.Parallel()
	bubble(t, nil, func(s *scene) {
		t := s.t
		first := s.ask("")
		defer first.Close()
		listen(first)
		s.source.Add(1500) // more than are kept
		synctest.Wait()
		for _, begin := range []int{0, 63, 64, 65, 470, 474, 475, 476, 477, 478, 500, 1435, 1436, 1437, 1498, 1499, 1500} {
			number := begin
			body := s.ask("e-" + strconv.Itoa(begin))
			stream := listen(body)
			synctest.Wait()
			text, _, _ := stream.get()
			frames, err := contracttest.ParseFrames(text)
			require.NoError(t, err)
			for _, f := range frames[1:] {
				if f.Kind == "event" {
					number++
					require.Equal(t, "e-"+strconv.Itoa(number), f.ID)
				}
			}
			require.Equal(t, 1500, number)
			require.NoError(t, body.Close())
		}
	})
}
