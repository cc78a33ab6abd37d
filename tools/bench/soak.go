package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"
)

const (
	soakCameras = 32
	// soakEvery is the time between two looks at the server.
	soakEvery = 5 * time.Second
	// soakGrowth is how much larger the last quarter of a soak may be than the second: more than
	// the memory of a Go program swings between two collections, less than any leak that an image
	// leaves would make of it.
	soakGrowth = 1.15
)

// footprint is what the server holds at one moment.
type footprint struct {
	at                   time.Duration
	rss                  int64
	descriptors, threads int
	waiting              int // images not through the detector yet
}

// soak lets 32 cameras write one small picture a second each, and looks whether memory and
// descriptors stay level. It prints what it saw each minute.
func soak(ctx context.Context, w *world, t *table) error {
	s, err := w.newSite(ctx, "soak")
	if err != nil {
		return err
	}
	if err := s.start(ctx); err != nil {
		return err
	}
	defer func() { _ = s.close(ctx) }()
	writing, cancel := context.WithCancel(ctx)
	defer cancel()
	written := make(chan error, 1)
	var count int
	go func() {
		var err error
		count, err = soakCamerasWrite(writing, s, w.soak)
		written <- err
	}()
	seen, err := s.watchFootprint(ctx, w.soak, os.Stderr)
	if err != nil {
		return err
	}
	if err := <-written; err != nil {
		return err
	}
	var done, events int
	err = s.await(ctx, "all pictures were detected", func() bool {
		err := s.db.QueryRowContext(ctx, `SELECT count(*) FROM images WHERE state NOT IN ('seen', 'queued', 'detecting')`).Scan(&done)
		return err == nil && done >= count
	})
	if err != nil {
		return err
	}
	var p50, p99 float64
	if err := s.db.QueryRowContext(ctx, `SELECT count(*) FROM events`).Scan(&events); err != nil {
		return err
	}
	if err := s.db.QueryRowContext(ctx, `
		SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY s), percentile_cont(0.99) WITHIN GROUP (ORDER BY s)
		FROM (SELECT extract(epoch FROM detect_started_at - mtime)::float8 AS s FROM images WHERE detect_started_at IS NOT NULL) AS i`).Scan(&p50, &p99); err != nil {
		return err
	}
	soakRows(t, w.soak, seen)
	t.add(row{
		what:     fmt.Sprintf("soak: %d pictures written, %d events; most waiting at once", count, events),
		measured: fmt.Sprint(slices.MaxFunc(seen, func(a, b footprint) int { return a.waiting - b.waiting }).waiting), noTarget: true,
	})
	t.add(row{what: "soak: close of a file → start of its detection", measured: fmt.Sprintf("p50 %.0f ms, p99 %.0f ms", p50*1000, p99*1000), noTarget: true})
	return nil
}

// soakRows compares the last quarter with the second: the first is the warming up.
func soakRows(t *table, took time.Duration, seen []footprint) {
	quarter := len(seen) / 4
	second, last := seen[quarter:2*quarter], seen[len(seen)-quarter:]
	level := func(what string, of func(footprint) float64, unit string, target string, growth float64, slack float64) {
		middle := func(part []footprint) float64 {
			values := make([]float64, len(part))
			for i, f := range part {
				values[i] = of(f)
			}
			return median(values)
		}
		highest := of(slices.MaxFunc(seen, func(a, b footprint) int { return int(of(a) - of(b)) }))
		before, after := middle(second), middle(last)
		t.add(row{
			what:     fmt.Sprintf("soak of %v, %d cameras × 1 picture/s: %s", took, soakCameras, what),
			measured: fmt.Sprintf("%.0f%s in the last quarter, highest %.0f%s", after, unit, highest, unit),
			compared: fmt.Sprintf("%.0f%s in the second", before, unit), target: target, ok: after <= before*growth+slack,
		})
	}
	level("memory (RSS)", func(f footprint) float64 { return float64(f.rss) / 1e6 }, " MB", "≤ 1.15 × the second", soakGrowth, 0)
	level("open descriptors", func(f footprint) float64 { return float64(f.descriptors) }, "", "≤ the second + 4", 1, 4)
	level("threads", func(f footprint) float64 { return float64(f.threads) }, "", "≤ the second + 4", 1, 4)
}

// soakCamerasWrite writes until took is over and returns how many pictures it wrote. The cameras
// take turns within each second.
func soakCamerasWrite(ctx context.Context, s *site, took time.Duration) (int, error) {
	const different = 64
	var drawn [][]byte
	for i := range different {
		p, err := picture(320, 240, uint64(i))
		if err != nil {
			return 0, err
		}
		drawn = append(drawn, p)
	}
	ticker := time.NewTicker(time.Second / soakCameras)
	defer ticker.Stop()
	began := time.Now()
	n := 0
	for ; time.Since(began) < took; n++ {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return n, ctx.Err()
		}
		dir := filepath.Join(s.dataDir, "cameras", fmt.Sprintf("cam%02d", n%soakCameras))
		if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // see newWorld
			return n, err
		}
		content := withComment(drawn[(n/soakCameras)%different], fmt.Sprintf("picture %d", n))
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%06d.jpg", n)), content, 0o600); err != nil {
			return n, err
		}
	}
	return n, nil
}

// watchFootprint looks at the server until took is over.
func (s *site) watchFootprint(ctx context.Context, took time.Duration, out io.Writer) ([]footprint, error) {
	ticker := time.NewTicker(min(soakEvery, took/40))
	defer ticker.Stop()
	began := time.Now()
	var seen []footprint
	for minute := time.Duration(0); time.Since(began) < took; {
		select {
		case <-ticker.C:
		case <-s.exited:
			return nil, fmt.Errorf("the server ended, see %s", s.log.Name())
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		f, err := s.footprint(ctx)
		if err != nil {
			return nil, err
		}
		f.at = time.Since(began)
		seen = append(seen, f)
		if f.at < minute {
			continue
		}
		minute = f.at.Truncate(time.Minute) + time.Minute
		if len(seen) == 1 {
			_, _ = fmt.Fprintln(out, "    time  RSS MB  descriptors  threads  waiting")
		}
		_, _ = fmt.Fprintf(out, "%8v  %6.1f  %11d  %7d  %7d\n", f.at.Round(time.Second), float64(f.rss)/1e6, f.descriptors, f.threads, f.waiting)
	}
	return seen, nil
}

func (s *site) footprint(ctx context.Context) (f footprint, err error) {
	pid := s.cmd.Process.Pid
	if f.rss, err = rssBytes(pid); err != nil {
		return f, err
	}
	for folder, into := range map[string]*int{"fd": &f.descriptors, "task": &f.threads} {
		entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/%s", pid, folder))
		if err != nil {
			return f, err
		}
		*into = len(entries)
	}
	err = s.db.QueryRowContext(ctx, `SELECT count(*) FROM images WHERE state IN ('seen', 'queued', 'detecting')`).Scan(&f.waiting)
	return f, err
}
