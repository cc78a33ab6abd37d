package main

import (
	"encoding/json"
	"io/fs"
	"math"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"hsi.home.arpa/pipeline/aitest"
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

// compareExact compares a stage with the same times taken from the database: count, mean, least and most exactly (to the microsecond
// of the database and the rounding of the answer), percentiles within their promise of 1 %.
func (s *latencySummary) compareExact(name string, want []time.Duration, diff *differences) {
	if s == nil {
		diff.add("%s: null, want %d samples", name, len(want))
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
		diff.add("%s: %d samples, want %d", name, s.Count, len(want))
		return
	}
	near := func(figure string, got, want, relative float64) {
		diff.check(math.Abs(got-want) <= 0.01+relative*want, "%s: %s is %.3f ms, want %.3f", name, figure, got, want)
	}
	near("avg", s.Avg, milliseconds(sum)/float64(len(want)), 0)
	near("min", s.Min, milliseconds(want[0]), 0)
	near("max", s.Max, milliseconds(want[len(want)-1]), 0)
	near("p50", s.P50, rank(50), 0.01)
	near("p95", s.P95, rank(95), 0.01)
	near("p99", s.P99, rank(99), 0.01)
}

// compareAtMost compares a stage with times of the database that are those measured or later ones: an image may be queued again.
func (s *latencySummary) compareAtMost(name string, want []time.Duration, diff *differences) {
	if s == nil || s.Count != int64(len(want)) {
		diff.add("%s: %+v, want %d samples", name, s, len(want))
		return
	}
	slices.Sort(want)
	for _, c := range []struct {
		figure  string
		got     float64
		percent float64
	}{{"min", s.Min, 0}, {"p50", s.P50, 50}, {"p95", s.P95, 95}, {"p99", s.P99, 99}, {"max", s.Max, 100}} {
		most := float64(want[max(0, int(math.Ceil(c.percent/100*float64(len(want))))-1)]) / float64(time.Millisecond)
		diff.check(c.got > 0 && c.got <= 1.01*most, "%s: %s is %.3f ms, the database says at most %.3f", name, c.figure, c.got, most)
	}
	diff.check(s.Min <= s.Avg && s.Avg <= s.Max && s.P50 <= s.P95 && s.P95 <= s.P99, "%s: figures do not fit together: %+v", name, *s)
}

// compareCalls compares the measured calls of an AI service with the service's own clock: as many, none shorter than the service
// worked on it, and not much longer on the whole.
func (s *latencySummary) compareCalls(name string, took []time.Duration, diff *differences) {
	if s == nil || s.Count != int64(len(took)) {
		diff.add("%s: %+v, want %d samples", name, s, len(took))
		return
	}
	slices.Sort(took)
	var sum time.Duration
	for _, d := range took {
		sum += d
	}
	const slack = 1000.0 // ms of a busy test machine, on average
	const unit = float64(time.Millisecond)
	mean := float64(sum) / unit / float64(len(took))
	diff.check(s.Avg >= mean && s.Avg <= mean+slack, "%s: avg is %.3f ms, the service took %.3f", name, s.Avg, mean)
	least, most := float64(took[0])/unit, float64(took[len(took)-1])/unit
	// However busy the machine is, one call of many comes through at once.
	diff.check(s.Min >= least && s.Min <= 1.9*least, "%s: min is %.3f ms, the service took at least %.3f", name, s.Min, least)
	diff.check(s.Max >= most, "%s: max is %.3f ms, the service took up to %.3f", name, s.Max, most)
	median := float64(took[(len(took)-1)/2]) / unit
	diff.check(s.P50 >= 0.99*median && s.Min <= s.P50 && s.P50 <= s.P95 && s.P95 <= s.P99 && s.P99 <= s.Max,
		"%s: percentiles do not fit together, the service's median is %.3f ms: %+v", name, median, *s)
}

// requireLatencies compares all eight stages with the database and the AI services' clocks.
func (w *world) requireLatencies(l *ledger) {
	w.tb.Helper()
	var detected, model []time.Duration
	for _, call := range w.detector.Calls() {
		detected = append(detected, call.Took())
	}
	for _, call := range w.model.Calls() {
		model = append(model, call.Took())
	}
	var watch, toDetect, toBatch, batched, toAnalyze, total []time.Duration
	for _, img := range l.images {
		if !img.DetectStartedAt.Valid {
			continue
		}
		watch = append(watch, img.QueuedAt.Time.Sub(img.SeenAt))
		toDetect = append(toDetect, img.DetectStartedAt.Time.Sub(img.SeenAt))
		if img.BatchedAt.Valid {
			toBatch = append(toBatch, img.BatchedAt.Time.Sub(img.DetectStartedAt.Time))
		}
	}
	for _, b := range l.batches {
		event := l.events[b.EventID.Int64]
		batched = append(batched, b.ClosedAt.Time.Sub(b.CreatedAt))
		toAnalyze = append(toAnalyze, event.CreatedAt.Sub(b.ClosedAt.Time))
		total = append(total, event.CreatedAt.Sub(b.FirstSeenAt))
	}
	// The newest samples are in the figures within a second.
	w.eventually("the figures have every event", func() bool {
		analyze := w.telemetry().Latencies["analyze"]
		return analyze != nil && analyze.Count >= int64(len(l.events))
	})
	telemetry := w.telemetry()
	var stages pipelineAnswer
	w.getJSON("/api/system/pipeline-latency?window_minutes=60", 200, &stages)
	var diff differences
	telemetry.Latencies["detect"].compareCalls("detect", detected, &diff)
	telemetry.Latencies["analyze"].compareCalls("analyze", model, &diff)
	telemetry.Latencies["watch"].compareAtMost("watch", watch, &diff)
	telemetry.Latencies["batch"].compareExact("batch", batched, &diff)
	stages.WatchToDetect.compareExact("watch_to_detect", toDetect, &diff)
	stages.DetectToBatch.compareExact("detect_to_batch", toBatch, &diff)
	stages.BatchToAnalyze.compareExact("batch_to_analyze", toAnalyze, &diff)
	stages.TotalPipeline.compareExact("total_pipeline", total, &diff)
	diff.check(telemetry.Queues.Detection == 0 && telemetry.Queues.Analysis == 0, "queues: %+v, want both 0", telemetry.Queues)
	diff.requireNone(w.tb, "latency figures")
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

// requireCounts compares the counts of the API with the database and the disk. thumbnails are those on disk; Files of -1 leaves them
// out.
func (w *world) requireCounts(l *ledger, thumbnails fileTotals) {
	w.tb.Helper()
	var stats struct {
		Cameras    int64   `json:"total_cameras"`
		Events     int64   `json:"total_events"`
		Detections int64   `json:"total_detections"`
		Uptime     float64 `json:"uptime_seconds"`
	}
	var storage storageAnswer
	images := fileTotals{Files: int64(len(w.shots))}
	for _, s := range w.shots {
		images.Bytes += s.size
	}
	// The images are counted by a walk that rests between two rounds.
	w.eventually("the walk has seen every image", func() bool {
		w.getJSON("/api/system/storage", 200, &storage)
		return storage.Images == images
	})
	rows := func(table string) int64 { return w.count("SELECT count(*) FROM " + table) }
	before := [2]int64{rows("gpu_stats"), rows("logs")}
	w.getJSON("/api/system/stats", 200, &stats)
	var diff differences
	diff.check(stats.Cameras == int64(len(runCameras)) && stats.Events == int64(len(l.events)) && stats.Detections == int64(len(l.detections)),
		"/stats: %+v, want %d cameras, %d events, %d detections", stats, len(runCameras), len(l.events), len(l.detections))
	diff.check(stats.Uptime > 0 && stats.Uptime <= time.Since(w.begun).Seconds(), "/stats: uptime %g s, started %v ago", stats.Uptime, time.Since(w.begun))
	var fresh storageAnswer
	w.eventually("counts that are younger than the rows", func() bool { // kept figures are at most a second old
		w.getJSON("/api/system/storage", 200, &fresh)
		return fresh.GPUSamples >= before[0] && fresh.Logs >= before[1]
	})
	diff.check(fresh.GPUSamples <= rows("gpu_stats") && fresh.Logs <= rows("logs"), "/storage: more samples or logs than rows: %+v", fresh)
	diff.check(fresh.Events == int64(len(l.events)) && fresh.Detections == int64(len(l.detections)),
		"/storage: %d events, %d detections, want %d, %d", fresh.Events, fresh.Detections, len(l.events), len(l.detections))
	diff.check(thumbnails.Files < 0 || fresh.Thumbnails == thumbnails, "/storage: thumbnails %+v, on disk %+v", fresh.Thumbnails, thumbnails)
	diff.check(fresh.Clips == fileTotals{}, "/storage: clips %+v, there are none", fresh.Clips)
	var disk syscall.Statfs_t
	require.NoError(w.tb, syscall.Statfs(w.DataDir, &disk))
	diff.check(fresh.DiskTotal == int64(disk.Blocks)*disk.Bsize && fresh.DiskUsed > 0 && fresh.DiskFree > 0 && fresh.DiskUsed+fresh.DiskFree <= fresh.DiskTotal &&
		fresh.DiskPercent > 0 && fresh.DiskPercent <= 100, "/storage: disk %+v, the file system has %d bytes", fresh, int64(disk.Blocks)*disk.Bsize)
	diff.requireNone(w.tb, "counts")
}

// filesBelow lists the plain files below a folder.
func filesBelow(tb testing.TB, root string) (paths []string) {
	tb.Helper()
	require.NoError(tb, filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.Type().IsRegular() {
			paths = append(paths, path)
		}
		return err
	}))
	return paths
}

// answeredBy returns when the last honest answer to one of the images was complete; zero when there was none.
func answeredBy(calls []aitest.DetectCall, sha256 string) (at time.Time) {
	for _, call := range calls {
		if call.SHA256 == sha256 && call.WasAnswered() {
			at = call.EndedAt
		}
	}
	return at
}
