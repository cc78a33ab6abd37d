//go:build e2e

package main

import (
	"encoding/json"
	"math"
	"slices"
	"syscall"
	"time"

	"github.com/stretchr/testify/require"

	"hsi.home.arpa/internal/e2e"
)

// latencySummary is the wire form of one stage.
type latencySummary struct {
	Avg   float64 `json:"avg_ms"`
	Min   float64 `json:"min_ms"`
	Max   float64 `json:"max_ms"`
	P50   float64 `json:"p50_ms"`
	P95   float64 `json:"p95_ms"`
	P99   float64 `json:"p99_ms"`
	Count int64   `json:"sample_count"`
}

type telemetryAnswer struct {
	Queues struct {
		Detection int64 `json:"detection_queue"`
		Analysis  int64 `json:"analysis_queue"`
	}
	Latencies map[string]*latencySummary
}

// telemetry reads the figures; depths of -1 say that there were none.
func (w *world) telemetry() (answer telemetryAnswer) {
	w.tb.Helper()
	status, body := w.get("/api/system/telemetry")
	if status != 200 {
		answer.Queues.Detection, answer.Queues.Analysis = -1, -1
		return answer
	}
	require.NoError(w.tb, json.Unmarshal(body, &answer))
	return answer
}

type pipelineAnswer struct {
	WatchToDetect  *latencySummary `json:"watch_to_detect"`
	DetectToBatch  *latencySummary `json:"detect_to_batch"`
	BatchToAnalyze *latencySummary `json:"batch_to_analyze"`
	TotalPipeline  *latencySummary `json:"total_pipeline"`
}

// compareExact compares a stage with the same times taken from the database: count, mean, least
// and most exactly (to the microsecond of the database and the rounding of the answer),
// percentiles within their promise of 1 %.
func (s *latencySummary) compareExact(name string, want []time.Duration, diff *e2e.Findings) {
	if s == nil {
		diff.Add(e2e.Wrong, "%s: null, want %d samples", name, len(want))
		return
	}
	slices.Sort(want)
	var sum time.Duration
	for _, d := range want {
		sum += d
	}
	milliseconds := func(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
	rank := func(percent float64) float64 {
		return milliseconds(want[int(math.Ceil(percent/100*float64(len(want))))-1])
	}
	if s.Count != int64(len(want)) {
		diff.Add(e2e.Wrong, "%s: %d samples, want %d", name, s.Count, len(want))
		return
	}
	near := func(figure string, got, want, relative float64) {
		diff.Check(math.Abs(got-want) <= 0.01+relative*want, e2e.Wrong,
			"%s: %s is %.3f ms, want %.3f", name, figure, got, want)
	}
	near("avg", s.Avg, milliseconds(sum)/float64(len(want)), 0)
	near("min", s.Min, milliseconds(want[0]), 0)
	near("max", s.Max, milliseconds(want[len(want)-1]), 0)
	near("p50", s.P50, rank(50), 0.01)
	near("p95", s.P95, rank(95), 0.01)
	near("p99", s.P99, rank(99), 0.01)
}

// compareAtMost compares a stage with times of the database that are those measured or longer ones.
func (s *latencySummary) compareAtMost(name string, want []time.Duration, diff *e2e.Findings) {
	if s == nil || s.Count != int64(len(want)) {
		diff.Add(e2e.Wrong, "%s: %+v, want %d samples", name, s, len(want))
		return
	}
	slices.Sort(want)
	for _, c := range []struct {
		figure  string
		got     float64
		percent float64
	}{{"min", s.Min, 0}, {"p50", s.P50, 50}, {"p95", s.P95, 95}, {"p99", s.P99, 99}, {
		"max", s.Max,
		100,
	}} {
		most := float64(want[max(0,
			int(math.Ceil(c.percent/100*float64(len(want))))-1)]) / float64(time.Millisecond)
		diff.Check(c.got > 0 && c.got <= 1.01*most, e2e.Wrong,
			"%s: %s is %.3f ms, the database says at most %.3f", name, c.figure, c.got, most)
	}
	diff.Check(s.Min <= s.Avg && s.Avg <= s.Max && s.P50 <= s.P95 && s.P95 <= s.P99, e2e.Wrong,
		"%s: figures do not fit together: %+v", name, *s)
}

// compareCalls compares the measured calls of an AI service with the service's own clock: as many,
// and none shorter than the service worked on it.
func (s *latencySummary) compareCalls(name string, took []time.Duration, diff *e2e.Findings) {
	if s == nil || s.Count != int64(len(took)) {
		diff.Add(e2e.Wrong, "%s: %+v, want %d samples", name, s, len(took))
		return
	}
	slices.Sort(took)
	var sum time.Duration
	for _, d := range took {
		sum += d
	}
	milliseconds := func(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
	least := func(figure string, got float64, want time.Duration) {
		diff.Check(got >= 0.99*milliseconds(want), e2e.Wrong,
			"%s: %s is %.3f ms, the service took %v", name, figure, got, want)
	}
	least("avg", s.Avg, sum/time.Duration(len(took)))
	least("min", s.Min, took[0])
	least("p50", s.P50, took[(len(took)-1)/2])
	least("max", s.Max, took[len(took)-1])
}

// requireLatencies compares all eight stages with the database and the AI services' clocks.
func (w *world) requireLatencies(l *e2e.Ledger) {
	w.tb.Helper()
	var detected, model []time.Duration
	for _, call := range w.Detector.Calls() {
		detected = append(detected, call.Took())
	}
	for _, call := range w.Model.Calls() {
		model = append(model, call.Took())
	}
	var watch, toDetect, toBatch, look, batched, toAnalyze, total []time.Duration
	for _, img := range l.Images {
		if !img.DetectStartedAt.Valid {
			continue
		}
		started := img.DetectStartedAt.Time
		watch = append(watch, img.QueuedAt.Time.Sub(img.SeenAt))
		toDetect = append(toDetect, started.Sub(img.SeenAt))
		if img.BatchedAt.Valid {
			toBatch = append(toBatch, img.BatchedAt.Time.Sub(started))
			look = append(look, img.BatchedAt.Time.Sub(started))
		} else {
			look = append(look, img.FilteredAt.Time.Sub(started))
		}
	}
	events := map[int64]e2e.Event{}
	for _, event := range l.Events {
		events[event.ID] = event
	}
	for _, b := range l.Batches {
		event := events[b.EventID.Int64]
		batched = append(batched, b.ClosedAt.Time.Sub(b.CreatedAt))
		toAnalyze = append(toAnalyze, event.CreatedAt.Sub(b.ClosedAt.Time))
		total = append(total, event.CreatedAt.Sub(b.FirstSeenAt.Time))
	}
	// The newest samples are in the figures within a second.
	w.eventually("the figures have every event", func() bool {
		analyze := w.telemetry().Latencies["analyze"]
		return analyze != nil && analyze.Count >= int64(len(l.Events))
	})
	telemetry := w.telemetry()
	var stages pipelineAnswer
	w.getJSON("/api/system/pipeline-latency?window_minutes=60", &stages)
	var diff e2e.Findings
	telemetry.Latencies["detect"].compareCalls("detect", detected, &diff)
	telemetry.Latencies["detect"].compareAtMost("detect", look, &diff)
	telemetry.Latencies["analyze"].compareCalls("analyze", model, &diff)
	telemetry.Latencies["analyze"].compareAtMost("analyze", toAnalyze, &diff)
	telemetry.Latencies["watch"].compareAtMost("watch", watch, &diff)
	telemetry.Latencies["batch"].compareExact("batch", batched, &diff)
	stages.WatchToDetect.compareExact("watch_to_detect", toDetect, &diff)
	stages.DetectToBatch.compareExact("detect_to_batch", toBatch, &diff)
	stages.BatchToAnalyze.compareExact("batch_to_analyze", toAnalyze, &diff)
	stages.TotalPipeline.compareExact("total_pipeline", total, &diff)
	diff.Check(telemetry.Queues.Detection == 0 && telemetry.Queues.Analysis == 0, e2e.Wrong,
		"queues: %+v, want both 0", telemetry.Queues)
	diff.RequireNone(w.tb, "latency figures")
}

type fileTotals struct {
	Files int64 `json:"file_count"`
	Bytes int64 `json:"size_bytes"`
}

type storageAnswer struct {
	Thumbnails, Images, Clips fileTotals
	Events                    int64   `json:"events_count"`
	Detections                int64   `json:"detections_count"`
	GPUSamples                int64   `json:"gpu_stats_count"`
	Logs                      int64   `json:"logs_count"`
	DiskTotal                 int64   `json:"disk_total_bytes"`
	DiskUsed                  int64   `json:"disk_used_bytes"`
	DiskFree                  int64   `json:"disk_free_bytes"`
	DiskPercent               float64 `json:"disk_usage_percent"`
}

// requireCounts compares the counts of the API with the database and the disk. Thumbnails are
// those on disk, nil leaves them out.
func (w *world) requireCounts(l *e2e.Ledger, thumbnails *fileTotals) {
	w.tb.Helper()
	var stats struct {
		Cameras    int64   `json:"total_cameras"`
		Events     int64   `json:"total_events"`
		Detections int64   `json:"total_detections"`
		Uptime     float64 `json:"uptime_seconds"`
	}
	var storage storageAnswer
	shots := w.Cameras.Shots()
	images := fileTotals{Files: int64(len(shots))}
	for _, s := range shots {
		images.Bytes += s.Size
	}
	// The images are counted by a walk that rests between two rounds.
	w.eventually("the walk has seen every image", func() bool {
		w.getJSON("/api/system/storage", &storage)
		return storage.Images == images
	})
	rows := func(table string) int64 { return w.count("SELECT count(*) FROM " + table) }
	before := [2]int64{rows("gpu_stats"), rows("logs")}
	w.getJSON("/api/system/stats", &stats)
	var diff e2e.Findings
	diff.Check(stats.Cameras == int64(len(runCameras)) && stats.Events == int64(len(l.Events)) &&
		stats.Detections == int64(len(l.Detections)), e2e.Wrong,
		"/stats: %+v, want %d cameras, %d events, %d detections", stats, len(runCameras), len(l.Events), len(l.Detections))
	diff.Check(stats.Uptime > 0 && stats.Uptime <= time.Since(w.begun).Seconds(), e2e.Wrong,
		"/stats: uptime %g s, started %v ago", stats.Uptime, time.Since(w.begun))
	var fresh storageAnswer
	w.eventually("counts that are younger than the rows", func() bool { // kept figures are at most a second old
		w.getJSON("/api/system/storage", &fresh)
		return fresh.GPUSamples >= before[0] && fresh.Logs >= before[1]
	})
	diff.Check(fresh.GPUSamples <= rows("gpu_stats") && fresh.Logs <= rows("logs"), e2e.Wrong,
		"/storage: more samples or logs than rows: %+v", fresh)
	diff.Check(fresh.Events == int64(len(l.Events)) && fresh.Detections == int64(len(l.Detections)),
		e2e.Wrong,
		"/storage: %d events, %d detections, want %d, %d", fresh.Events, fresh.Detections, len(l.Events), len(l.Detections))
	diff.Check(thumbnails == nil || fresh.Thumbnails == *thumbnails, e2e.Wrong,
		"/storage: thumbnails %+v, on disk %+v", fresh.Thumbnails, thumbnails)
	diff.Check(fresh.Clips == fileTotals{}, e2e.Wrong, "/storage: clips %+v, there are none",
		fresh.Clips)
	var disk syscall.Statfs_t
	require.NoError(w.tb, syscall.Statfs(w.DataDir, &disk))
	diff.Check(fresh.DiskTotal == int64(disk.Blocks)*disk.Bsize && fresh.DiskUsed > 0 &&
		fresh.DiskFree > 0 && fresh.DiskUsed+fresh.DiskFree <= fresh.DiskTotal &&
		fresh.DiskPercent > 0 &&
		fresh.DiskPercent <= 100, e2e.Wrong, "/storage: disk %+v, the file system has %d bytes", fresh, int64(disk.Blocks)*disk.Bsize)
	diff.RequireNone(w.tb, "counts")
}
