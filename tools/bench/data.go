package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"
)

// size of a data set.
type size struct{ detections, logs, samples, thumbnails, clips, images int }

// sizeOf is the data set at a scale.
func sizeOf(scale float64) size {
	n := func(full int) int { return max(int(float64(full)*scale), 10) }
	return size{detections: n(1_000_000), logs: n(1_000_000), samples: n(518_400), thumbnails: n(150_000), clips: n(10_000), images: n(32_000)}
}

// historyDays is how far the data goes back: less than the retention period, so that no cleanup
// touches it.
const historyDays = 29

// site returns the server with the whole data set, which most rows of the table share.
func (w *world) site(ctx context.Context) (*site, error) {
	if w.main != nil {
		return w.main, nil
	}
	s, err := w.newSite(ctx, "main")
	if err != nil {
		return nil, err
	}
	w.main = s
	return s, s.fill(ctx, sizeOf(w.scale))
}

// fill loads a data set and starts the server on it.
func (s *site) fill(ctx context.Context, n size) error {
	began := time.Now()
	if err := s.start(ctx); err != nil { // migrates
		return err
	}
	if err := s.halt(); err != nil {
		return err
	}
	if err := s.load(ctx, n, historyDays); err != nil {
		return err
	}
	if err := ledgerFiles(ctx, s, "garden", n.images); err != nil {
		return err
	}
	if err := s.exec(ctx, `VACUUM ANALYZE`); err != nil {
		return err
	}
	s.w.log.InfoContext(ctx, "data set loaded", "site", s.name, "took", time.Since(began).Round(time.Second).String())
	if err := s.start(ctx); err != nil {
		return err
	}
	// The files are counted after the start.
	return s.await(ctx, "the files are counted", func() bool { return status(ctx, s.baseURL+"/api/system/storage") == 200 })
}

func (s *site) exec(ctx context.Context, query string, args ...any) error {
	if _, err := s.db.ExecContext(ctx, query, args...); err != nil {
		return fmt.Errorf("%.60s: %w", query, err)
	}
	return nil
}

// load fills the tables and the folders of thumbnails and clips; the rows are spread evenly over
// the last days.
func (s *site) load(ctx context.Context, n size, days float64) error {
	type statement struct {
		query string
		args  []any
	}
	seconds := days * 86_400
	for _, each := range []statement{
		{`INSERT INTO cameras (id, name, folder_path) SELECT 'camera' || i, 'Camera ' || i, '/cameras/camera' || i FROM generate_series(0, 7) AS i`, nil},
		{
			`INSERT INTO events (id, camera_id, started_at, ended_at, risk_score, risk_level, summary, reasoning, clip_path)
			SELECT i, 'camera' || i % 8, t, t + interval '30 s', i % 100, 'low', 'A person walked past the camera.', 'Loaded.',
				CASE WHEN i <= $3 THEN 'clip-' || i || '.mp4' END
			FROM (SELECT i, now() - interval '1 s' * ($2 * (1 - i::float8 / ($1 / 5 + 1))) AS t FROM generate_series(1, $1::int / 5 + 1) AS i) AS r`,
			[]any{n.detections, seconds, n.clips},
		},
		{`INSERT INTO detections (camera_id, file_path, detected_at, event_id, object_type, confidence, bbox_x, bbox_y, bbox_width, bbox_height, thumbnail_path)
			SELECT 'camera' || (i / 5 + 1) % 8, '/cameras/camera' || i % 8 || '/' || i || '.jpg',
				now() - interval '1 s' * ($2 * (1 - i::float8 / $1)), i / 5 + 1, 'person', 0.8, 1, 2, 30, 40,
				CASE WHEN i < $3 THEN lpad(to_hex(i % 256), 2, '0') || '/thumb-' || i || '.jpg' END
			FROM generate_series(0, $1::int - 1) AS i`, []any{n.detections, seconds, n.thumbnails}},
		{`INSERT INTO gpu_stats (recorded_at, gpu_name, gpu_utilization, memory_used, memory_total, temperature, power_usage, inference_fps)
			SELECT now() - interval '1 s' * ($2 * (1 - i::float8 / $1)), 'NVIDIA RTX A5500', 37.5 + i % 50, 8192 + i % 1000, 24564, 41 + i % 30, 75.25 + i % 100, 1.5
			FROM generate_series(0, $1::int - 1) AS i`, []any{n.samples, seconds}},
		{`INSERT INTO logs (timestamp, level, component, message)
			SELECT now() - interval '1 s' * ($2 * (1 - i::float8 / $1)), 'WARNING', 'bench', 'a line of the log that is about as long as most lines are'
			FROM generate_series(0, $1::int - 1) AS i`, []any{n.logs, seconds}},
	} {
		if err := s.exec(ctx, each.query, each.args...); err != nil {
			return err
		}
	}
	thumbnails, clips := filepath.Join(s.dataDir, "thumbnails"), filepath.Join(s.dataDir, "clips")
	for i := range 256 {
		if err := os.MkdirAll(filepath.Join(thumbnails, fmt.Sprintf("%02x", i)), 0o750); err != nil {
			return err
		}
	}
	if err := writeFiles(ctx, n.thumbnails, func(i int) string { return filepath.Join(thumbnails, fmt.Sprintf("%02x/thumb-%d.jpg", i%256, i)) }); err != nil {
		return err
	}
	return writeFiles(ctx, n.clips, func(i int) string { return filepath.Join(clips, fmt.Sprintf("clip-%d.mp4", i+1)) })
}

// writeFiles writes small files with two writers.
func writeFiles(ctx context.Context, n int, path func(i int) string) error {
	content := make([]byte, 4000)
	var group errgroup.Group
	for worker := range 2 {
		group.Go(func() error {
			for i := worker; i < n; i += 2 {
				if err := ctx.Err(); err != nil {
					return err
				}
				if err := os.WriteFile(path(i), content, 0o600); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return group.Wait()
}

// ledgerEpoch is the time of the first file that ledgerFiles makes.
var ledgerEpoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC) //nolint:gochecknoglobals // a constant

// ledgerFiles makes files of a camera that the ledger has already, as they are after a month of
// uploads: many days, one folder each.
func ledgerFiles(ctx context.Context, s *site, camera string, n int) error {
	const perFolder = 10_000
	dir := filepath.Join(s.dataDir, "cameras", camera)
	for day := range (n + perFolder - 1) / perFolder {
		if err := os.MkdirAll(filepath.Join(dir, fmt.Sprintf("day%03d", day)), 0o755); err != nil { //nolint:gosec // see newWorld
			return err
		}
	}
	var group errgroup.Group
	for worker := range 2 {
		group.Go(func() error {
			for i := worker; i < n; i += 2 {
				if err := ctx.Err(); err != nil {
					return err
				}
				path := filepath.Join(dir, fmt.Sprintf("day%03d/%07d.jpg", i/perFolder, i))
				if err := os.WriteFile(path, []byte("jpeg"), 0o600); err != nil {
					return err
				}
				at := ledgerEpoch.Add(time.Duration(i) * time.Second)
				if err := os.Chtimes(path, at, at); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	if err := s.exec(ctx, `INSERT INTO cameras (id, name, folder_path) VALUES ($1, $1, $2)`, camera, dir); err != nil {
		return err
	}
	return s.exec(ctx, `
		INSERT INTO images (camera_id, file_path, size_bytes, mtime, sha256, state, seen_at, analyzed_at)
		SELECT $1, $2::text || '/day' || lpad((i / $5)::text, 3, '0') || '/' || lpad(i::text, 7, '0') || '.jpg', 4, $3::timestamptz + interval '1 s' * i,
			lpad(to_hex(i), 64, '0'), 'analyzed', $3::timestamptz + interval '1 s' * i, $3::timestamptz + interval '1 s' * i
		FROM generate_series(0, $4::int - 1) AS i`, camera, dir, ledgerEpoch, n, perFolder)
}
