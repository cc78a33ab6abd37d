//go:build e2e

package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"image/jpeg"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/stretchr/testify/require"

	"hsi.home.arpa/pipeline/demo"
)

// benchCameras is how many cameras the benchmarks have.
const benchCameras = 8

// BenchmarkFullRun_SmallFrames measures the whole way with the real binary, its embedded databases
// and the built-in detector: from a small file renamed into a camera folder to its committed
// result. One operation is one image, as fast as they go, a backlog of a few hundred kept. Besides
// images/s it reports the processor time of all processes for each image.
//
//	go test -tags e2e ./cmd/hsi -run '^$' -bench FullRun_SmallFrames -benchtime 4000x
func BenchmarkFullRun_SmallFrames(b *testing.B) {
	for name, moving := range map[string]int{"still": 0, "moving": 20} {
		b.Run(name, func(b *testing.B) { benchmarkSmallFrames(b, moving) })
	}
}

// benchmarkSmallFrames feeds scenes in which something moves in so many of 100 frames.
func benchmarkSmallFrames(b *testing.B, moving int) {
	b.Helper()
	const backlog = 400
	scenes := make([][][]byte, benchCameras)
	for camera := range scenes {
		scenes[camera] = smallScene(b, uint64(camera), moving)
	}
	p := serve(b, "LOG_LEVEL=WARN", "HSI_TEST_CPU_PROFILE="+os.Getenv("HSI_TEST_CPU_PROFILE"))
	p.eventually("ready", func() bool {
		status,
			_ := p.get("/api/system/health/ready")
		return status == 200
	})
	database := sqlx.MustOpen("postgres", embeddedURL(b, p))
	b.Cleanup(func() { _ = database.Close() })
	done := func() (n int) { // ids are dense as long as nothing fails; cheap, or it would be measured too
		require.NoError(b, database.Get(&n, `
			SELECT coalesce(max(id), 0) - (SELECT count(*) FROM images WHERE state IN ('seen', 'queued', 'detecting')) FROM images`))
		return n
	}
	cpuBefore := cpuSeconds(b, p.PID())
	b.ResetTimer()
	finished := 0
	for i := range b.N {
		camera, frame := i%benchCameras, i/benchCameras
		frames := scenes[camera]
		writeFrame(b, filepath.Join(p.DataDir, "cameras", fmt.Sprintf("cam%d", camera)),
			frames[frame%len(frames)], i)
		if i-finished >= backlog {
			p.eventually("the backlog shrinks",
				func() bool { finished = done(); return i-finished < backlog })
		}
	}
	p.eventually("all is detected", func() bool { finished = done(); return finished >= b.N })
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "images/s")
	for name, seconds := range cpuSeconds(b, p.PID()) {
		b.ReportMetric(1000*(seconds-cpuBefore[name])/float64(b.N), name+"-cpu-ms/image")
	}
	var detections int
	require.NoError(b, database.Get(&detections, `SELECT count(*) FROM detections`))
	b.ReportMetric(float64(detections)/float64(b.N), "detections/image")
	p.stop()
}

// smallScene draws 100 frames of a camera, 320 × 180.
func smallScene(b *testing.B, seed uint64, moving int) [][]byte {
	b.Helper()
	scene := &demo.Scene{Width: 320, Height: 180, Seed: seed, Noise: 2}
	if moving > 0 {
		scene.Objects = []demo.Object{{
			Width: 30, Height: 60, Luma: 235, From: 5, Until: 5 + moving,
			X: -20, Y: 90, StepX: 340 / moving,
		}}
	}
	frames := make([][]byte, 100)
	for i := range frames {
		var buffer bytes.Buffer
		require.NoError(b, jpeg.Encode(&buffer, scene.Frame(i), &jpeg.Options{Quality: 85}))
		frames[i] = buffer.Bytes()
	}
	return frames
}

// writeFrame renames a frame into a camera's folder, with a comment that makes its bytes unique.
func writeFrame(b *testing.B, folder string, frame []byte, number int) {
	b.Helper()
	comment := binary.BigEndian.AppendUint64([]byte{0xFF, 0xFE, 0, 10}, uint64(number))
	data := slices.Concat(frame[:2], comment, frame[2:])
	require.NoError(b, os.MkdirAll(folder, 0o755))
	name := fmt.Sprintf("%08d.jpg", number)
	require.NoError(b, os.WriteFile(filepath.Join(folder, "."+name), data, 0o644))
	require.NoError(b, os.Rename(filepath.Join(folder, "."+name), filepath.Join(folder, name)))
}

// embeddedURL finds the socket of a process's embedded PostgreSQL.
func embeddedURL(b *testing.B, p *process) string {
	b.Helper()
	raw, err := os.ReadFile(filepath.Join(p.DataDir, "postgres", "data", "postmaster.pid"))
	require.NoError(b, err)
	lines := strings.Split(string(raw), "\n") // line 4 is the port, 5 the folder of the socket
	return fmt.Sprintf("host=%s port=%s user=hsi dbname=hsi sslmode=disable", lines[4], lines[3])
}

// cpuSeconds is the processor time of a process and all its descendants by program, ended children
// included.
func cpuSeconds(b *testing.B, pid int) map[string]float64 {
	b.Helper()
	type stat struct {
		program       string
		parent, ticks int
	}
	all := map[int]stat{}
	paths, err := filepath.Glob("/proc/[0-9]*/stat")
	require.NoError(b, err)
	for _, path := range paths {
		raw, err := os.ReadFile(path)
		if err != nil {
			continue // it has just ended
		}
		text := string(raw) // pid (program) state parent …
		begin, end := strings.IndexByte(text, '('), strings.LastIndexByte(text, ')')
		fields := strings.Fields(text[end+1:])
		number := func(i int) int { n, _ := strconv.Atoi(fields[i]); return n }
		id, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		all[id] = stat{
			text[begin+1 : end], number(1),
			number(11) + number(12) + number(13) + number(14),
		}
	}
	const ticksPerSecond = 100
	sums := map[string]float64{}
	for id, s := range all {
		for up := id; up > 1; up = all[up].parent {
			if up == pid {
				sums[s.program] += float64(s.ticks) / ticksPerSecond
				sums["all"] += float64(s.ticks) / ticksPerSecond
				break
			}
		}
	}
	return sums
}

// BenchmarkFullRun_CloseToDetector measures the time from the close of a 1080p file to the POST of
// its image, at 20 images a second. One operation is one image.
//
//	go test -tags e2e ./cmd/hsi -run '^$' -bench FullRun_CloseToDetector -benchtime 400x
func BenchmarkFullRun_CloseToDetector(b *testing.B) {
	arrivals := &arrivals{at: map[string]time.Time{}, all: make(chan struct{}), want: b.N}
	detector := httptest.NewServer(arrivals)
	b.Cleanup(detector.Close)
	scene := &demo.Scene{Width: 1920, Height: 1080, Seed: 1, Noise: 6}
	var buffer bytes.Buffer
	require.NoError(b, jpeg.Encode(&buffer, scene.Frame(0), &jpeg.Options{Quality: 90}))
	p := serve(b, "LOG_LEVEL=WARN", "RTDETR_URL="+detector.URL)
	p.eventually("ready", func() bool {
		status,
			_ := p.get("/api/system/health/ready")
		return status == 200
	})
	for camera := range benchCameras { // the folders and their watches are there
		require.NoError(b,
			os.MkdirAll(filepath.Join(p.DataDir, "cameras", fmt.Sprintf("cam%d", camera)), 0o755))
	}
	closedAt := map[string]time.Time{}
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	b.ResetTimer()
	for i := range b.N {
		<-ticker.C
		name := fmt.Sprintf("%08d.jpg", i)
		path := filepath.Join(p.DataDir, "cameras", fmt.Sprintf("cam%d", i%benchCameras), name)
		comment := binary.BigEndian.AppendUint64([]byte{0xFF, 0xFE, 0, 10}, uint64(i))
		require.NoError(b, os.WriteFile(path,
			slices.Concat(buffer.Bytes()[:2], comment, buffer.Bytes()[2:]), 0o644))
		closedAt[name] = time.Now()
	}
	<-arrivals.all
	b.StopTimer()
	took := make([]time.Duration, 0, b.N)
	for name, at := range arrivals.at {
		took = append(took, at.Sub(closedAt[name]))
	}
	slices.Sort(took)
	milliseconds := func(percent int) float64 {
		return float64(took[min(len(took)-1, len(took)*percent/100)]) / float64(time.Millisecond)
	}
	b.ReportMetric(float64(buffer.Len())/1000, "kB/image")
	b.ReportMetric(milliseconds(50), "p50-ms")
	b.ReportMetric(milliseconds(99), "p99-ms")
	b.ReportMetric(milliseconds(100), "max-ms")
}

// arrivals is a detector that finds nothing and notes when the head of each image's request came.
type arrivals struct {
	mu   sync.Mutex
	at   map[string]time.Time // guarded by mu until all is closed
	want int
	all  chan struct{}
}

func (a *arrivals) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	at := time.Now()
	if r.Method == http.MethodPost {
		if _, header, err := r.FormFile("file"); err == nil {
			a.note(header.Filename, at)
		}
	}
	_, _ = w.Write([]byte(`{"status":"healthy","model_loaded":true,"detections":[]}`))
}

func (a *arrivals) note(name string, at time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, again := a.at[name]; again {
		return
	}
	a.at[name] = at
	if len(a.at) == a.want {
		close(a.all)
	}
}
