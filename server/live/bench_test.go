package live_test

import (
	"bufio"
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// BenchmarkBare is what 500 clients cost a program that has the bytes already and does nothing but write and flush them.
func BenchmarkBare(b *testing.B) {
	const clients = 500
	var mu sync.Mutex
	frame, next := 0, make(chan struct{})
	text := bytes.Repeat([]byte("x"), 470)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = fmt.Fprint(w, "id: e-0\n\n")
		_ = http.NewResponseController(w).Flush()
		for told := 0; told < b.N; {
			mu.Lock()
			newest, wait := frame, next
			mu.Unlock()
			if told == newest {
				<-wait
				continue
			}
			for ; told < newest; told++ {
				_, _ = fmt.Fprintf(w, "id: e-%d\ndata: %s\n\n", told+1, text)
			}
			_ = http.NewResponseController(w).Flush()
		}
	}))
	defer server.Close()
	var group, begun sync.WaitGroup
	for range clients {
		begun.Add(1)
		group.Go(func() {
			response, err := server.Client().Get(server.URL)
			if err != nil {
				b.Error(err)
				return
			}
			defer response.Body.Close()
			lines := bufio.NewScanner(response.Body)
			for first := true; lines.Scan(); first = false {
				if first {
					begun.Done()
				}
			}
		})
	}
	begun.Wait()
	used := processorTime(b)
	b.ResetTimer()
	for range b.N {
		mu.Lock()
		frame++
		close(next)
		next = make(chan struct{})
		mu.Unlock()
		<-time.After(50 * time.Millisecond)
	}
	group.Wait()
	used = processorTime(b) - used
	b.ReportMetric(float64(used.Microseconds())/float64(clients*b.N), "cpu-µs/frame")
}

// BenchmarkCommitToFrame is how long it takes from the commit of a plain INSERT to the frame at each of 500 clients, which are in the
// same process, and what the processors do for each frame, theirs included.
func BenchmarkCommitToFrame(b *testing.B) {
	const clients = 500
	w := newWorld(b)
	w.server.Client().Transport.(*http.Transport).MaxConnsPerHost = 0
	var mu sync.Mutex
	committed := map[int64]time.Time{}
	var latencies []time.Duration
	var group sync.WaitGroup
	ready := make(chan struct{}, clients)
	for range clients {
		c := w.follow(b, "")
		group.Go(func() {
			ready <- struct{}{}
			own := make(map[int64]time.Time)
			defer func() {
				mu.Lock()
				defer mu.Unlock()
				for number, at := range own {
					latencies = append(latencies, at.Sub(committed[number]))
				}
			}()
			lines := bufio.NewScanner(c.response.Body)
			for lines.Scan() {
				id, ok := bytes.CutPrefix(lines.Bytes(), []byte("id: "))
				if !ok {
					continue
				}
				number, err := strconv.ParseInt(string(id[bytes.IndexByte(id, '-')+1:]), 10, 64)
				if err != nil {
					b.Error(err)
				}
				if number > 0 {
					own[number] = time.Now()
				}
				if number == int64(b.N) {
					return
				}
			}
		})
	}
	for range clients {
		<-ready
	}
	used := processorTime(b)
	b.ResetTimer()
	for number := range int64(b.N) {
		w.exec(b, insertEvent)
		mu.Lock()
		committed[number+1] = time.Now()
		mu.Unlock()
		<-time.After(50 * time.Millisecond) // 20 per second
	}
	group.Wait()
	b.StopTimer()
	used = processorTime(b) - used
	require.Len(b, latencies, clients*b.N)
	slices.Sort(latencies)
	b.ReportMetric(float64(latencies[len(latencies)/2].Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(latencies[len(latencies)*99/100].Microseconds())/1000, "p99-ms")
	b.ReportMetric(float64(used.Microseconds())/float64(len(latencies)), "cpu-µs/frame")
}

// processorTime is what this process has used.
func processorTime(tb testing.TB) time.Duration {
	tb.Helper()
	var usage syscall.Rusage
	require.NoError(tb, syscall.Getrusage(syscall.RUSAGE_SELF, &usage))
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
