package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/lib/pq"
	"golang.org/x/sync/errgroup"
)

// counters measures what keeping the counts costs writers: the same inserts with and without the
// triggers, in turn.
func counters(ctx context.Context, w *world, t *table) error {
	s, err := w.newSite(ctx, "counters")
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
	if err := s.exec(ctx, `INSERT INTO cameras (id, name, folder_path) VALUES ('front', 'Front', '/front')`); err != nil {
		return err
	}
	for _, each := range []struct {
		name       string
		batch      int
		statements int
		most       float64
	}{{"batches of 100", 100, 100, 10}, {"single rows", 1, 1000, 25}} {
		var costs []float64
		var with, without []float64
		for range w.rounds + 2 {
			rates := map[bool]float64{}
			for _, counted := range []bool{true, false} {
				action := "DISABLE"
				if counted {
					action = "ENABLE"
				}
				if err := s.exec(ctx, `TRUNCATE detections`); err != nil {
					return err
				}
				if err := s.exec(ctx, `ALTER TABLE detections `+action+` TRIGGER USER`); err != nil {
					return err
				}
				if rates[counted], err = s.insert(ctx, each.batch, each.statements); err != nil {
					return err
				}
			}
			with, without = append(with, rates[true]), append(without, rates[false])
			costs = append(costs, 100*(rates[false]/rates[true]-1))
		}
		cost := median(costs)
		t.add(row{
			what:     "counters: cost for 4 writers, " + each.name,
			measured: fmt.Sprintf("%.0f %% (%s)", cost, rate(median(with))), compared: "without " + rate(median(without)),
			target: fmt.Sprintf("≤ %.0f %%", each.most), ok: cost <= each.most,
		})
	}
	return nil
}

// insert lets four writers insert and returns rows per second.
func (s *site) insert(ctx context.Context, batch, statements int) (float64, error) {
	began := time.Now()
	group, ctx := errgroup.WithContext(ctx)
	for range 4 {
		group.Go(func() error {
			for range statements {
				if err := s.exec(ctx, `INSERT INTO detections (camera_id, file_path, detected_at, object_type, confidence)
					SELECT 'front', '/front/x.jpg', now(), 'person', 0.9 FROM generate_series(1, $1)`, batch); err != nil {
					return err
				}
			}
			return nil
		})
	}
	err := group.Wait()
	return float64(4*batch*statements) / time.Since(began).Seconds(), err
}

// cleanup compares a cleanup over the API with the deletes and unlinks alone, and watches what
// readers see meanwhile.
func cleanup(ctx context.Context, w *world, t *table) error {
	rows := max(int(1_000_000*w.scale), 1000)
	bareRate, err := w.bareCleanup(ctx, rows)
	if err != nil {
		return err
	}
	s, err := w.newSite(ctx, "cleanup", "RETENTION_DAYS=60")
	if err != nil {
		return err
	}
	defer func() { _ = s.close(ctx) }()
	if err := s.prepareCleanup(ctx, rows); err != nil {
		return err
	}
	if err := s.start(ctx); err != nil {
		return err
	}
	// The first scheduled run comes a day later. The files are counted first.
	if err := s.await(ctx, "the files are counted", func() bool { return status(ctx, s.baseURL+"/api/system/storage") == http.StatusOK }); err != nil {
		return err
	}
	patch, err := http.NewRequestWithContext(ctx, http.MethodPatch, s.baseURL+"/api/system/config", bytes.NewReader([]byte(`{"retention_days":1}`)))
	if err != nil {
		return err
	}
	patch.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(patch)
	if err != nil {
		return err
	}
	_ = response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("PATCH: status %d", response.StatusCode)
	}
	idleBytes, err := rssBytes(s.cmd.Process.Pid)
	if err != nil {
		return err
	}
	reads := s.readUntil(ctx)
	began := time.Now()
	removed, err := s.cleanup(ctx)
	took := time.Since(began)
	times := reads()
	if err != nil {
		return err
	}
	if removed != rows {
		return fmt.Errorf("the cleanup removed %d of %d thumbnails", removed, rows)
	}
	peak, err := peakBytes(s.cmd.Process.Pid)
	if err != nil {
		return err
	}
	percent := 100 * float64(rows) / took.Seconds() / bareRate
	slices.Sort(times)
	p99 := percentile(times, 0.99)
	t.add(row{
		what: fmt.Sprintf("cleanup of %d detections and files", rows), measured: fmt.Sprintf("%s, %.0f %%", rate(float64(rows)/took.Seconds()), percent),
		compared: "bare SQL and unlink " + rate(bareRate), target: "≥ 70 %", ok: percent >= 70,
	})
	t.add(row{what: "reads meanwhile, p99", measured: fmt.Sprintf("%s of %d", short(p99), len(times)), target: "≤ 20 ms", ok: p99 <= 20*time.Millisecond})
	t.add(row{
		what: "memory that it took", measured: fmt.Sprintf("%.0f MB over %.0f MB", float64(peak-idleBytes)/1e6, float64(idleBytes)/1e6), target: "constant: ≤ 30 MB",
		ok: peak-idleBytes <= 30e6,
	})
	return nil
}

// prepareCleanup loads rows of the last month.
func (s *site) prepareCleanup(ctx context.Context, rows int) error {
	if err := s.start(ctx); err != nil { // migrates
		return err
	}
	if err := s.halt(); err != nil {
		return err
	}
	if err := s.load(ctx, size{detections: rows, thumbnails: rows}, 20); err != nil {
		return err
	}
	if err := s.exec(ctx, `UPDATE events SET started_at = started_at - interval '3 days', ended_at = ended_at - interval '3 days'`); err != nil {
		return err
	}
	return s.exec(ctx, `VACUUM ANALYZE`)
}

// cleanup asks for a run and returns how many thumbnails it removed.
func (s *site) cleanup(ctx context.Context) (thumbnails int, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, s.baseURL+"/api/system/cleanup", nil)
	if err != nil {
		return 0, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	var report struct {
		Thumbnails int    `json:"thumbnails_deleted"`
		Detail     string `json:"detail"`
	}
	if err := json.NewDecoder(response.Body).Decode(&report); err != nil {
		return 0, err
	}
	if response.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("cleanup: status %d: %s", response.StatusCode, report.Detail)
	}
	return report.Thumbnails, nil
}

// readUntil reads the API 50 times per second until the returned function is called, which returns
// how long each took.
func (s *site) readUntil(ctx context.Context) func() []time.Duration {
	ctx, cancel := context.WithCancel(ctx)
	var times []time.Duration
	var done sync.WaitGroup
	done.Go(func() {
		ticker := time.NewTicker(20 * time.Millisecond)
		defer ticker.Stop()
		paths := []string{"/api/system/stats", "/api/system/gpu/history?limit=300", "/api/system/telemetry", "/api/system/config", "/api/system/storage"}
		for i := 0; ; i++ {
			select {
			case <-ticker.C:
			case <-ctx.Done():
				return
			}
			began := time.Now()
			if _, err := get(ctx, s.baseURL+paths[i%len(paths)]); err == nil {
				times = append(times, time.Since(began))
			} else if ctx.Err() == nil {
				times = append(times, time.Minute) // a read that fails is a slow one
			}
		}
	})
	return func() []time.Duration {
		cancel()
		done.Wait()
		return times
	}
}

// bareCleanup deletes the same rows and files with nothing but SQL and unlink, in batches of the
// same size, and returns rows per second.
func (w *world) bareCleanup(ctx context.Context, rows int) (float64, error) {
	s, err := w.newSite(ctx, "bare")
	if err != nil {
		return 0, err
	}
	defer func() { _ = s.close(ctx) }()
	if err := s.prepareCleanup(ctx, rows); err != nil {
		return 0, err
	}
	thumbnails := filepath.Join(s.dataDir, "thumbnails")
	const eventsAtOnce = 200
	began := time.Now()
	for first := 1; first <= rows/5+1; first += eventsAtOnce {
		ids := make([]int64, 0, eventsAtOnce)
		for id := first; id < first+eventsAtOnce; id++ {
			ids = append(ids, int64(id))
		}
		paths, err := s.deleteEvents(ctx, ids)
		if err != nil {
			return 0, err
		}
		for _, path := range paths {
			if err := os.Remove(filepath.Join(thumbnails, path)); err != nil {
				return 0, err
			}
		}
	}
	return float64(rows) / time.Since(began).Seconds(), nil
}

func (s *site) deleteEvents(ctx context.Context, ids []int64) (paths []string, err error) {
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return nil, err
	}
	defer func() { _ = tx.Rollback() }()
	rows, err := tx.QueryContext(ctx, `DELETE FROM detections WHERE event_id = ANY ($1) RETURNING thumbnail_path`, pq.Array(ids))
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var path *string
		if err := rows.Scan(&path); err != nil {
			return nil, err
		}
		if path != nil {
			paths = append(paths, *path)
		}
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	if _, err := tx.ExecContext(ctx, `DELETE FROM events WHERE id = ANY ($1)`, pq.Array(ids)); err != nil {
		return nil, err
	}
	return paths, tx.Commit()
}
