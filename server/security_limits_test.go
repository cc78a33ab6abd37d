package server

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"hsi.home.arpa/store"
)

// API4. What one request may cost is bounded: its size, its depth, its answer, its time, and how many deletions run.
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
	require.NoError(tb, conn.SetDeadline(time.Now().Add(time.Minute)))
	return conn
}

// A client that is slow on purpose loses its connection: with its headers, with its body, and with reading the answer.
func TestSecurity_SlowClientsAreCutOff(t *testing.T) {
	t.Parallel()
	f := newFakes(t)
	f.samples = func(context.Context, *time.Time, int) ([]store.GPUSample, error) {
		name := strings.Repeat("x", 3000) // 15 MB in all: more than both ends of a connection hold, and encoded in time by a busy machine
		samples := make([]store.GPUSample, 5000)
		for i := range samples {
			samples[i] = store.GPUSample{RecordedAt: time.Unix(int64(i), 0), GPUName: &name}
		}
		return samples, nil
	}
	s := start(t, f)
	const slack = 20 * time.Second // a busy machine
	for name, test := range map[string]struct {
		begin string
		limit time.Duration
	}{
		"nothing at all": {"", ReadHeaderTimeout},
		"headers":        {"GET /health HTTP/1.1\r\nHost: localhost\r\n", ReadHeaderTimeout},
		"body":           {"PATCH /api/system/config HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 60000\r\n\r\n{", ReadTimeout},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conn := dial(t, s.addr)
			begun := time.Now()
			_, err := io.WriteString(conn, test.begin)
			require.NoError(t, err)
			done := make(chan struct{})
			go func() { drain(conn); close(done) }()
			ticker := time.NewTicker(200 * time.Millisecond)
			defer ticker.Stop()
			for dripping := true; dripping; {
				select {
				case <-done:
					dripping = false
				case <-ticker.C:
					if test.begin != "" {
						_, _ = io.WriteString(conn, " ") // one more byte, for ever
					}
				}
			}
			took := time.Since(begun)
			t.Logf("cut off after %v", took.Round(10*time.Millisecond))
			require.Less(t, took, test.limit+slack)
			require.Greater(t, took, test.limit/2, "patience with slow networks")
		})
	}
	t.Run("reading", func(t *testing.T) {
		t.Parallel()
		conn := dial(t, s.addr)
		begun := time.Now()
		_, err := io.WriteString(conn, "GET /api/system/gpu/history?limit=5000 HTTP/1.1\r\nHost: localhost\r\nX-Request-ID: never-read\r\n\r\n")
		require.NoError(t, err)
		// The answer is larger than what the kernel keeps for both ends, and nobody reads it. Its line is logged when it was given up.
		ticker := time.NewTicker(200 * time.Millisecond)
		defer ticker.Stop()
		for len(s.about("never-read")) == 0 {
			<-ticker.C
			require.Less(t, time.Since(begun), WriteTimeout+slack)
		}
		t.Logf("given up after %v", time.Since(begun).Round(10*time.Millisecond))
		require.Greater(t, time.Since(begun), WriteTimeout/2, "patience with slow networks")
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
	var slowest time.Duration
	for range 50 {
		begun := time.Now()
		s.get(t, "/health").want(t, http.StatusOK)
		slowest = max(slowest, time.Since(begun))
	}
	runtime.ReadMemStats(&after)
	t.Logf("%d half-open requests: /health answered within %v, %d kB for each of them and what ran beside", count, slowest, (int64(after.HeapInuse)-int64(before.HeapInuse))/count/1024)
	require.Less(t, slowest, 2*time.Second)
}

// The time of a refusal tells nothing about the keys: neither how much of the presented one is right, nor which of them it resembles,
// nor, for a right one, its place in the list.
func TestSecurity_KeyCheckTellsNothingByItsTime(t *testing.T) {
	// Not parallel: what is measured are hundreds of nanoseconds.
	configured := make([]string, 32)
	for i := range configured {
		sum := sha256.Sum256(fmt.Append(nil, i))
		configured[i] = hex.EncodeToString(sum[:]) + strings.Repeat("k", 192) // long, so that a comparison that stops early would show
	}
	check, err := newKeys(true, configured)
	require.NoError(t, err)
	presented := func(key string) func() {
		request := &http.Request{Header: http.Header{"X-Api-Key": {key}}}
		return func() { _, _ = check.actor(request) }
	}
	first, last := configured[0], configured[len(configured)-1]
	wrongAtFirst, wrongAtLast := "\x01"+first[1:], first[:len(first)-1]+"\x01"
	for name, pair := range map[string][2]func(){
		"wrong at the first and at the last byte": {presented(wrongAtFirst), presented(wrongAtLast)},
		"like the first and like the last key":    {presented(wrongAtLast), presented(last[:len(last)-1] + "\x01")},
		"the first and the last key":              {presented(first), presented(last)},
	} {
		gap := smallestGap(pair[0], pair[1], leak)
		t.Logf("%s: %.2f %% apart", name, 100*gap)
		require.Less(t, gap, leak, name)
	}
	// The same measure sees what must not be there: a comparison byte by byte that ends at the first difference.
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
	gap := smallestGap(naive(wrongAtFirst), naive(wrongAtLast), 0)
	t.Logf("a comparison that stops early: %.0f %% apart", 100*gap)
	require.Greater(t, gap, 0.5, "the measure itself is blind")
}

// leak is the relative difference of two times that counts as telling something. Half a key more or less to compare would be far above.
const leak = 0.08

// smallestGap is how far apart two functions' times are, relative to each other. Batches of both alternate; their quickest tenths are
// compared, in processor time of this thread, so that a busy machine disturbs little. Of several attempts the smallest gap counts,
// since a real difference is in all of them; one below enough ends the search.
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
