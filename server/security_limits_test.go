package server

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"hsi.home.arpa/internal/await"
	"hsi.home.arpa/store"
)

// API4. What one request may cost is bounded: its size, its depth, its answer, its time, and how
// many deletions run.
func TestOWASP_API4_UnrestrictedResourceConsumption(t *testing.T) {
	t.Parallel()
	f := newFakes(t)
	var asked int
	f.samples = func(_ context.Context, _ *time.Time, limit int) ([]store.GPUSample, error) {
		asked = limit
		return nil, nil
	}
	s := start(t, f)
	for target, status := range map[string]int{
		"/api/system/gpu/history?limit=5000": 200, "/api/system/gpu/history?limit=5001": 422, "/api/system/gpu/history?limit=99999999999999999999": 422,
		"/api/system/pipeline-latency?window_minutes=1440": 200, "/api/system/pipeline-latency?window_minutes=1441": 422,
		"/api/system/dead-letters?limit=1001": 422, "/api/system/dead-letters?limit=2147483648": 422,
	} {
		s.get(t, target).want(t, status)
	}
	require.Equal(t, 5000, asked)
	s.send(t, http.MethodPatch, "/api/system/config", strings.Repeat(" ", maxBodyBytes+1)).want(t, http.StatusRequestEntityTooLarge)
	s.send(t, http.MethodPatch, "/api/system/config", `{"retention_days":`+strings.Repeat("[", 30_000)+`}`).want(t, http.StatusUnprocessableEntity)
	s.send(t, http.MethodPost, "/api/system/dead-letters/requeue", `{"ids":[`+strings.Repeat("1,", 20_000)+`1]}`).want(t, http.StatusUnprocessableEntity)

	// A body without end is not read to its end.
	sent := &endless{}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPatch, s.url+"/api/system/config", sent)
	require.NoError(t, err)
	request.Header.Set("Content-Type", "application/json")
	if response, err := s.Do(request); err == nil { // or the server hangs up while we still write
		require.Equal(t, http.StatusRequestEntityTooLarge, response.StatusCode)
		require.NoError(t, response.Body.Close())
	}
	require.Less(t, sent.total(), int64(64<<20))
	// Nor are headers.
	conn := dial(t, s.addr)
	_, _ = io.WriteString(conn, "GET /health HTTP/1.1\r\nHost: localhost\r\nX-Long: "+strings.Repeat("x", 4*MaxHeaderBytes)+"\r\n\r\n")
	require.Contains(t, drain(conn), "431 ")
}

// endless is a body of blanks that never ends.
type endless struct {
	mu   sync.Mutex
	sent int64 // guarded by mu
}

func (e *endless) Read(p []byte) (int, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for i := range p {
		p[i] = ' '
	}
	e.sent += int64(len(p))
	return len(p), nil
}

func (e *endless) total() int64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.sent
}

func dial(tb testing.TB, addr string) net.Conn {
	tb.Helper()
	conn, err := (&net.Dialer{}).DialContext(tb.Context(), "tcp", addr)
	require.NoError(tb, err)
	tb.Cleanup(func() { _ = conn.Close() })
	require.NoError(tb, conn.SetDeadline(time.Now().Add(await.Limit)))
	return conn
}

// pipes is a listener whose connections are pipes within the process, so that time can be made up.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
	end    func()
}

func listenToPipes() *pipes {
	p := &pipes{conns: make(chan net.Conn), closed: make(chan struct{})}
	p.end = sync.OnceFunc(func() { close(p.closed) })
	return p
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case conn := <-p.conns:
		return conn, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error { p.end(); return nil }

func (*pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 8000} }

// dial returns the client's end of a new connection.
func (p *pipes) dial() net.Conn {
	client, server := net.Pipe()
	p.conns <- pipe{server}
	return client
}

// pipe is the server's end; clients have addresses.
type pipe struct{ net.Conn }

func (pipe) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 50000} }

// A client that is slow on purpose loses its connection: with its headers, with its body, and with
// reading the answer.
func TestSecurity_SlowClientsAreCutOff(t *testing.T) {
	t.Parallel()
	// slow runs one client against a server, in time that passes only while all wait.
	slow := func(name string, client func(t *testing.T, conn net.Conn, f *fakes)) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := newFakes(t)
				s, err := New(f.options())
				require.NoError(t, err)
				listener, httpServer, served := listenToPipes(), s.HTTPServer(), make(chan error, 1)
				go func() { served <- httpServer.Serve(listener) }()
				conn := listener.dial()
				client(t, conn, f)
				require.NoError(t, conn.Close())
				s.Close()
				require.NoError(t, httpServer.Close())
				require.ErrorIs(t, <-served, http.ErrServerClosed)
			})
		})
	}
	for name, test := range map[string]struct {
		begin string
		limit time.Duration
	}{
		"nothing at all": {"", ReadHeaderTimeout},
		"headers":        {"GET /health HTTP/1.1\r\nHost: localhost\r\n", ReadHeaderTimeout},
		"body":           {"PATCH /api/system/config HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 60000\r\n\r\n{", ReadTimeout},
	} {
		slow(name, func(t *testing.T, conn net.Conn, _ *fakes) {
			t.Helper()
			begun := time.Now()
			if test.begin != "" {
				_, err := io.WriteString(conn, test.begin)
				require.NoError(t, err)
			}
			done := make(chan time.Duration)
			go func() { drain(conn); done <- time.Since(begun) }()
			for {
				select {
				case took := <-done:
					require.GreaterOrEqual(t, took, test.limit, "patience with slow networks")
					require.Less(t, took, test.limit+time.Second)
					return
				case <-time.After(200 * time.Millisecond):
					if test.begin != "" {
						_, _ = io.WriteString(conn, " ") // one more byte, for ever
					}
				}
			}
		})
	}
	slow("reading a large file", func(t *testing.T, conn net.Conn, f *fakes) {
		t.Helper()
		f.pictures.content = strings.Repeat("x", 10<<20)
		const request = "GET /api/media/detections/7 HTTP/1.1\r\nHost: localhost\r\nX-Request-ID: large\r\n\r\n"
		_, err := io.WriteString(conn, request)
		require.NoError(t, err)
		begun, buffer := time.Now(), make([]byte, 1<<20)
		for range 8 { // it takes its time, and goes on
			_, err := io.ReadFull(conn, buffer)
			require.NoError(t, err)
			time.Sleep(WriteTimeout - time.Second)
		}
		require.Greater(t, time.Since(begun), 3*time.Minute)
		stopped := time.Now()
		given := func() bool { return strings.Contains(f.log.String(), `"request_id":"large"`) }
		for ; !given(); <-time.After(200 * time.Millisecond) {
			require.Less(t, time.Since(stopped), WriteTimeout+time.Second)
		}
	})
	slow("reading", func(t *testing.T, conn net.Conn, f *fakes) {
		t.Helper()
		f.samples = func(context.Context, *time.Time, int) ([]store.GPUSample, error) {
			return []store.GPUSample{{GPUName: new(strings.Repeat("x", 100_000))}}, nil // more than is kept before it is sent
		}
		begun := time.Now()
		_, err := io.WriteString(conn, "GET /api/system/gpu/history HTTP/1.1\r\nHost: localhost\r\nX-Request-ID: never-read\r\n\r\n")
		require.NoError(t, err)
		// Nobody reads the answer. Its line is logged when it was given up.
		given := func() bool { return strings.Contains(f.log.String(), `"request_id":"never-read"`) }
		for ; !given(); <-time.After(200 * time.Millisecond) {
			require.Less(t, time.Since(begun), WriteTimeout+time.Second)
		}
		require.GreaterOrEqual(t, time.Since(begun), WriteTimeout, "patience with slow networks")
	})
}

// Many connections that never finish their request cost little and keep nobody else waiting.
func TestSecurity_HalfOpenRequestsStarveNobody(t *testing.T) {
	t.Parallel()
	s := start(t, newFakes(t))
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	const count = 500
	for range count {
		_, err := io.WriteString(dial(t, s.addr), "GET /api/system/severity HTTP/1.1\r\nHost: localhost\r\nX-Slow: ")
		require.NoError(t, err)
	}
	for range 50 {
		s.get(t, "/health").want(t, http.StatusOK)
	}
	runtime.ReadMemStats(&after)
	perRequest := (int64(after.HeapInuse) - int64(before.HeapInuse)) / count
	t.Logf("%d half-open requests: %d kB for each of them and what ran beside", count, perRequest/1024)
}

// longKeys are so long that a comparison which stops early would show.
func longKeys() []string {
	configured := make([]string, 32)
	for i := range configured {
		sum := sha256.Sum256(fmt.Append(nil, i))
		configured[i] = hex.EncodeToString(sum[:]) + strings.Repeat("k", 192)
	}
	return configured
}

// The time of a refusal tells nothing about the keys: neither how much of the presented one is
// right, nor which of them it resembles, nor, for a right one, its place in the list. Whatever is
// presented, its hash is compared with that of each key, by a function whose time does not depend
// on what it compares. BenchmarkSecurity_KeyCheck measures it.
func TestSecurity_KeyCheckTellsNothingByItsTime(t *testing.T) {
	t.Parallel()
	configured := longKeys()
	check, err := newKeys(true, configured)
	require.NoError(t, err)
	constantTime, compared := check.compare, []int(nil)
	require.Equal(t, reflect.ValueOf(subtle.ConstantTimeCompare).Pointer(), reflect.ValueOf(constantTime).Pointer())
	check.compare = func(a, b []byte) int {
		compared = append(compared, len(a), len(b))
		return constantTime(a, b)
	}
	first, last := configured[0], configured[len(configured)-1]
	for presented, right := range map[string]bool{
		first: true, last: true, "\x01" + first[1:]: false, first[:len(first)-1] + "\x01": false, last[:len(last)-1] + "\x01": false, "x": false,
	} {
		compared = nil
		_, got := check.check([]string{presented})
		require.Equal(t, right, got)
		require.Equal(t, slices.Repeat([]int{sha256.Size}, 2*len(configured)), compared)
	}
}

// BenchmarkSecurity_KeyCheck reports how far apart the times of two keys are, which should be less
// than 8 %, and the same for a comparison that ends at the first difference, which must be far
// more.
func BenchmarkSecurity_KeyCheck(b *testing.B) {
	configured := longKeys()
	check, err := newKeys(true, configured)
	require.NoError(b, err)
	presented := func(key string) func() {
		sent := []string{key}
		return func() { _, _ = check.check(sent) }
	}
	first, last := configured[0], configured[len(configured)-1]
	wrongAtFirst, wrongAtLast := "\x01"+first[1:], first[:len(first)-1]+"\x01"
	naive := func(key string) func() {
		return func() {
			for _, other := range configured[:1] {
				for i := range len(other) {
					if key[i] != other[i] {
						return
					}
				}
			}
		}
	}
	for b.Loop() {
		b.ReportMetric(100*smallestGap(presented(wrongAtFirst), presented(wrongAtLast), leak), "%first/last-byte")
		b.ReportMetric(100*smallestGap(presented(wrongAtLast), presented(last[:len(last)-1]+"\x01"), leak), "%like-first/like-last")
		b.ReportMetric(100*smallestGap(presented(first), presented(last), leak), "%first/last")
		b.ReportMetric(100*smallestGap(naive(wrongAtFirst), naive(wrongAtLast), 0), "%naive")
	}
}

// leak is the relative difference of two times that counts as telling something. Half a key more or
// less to compare would be far above.
const leak = 0.08

// smallestGap is how far apart two functions' times are, relative to each other. Batches of both
// alternate; their quickest tenths are compared, in processor time of this thread, so that a busy
// machine disturbs little. Of several attempts the smallest gap counts, since a real difference is
// in all of them; one below enough ends the search.
func smallestGap(a, b func(), enough float64) float64 {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	const attempts, rounds, batch = 20, 100, 20
	smallest := math.Inf(1)
	for attempt := 0; attempt < attempts && smallest >= enough; attempt++ {
		var times [2][]time.Duration
		for round := range rounds {
			for i := range 2 {
				which := (i + round) % 2
				begun := threadTime()
				for range batch {
					[2]func(){a, b}[which]()
				}
				times[which] = append(times[which], threadTime()-begun)
			}
		}
		slices.Sort(times[0])
		slices.Sort(times[1])
		smallest = min(smallest, math.Abs(math.Log(float64(times[0][rounds/10])/float64(times[1][rounds/10]))))
	}
	return smallest
}

// threadTime is the processor time that this thread has used.
func threadTime() time.Duration {
	var used unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &used); err != nil {
		panic(err)
	}
	return time.Duration(used.Nano())
}
