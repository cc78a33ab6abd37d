package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// picture draws something that looks a little like a scene, different for each seed.
func picture(width, height int, seed uint64) ([]byte, error) {
	random := rand.New(rand.NewPCG(seed, 1)) //nolint:gosec // not for secrets
	img := image.NewYCbCr(image.Rect(0, 0, width, height), image.YCbCrSubsampleRatio420)
	for y := range height {
		for x := range width {
			img.Y[y*img.YStride+x] = byte((x/8+y/8)%160 + random.IntN(8))
		}
	}
	for i := range img.Cb {
		img.Cb[i], img.Cr[i] = 128, 128
	}
	left, top := random.IntN(width/2), random.IntN(height/2)
	dark := color.YCbCr{Y: 20, Cb: 128, Cr: 128}
	for y := top; y < top+height/4; y++ {
		for x := left; x < left+width/6; x++ {
			img.Y[y*img.YStride+x] = dark.Y
		}
	}
	var buffer bytes.Buffer
	err := jpeg.Encode(&buffer, img, &jpeg.Options{Quality: 75})
	return buffer.Bytes(), err
}

// stopwatch is an RT-DETR service that finds nothing and remembers when each picture arrived.
type stopwatch struct {
	mu      sync.Mutex
	arrived map[[sha256.Size]byte]time.Time // guarded by mu
	server  *http.Server
	baseURL string
}

func newStopwatch(ctx context.Context) (*stopwatch, error) {
	s := &stopwatch{arrived: map[[sha256.Size]byte]time.Time{}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /health", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"status":"healthy","model_loaded":true}`)
	})
	mux.HandleFunc("POST /detect", func(w http.ResponseWriter, r *http.Request) {
		now := time.Now()
		file, _, err := r.FormFile("file")
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		content, _ := io.ReadAll(file)
		s.mu.Lock()
		s.arrived[sha256.Sum256(content)] = now
		s.mu.Unlock()
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]any{"detections": []any{}, "inference_time_ms": 1, "image_width": 1920, "image_height": 1080})
	})
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s.server = &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	s.baseURL = "http://" + listener.Addr().String()
	go func() { _ = s.server.Serve(listener) }()
	return s, nil
}

func (s *stopwatch) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.arrived)
}

// detector measures from the close of a file to the moment the detector has its request, at 20
// images of 1080p per second from four cameras.
func detector(ctx context.Context, w *world, t *table) error {
	const images, perSecond, different = 400, 20, 40
	service, err := newStopwatch(ctx)
	if err != nil {
		return err
	}
	defer service.server.Close()
	s, err := w.newSite(ctx, "detector", "RTDETR_URL="+service.baseURL)
	if err != nil {
		return err
	}
	if err := s.start(ctx); err != nil {
		return err
	}
	defer func() { _ = s.close(ctx) }()
	var drawn [][]byte
	for i := range different {
		p, err := picture(1920, 1080, uint64(i))
		if err != nil {
			return err
		}
		drawn = append(drawn, p)
	}
	closed := map[[sha256.Size]byte]time.Time{}
	ticker := time.NewTicker(time.Second / perSecond)
	defer ticker.Stop()
	for i := range images {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return ctx.Err()
		}
		// A comment behind the end marker would be cut; one in front of it makes each picture its
		// own.
		content := withComment(drawn[i%different], fmt.Sprintf("picture %d", i))
		path := filepath.Join(s.dataDir, "cameras", fmt.Sprintf("cam%d", i%4), fmt.Sprintf("%05d.jpg", i))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil { //nolint:gosec // see newWorld
			return err
		}
		if err := os.WriteFile(path, content, 0o600); err != nil {
			return err
		}
		closed[sha256.Sum256(content)] = time.Now()
	}
	if err := s.await(ctx, "all pictures are with the detector", func() bool { return service.count() >= images }); err != nil {
		return err
	}
	ours, database, err := s.spent(ctx)
	if err != nil {
		return err
	}
	service.mu.Lock()
	defer service.mu.Unlock()
	var times []time.Duration
	for sum, at := range closed {
		arrived, found := service.arrived[sum]
		if !found {
			return errors.New("a picture did not arrive as it was written")
		}
		times = append(times, arrived.Sub(at))
	}
	slices.Sort(times)
	p50, p99 := percentile(times, 0.5), percentile(times, 0.99)
	t.add(row{
		what: "close of a file → POST to the detector, 1080p, 20/s", measured: fmt.Sprintf("p50 %s, p99 %s", short(p50), short(p99)),
		compared: fmt.Sprintf("CPU per image: server %s, database %s", short(ours/images), short(database/images)),
		target:   "p50 ≤ 60 ms, p99 ≤ 300 ms", ok: p50 <= 60*time.Millisecond && p99 <= 300*time.Millisecond,
	})
	return nil
}

// withComment puts a comment segment behind the start marker of a JPEG.
func withComment(picture []byte, text string) []byte {
	segment := append([]byte{0xff, 0xfe, byte((len(text) + 2) >> 8), byte(len(text) + 2)}, text...)
	return slices.Concat(picture[:2], segment, picture[2:])
}

// frames measures how many pictures per second go through the built-in detector when more are
// waiting than it can do.
func frames(ctx context.Context, w *world, t *table) error {
	images := max(int(6000*min(w.scale, 1)), 500)
	const cameras, different = 8, 64
	s, err := w.newSite(ctx, "frames")
	if err != nil {
		return err
	}
	if err := s.start(ctx); err != nil {
		return err
	}
	defer func() { _ = s.close(ctx) }()
	var drawn [][]byte
	for i := range different {
		p, err := picture(w.frame, w.frame*3/4, uint64(i))
		if err != nil {
			return err
		}
		drawn = append(drawn, p)
	}
	began := time.Now()
	for i := range images {
		content := withComment(drawn[(i/cameras)%different], fmt.Sprintf("picture %d", i))
		path := filepath.Join(s.dataDir, "cameras", fmt.Sprintf("cam%d", i%cameras), fmt.Sprintf("%06d.jpg", i))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil { //nolint:gosec // see newWorld
			return err
		}
		if err := os.WriteFile(path, content, 0o600); err != nil {
			return err
		}
	}
	written := time.Since(began)
	var done int
	err = s.await(ctx, "all pictures were detected", func() bool {
		// It is asked often, so it must cost little: the rows are counted only when none is left to
		// work on.
		err := s.db.QueryRowContext(ctx, `
			SELECT CASE WHEN (SELECT seen_at FROM images WHERE state IN ('seen', 'queued', 'detecting') ORDER BY seen_at LIMIT 1) IS NULL
				THEN (SELECT count(*) FROM images) ELSE 0 END`).Scan(&done)
		return err == nil && done >= images
	})
	if err != nil {
		return err
	}
	var filtered int
	if err := s.db.QueryRowContext(ctx, `SELECT count(*) FROM images WHERE state IN ('filtered', 'dead_lettered') AND reason <> 'no_detections'`).Scan(&filtered); err != nil {
		return err
	}
	if filtered > 0 {
		return fmt.Errorf("%d pictures were filtered or dead-lettered", filtered)
	}
	perSecond := float64(images) / time.Since(began).Seconds()
	ours, database, err := s.spent(ctx)
	if err != nil {
		return err
	}
	perImage := func(d time.Duration) string { return short(d / time.Duration(images)) }
	t.add(row{
		what:     fmt.Sprintf("frames of %d×%d, built-in detector, %d images (written in %s)", w.frame, w.frame*3/4, images, short(written)),
		measured: rate(perSecond), compared: fmt.Sprintf("CPU per image: server %s, database %s", perImage(ours), perImage(database)),
		target: "≥ 300/s", ok: perSecond >= 300, noTarget: w.frame != smallFrame,
	})
	return nil
}

// smallFrame is the width of the pictures that the target of frames is about.
const smallFrame = 320

// spent is the processor time of the server and of its connections' backends since they started.
func (s *site) spent(ctx context.Context) (server, database time.Duration, err error) {
	if server, err = cpuTime(s.cmd.Process.Pid); err != nil {
		return 0, 0, err
	}
	rows, err := s.db.QueryContext(ctx, `SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()`)
	if err != nil {
		return 0, 0, err
	}
	defer rows.Close()
	for rows.Next() {
		var pid int
		if err := rows.Scan(&pid); err != nil {
			return 0, 0, err
		}
		if used, err := cpuTime(pid); err == nil { // one that has just ended is left out
			database += used
		}
	}
	return server, database, rows.Err()
}

// scan measures the first scan after a start, of files that are all in the ledger already.
func scan(ctx context.Context, w *world, t *table) error {
	files := max(int(1_000_000*w.scale), 1000)
	s, err := w.newSite(ctx, "scan", "LOG_LEVEL=DEBUG")
	if err != nil {
		return err
	}
	defer func() { _ = s.close(ctx) }()
	if err := s.start(ctx); err != nil { // migrates
		return err
	}
	if err := s.halt(); err != nil {
		return err
	}
	if err := ledgerFiles(ctx, s, "garden", files); err != nil {
		return err
	}
	if err := s.exec(ctx, `VACUUM ANALYZE`); err != nil {
		return err
	}
	began := time.Now()
	if err := s.start(ctx); err != nil {
		return err
	}
	wanted := fmt.Sprintf(`"files":%d,`, files)
	err = s.await(ctx, "the scan is over", func() bool {
		text, err := os.ReadFile(s.log.Name())
		return err == nil && strings.Contains(string(text), `"camera folders scanned"`) && strings.Contains(string(text), wanted)
	})
	if err != nil {
		return err
	}
	took := time.Since(began)
	peak, err := peakBytes(s.cmd.Process.Pid)
	if err != nil {
		return err
	}
	var rows int
	if err := s.db.QueryRowContext(ctx, `SELECT count(*) FROM images`).Scan(&rows); err != nil {
		return err
	}
	if rows != files {
		return fmt.Errorf("the scan made %d rows of %d known files", rows, files)
	}
	t.add(row{
		what: fmt.Sprintf("start-up scan of %d files in the ledger", files), measured: fmt.Sprintf("%s, %.0f MB", short(took), float64(peak)/1e6),
		target: "≤ 15 s, ≤ 100 MB", ok: took <= 15*time.Second && peak <= 100e6,
	})
	return nil
}
