package main

import (
	"cmp"
	"database/sql"
	"fmt"
	"image"
	_ "image/jpeg"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/stretchr/testify/require"

	"hsi.home.arpa/pipeline/aitest"
	"hsi.home.arpa/pipeline/picture"
)

// ledger is everything that the database says about a run.
type ledger struct {
	images     []imageRow
	batches    map[int64]*batchRow
	events     map[int64]eventRow
	detections []detectionRow
}

type imageRow struct {
	ID              int64
	CameraID        string `db:"camera_id"`
	FilePath        string `db:"file_path"`
	SHA256          string
	SizeBytes       int64 `db:"size_bytes"`
	State           string
	Reason          sql.NullString
	Attempts        int
	BatchID         sql.NullInt64 `db:"batch_id"`
	ModTime         time.Time     `db:"mtime"`
	SeenAt          time.Time     `db:"seen_at"`
	QueuedAt        sql.NullTime  `db:"queued_at"`
	DetectStartedAt sql.NullTime  `db:"detect_started_at"`
	BatchedAt       sql.NullTime  `db:"batched_at"`
}

type batchRow struct {
	ID             int64
	CameraID       string `db:"camera_id"`
	State          string
	CreatedAt      time.Time     `db:"created_at"`
	FirstSeenAt    time.Time     `db:"first_seen_at"`
	ClosedAt       sql.NullTime  `db:"closed_at"`
	EventID        sql.NullInt64 `db:"event_id"`
	ImageCount     int           `db:"image_count"`
	DetectionCount int           `db:"detection_count"`

	detections []detectionRow
	images     int
}

type eventRow struct {
	ID        int64
	BatchID   string    `db:"batch_id"`
	CameraID  string    `db:"camera_id"`
	StartedAt time.Time `db:"started_at"`
	EndedAt   time.Time `db:"ended_at"`
	RiskScore int       `db:"risk_score"`
	RiskLevel string    `db:"risk_level"`
	Summary   string
	Reasoning string
	Analyzer  string
	CreatedAt time.Time `db:"created_at"`
}

type detectionRow struct {
	ID         int64
	CameraID   string        `db:"camera_id"`
	ImageID    int64         `db:"image_id"`
	BatchID    sql.NullInt64 `db:"batch_id"`
	EventID    sql.NullInt64 `db:"event_id"`
	FilePath   string        `db:"file_path"`
	FileType   string        `db:"file_type"`
	DetectedAt time.Time     `db:"detected_at"`
	ObjectType string        `db:"object_type"`
	Confidence float64
	X          int    `db:"bbox_x"`
	Y          int    `db:"bbox_y"`
	Width      int    `db:"bbox_width"`
	Height     int    `db:"bbox_height"`
	Thumbnail  string `db:"thumbnail_path"`
	Detector   string
}

func (d detectionRow) found() aitest.Detection {
	return aitest.Detection{
		Class: d.ObjectType, Confidence: d.Confidence, Box: aitest.Box{X: d.X, Y: d.Y, Width: d.Width, Height: d.Height},
	}
}

func (w *world) readLedger() *ledger {
	w.tb.Helper()
	read := func(into any, query string) {
		w.tb.Helper()
		require.NoError(w.tb, w.database.SelectContext(w.tb.Context(), into, query))
	}
	l := &ledger{batches: map[int64]*batchRow{}, events: map[int64]eventRow{}}
	read(&l.images, `SELECT id, camera_id, file_path, sha256, size_bytes, state, reason, attempts, batch_id, mtime, seen_at, queued_at,
		detect_started_at, batched_at FROM images ORDER BY id`)
	var batches []*batchRow
	read(&batches, `SELECT id, camera_id, state, created_at, first_seen_at, closed_at, event_id, image_count, detection_count FROM batches ORDER BY id`)
	for _, b := range batches {
		l.batches[b.ID] = b
	}
	var events []eventRow
	read(&events, `SELECT id, batch_id, camera_id, started_at, ended_at, risk_score, risk_level, summary, reasoning, analyzer, created_at FROM events`)
	for _, e := range events {
		l.events[e.ID] = e
	}
	read(&l.detections, `SELECT id, camera_id, image_id, batch_id, event_id, file_path, file_type, detected_at, object_type, confidence,
		bbox_x, bbox_y, bbox_width, bbox_height, thumbnail_path, detector FROM detections ORDER BY id`)
	for _, img := range l.images {
		if b := l.batches[img.BatchID.Int64]; b != nil {
			b.images++
		}
	}
	for _, d := range l.detections {
		if b := l.batches[d.BatchID.Int64]; b != nil {
			b.detections = append(b.detections, d)
		}
	}
	return l
}

// requireAccounted compares the cameras' own records and the scripts' with the database: each image in exactly one event or filtered
// for the right reason, with exactly the right detections, and each event what the model said about exactly the detections of its
// batch. In an undisturbed run each image was sent to the detector once, and each batch to the model.
func (w *world) requireAccounted(undisturbed bool) *ledger {
	w.tb.Helper()
	l := w.readLedger()
	var diff differences
	w.compareImages(l, &diff)
	w.compareCalls(l, &diff, undisturbed)
	w.compareEvents(l, &diff, undisturbed)
	diff.requireNone(w.tb, "cameras, database and AI services do not agree")
	return l
}

func (w *world) compareImages(l *ledger, diff *differences) {
	rows, detections := map[string][]imageRow{}, map[int64][]detectionRow{}
	for _, img := range l.images {
		rows[img.FilePath] = append(rows[img.FilePath], img)
	}
	for _, d := range l.detections {
		detections[d.ImageID] = append(detections[d.ImageID], d)
	}
	diff.check(len(l.images) == len(w.shots), "%d files written, %d rows in images", len(w.shots), len(l.images))
	for _, s := range w.shots {
		name, found := w.short(s.path), rows[s.path]
		if len(found) != 1 {
			diff.add("%s: %d rows in images", name, len(found))
			continue
		}
		img := found[0]
		diff.check(img.CameraID == s.camera && img.SHA256 == s.sha256 && img.SizeBytes == s.size,
			"%s: row of camera %s, %d bytes, sha256 %.8s…; written %s, %d, %.8s…", name, img.CameraID, img.SizeBytes, img.SHA256, s.camera, s.size, s.sha256)
		diff.check(img.State == s.state && img.Reason.String == s.reason, "%s: %s %q, want %s %q", name, img.State, img.Reason.String, s.state, s.reason)
		diff.check(img.BatchID.Valid == (s.state == "analyzed"), "%s: %s, in batch %v", name, img.State, img.BatchID)
		w.compareDetections(s, img, detections[img.ID], diff)
	}
}

func (w *world) compareDetections(s *shot, img imageRow, rows []detectionRow, diff *differences) {
	name := w.short(s.path)
	got, want := make([]aitest.Detection, 0, len(rows)), slices.Clone(s.kept)
	for _, d := range rows {
		got = append(got, d.found())
		diff.check(d.CameraID == s.camera && d.FilePath == s.path && d.FileType == "image/jpeg" && d.Detector == "rtdetr" && d.DetectedAt.Equal(picture.TakenAt(img.ModTime, img.SeenAt)),
			"%s: detection %d says camera %s, %s, %s, by %s, at %v (file %v)", name, d.ID, d.CameraID, w.short(d.FilePath), d.FileType, d.Detector, d.DetectedAt, img.ModTime)
		diff.check(d.BatchID == img.BatchID, "%s: detection %d in batch %v, its image in %v", name, d.ID, d.BatchID, img.BatchID)
	}
	byClass := func(a, b aitest.Detection) int { return cmp.Compare(a.Class, b.Class) }
	slices.SortFunc(got, byClass)
	slices.SortFunc(want, byClass)
	diff.check(slices.Equal(got, want), "%s: detections %v, want %v", name, got, want)
}

// compareCalls compares what the detector was asked with what it had to be asked.
func (w *world) compareCalls(l *ledger, diff *differences, undisturbed bool) {
	answered, sent := map[string]int{}, map[string]int{}
	for _, call := range w.detector.Calls() {
		sent[call.SHA256]++
		if call.WasAnswered() {
			answered[call.SHA256]++
		}
		diff.check(call.Behaviour != "" || call.Status == 200 || call.Status == 0, "detector: refused %s with %d", call.FileName, call.Status)
	}
	for _, s := range w.shots {
		n, all := answered[s.sha256], sent[s.sha256]
		switch {
		case s.reason == "duplicate": // its first file is counted
		case !s.seen:
			diff.check(all == 0, "%s: sent to the detector %d times although it is %s", w.short(s.path), all, s.reason)
		case undisturbed:
			diff.check(n == 1 && all == 1, "%s: sent to the detector %d times, answered %d times", w.short(s.path), all, n)
		default:
			diff.check(n >= 1, "%s: never answered by the detector", w.short(s.path))
		}
		delete(sent, s.sha256)
	}
	diff.check(len(sent) == 0, "detector: %d images that no camera wrote", len(sent))
	if undisturbed {
		for _, img := range l.images {
			diff.check(img.Attempts <= 1, "%s: %d attempts", w.short(img.FilePath), img.Attempts)
		}
	}
}

func (w *world) compareEvents(l *ledger, diff *differences, undisturbed bool) {
	said := map[string]aitest.CompletionCall{}
	for _, call := range w.model.Calls() {
		if call.WasAnswered() {
			said[call.Verdict.Summary] = call
		}
		diff.check(call.Behaviour != "" || call.Status == 200 || call.Status == 0, "model: refused a prompt with %d", call.Status)
		diff.check(call.HasSchema || call.HasGrammar, "model: asked without a JSON schema or grammar")
	}
	if undisturbed {
		diff.check(len(w.model.Calls()) == len(l.batches), "%d batches, %d calls of the model", len(l.batches), len(w.model.Calls()))
	}
	diff.check(len(l.events) == len(l.batches), "%d batches, %d events", len(l.batches), len(l.events))
	folders := map[string]string{}
	for _, camera := range runCameras {
		folders[camera.id] = camera.folder
	}
	for _, id := range slices.Sorted(maps.Keys(l.batches)) {
		b := l.batches[id]
		event, exists := l.events[b.EventID.Int64]
		if !exists || event.BatchID != fmt.Sprint(id) || b.State != "analyzed" {
			diff.add("batch %d (%s, %s): event %v, which says batch %q", id, b.CameraID, b.State, b.EventID, event.BatchID)
			continue
		}
		diff.check(b.images == b.ImageCount && len(b.detections) == b.DetectionCount && b.images > 0,
			"batch %d: says %d images, %d detections, has %d, %d", id, b.ImageCount, b.DetectionCount, b.images, len(b.detections))
		compareEvent(b, event, said, folders[b.CameraID], diff)
	}
}

// compareEvent compares an event with its batch and with what the model said.
func compareEvent(b *batchRow, event eventRow, said map[string]aitest.CompletionCall, cameraName string, diff *differences) {
	times := make([]time.Time, 0, len(b.detections))
	for _, d := range b.detections {
		times = append(times, d.DetectedAt)
		diff.check(d.EventID.Int64 == event.ID && d.CameraID == event.CameraID, "detection %d of camera %s: in event %v, want %d", d.ID, d.CameraID, d.EventID, event.ID)
	}
	slices.SortFunc(times, time.Time.Compare)
	diff.check(len(times) > 0 && event.StartedAt.Equal(times[0]) && event.EndedAt.Equal(times[len(times)-1]),
		"event %d: from %v to %v, its detections %v", event.ID, event.StartedAt, event.EndedAt, times)
	call, known := said[event.Summary]
	if !known {
		diff.add("event %d: the model never said %q", event.ID, event.Summary)
		return
	}
	got := aitest.Verdict{RiskScore: event.RiskScore, RiskLevel: event.RiskLevel, Summary: event.Summary, Reasoning: event.Reasoning}
	diff.check(got == call.Verdict && event.Analyzer == "nemotron", "event %d by %s: %+v, the model said %+v", event.ID, event.Analyzer, got, call.Verdict)
	diff.check(strings.Contains(call.Prompt, cameraName), "event %d: the prompt does not name camera %s", event.ID, cameraName)
	diff.check(slices.Equal(inPrompt(call.Prompt), inBatch(b)), "event %d: the prompt lists %v, the batch has %v", event.ID, inPrompt(call.Prompt), inBatch(b))
}

var detectionLine = regexp.MustCompile(`([a-z]+) \(confidence:? ([0-9.]+)\)`)

// inPrompt lists the detections in a prompt, sorted.
func inPrompt(prompt string) (list []string) {
	for _, line := range detectionLine.FindAllStringSubmatch(prompt, -1) {
		list = append(list, line[1]+" "+line[2])
	}
	slices.Sort(list)
	return list
}

func inBatch(b *batchRow) (list []string) {
	for _, d := range b.detections {
		list = append(list, fmt.Sprintf("%s %.2f", d.ObjectType, d.Confidence))
	}
	slices.Sort(list)
	return list
}

// requireThumbnails compares the thumbnail files with the rows: one for each detection with its box drawn in, and besides them at most
// so many leftovers. It returns how many the rows name and how large these are.
func (w *world) requireThumbnails(l *ledger, leftovers int) (files, bytes int64) {
	w.tb.Helper()
	root := w.thumbnails
	var diff differences
	named := map[string]bool{}
	for _, d := range l.detections {
		diff.check(!named[d.Thumbnail], "detection %d: its thumbnail %s is another's too", d.ID, d.Thumbnail)
		named[d.Thumbnail] = true
		size, problem := checkThumbnail(filepath.Join(root, d.Thumbnail), d)
		diff.check(problem == "", "detection %d: thumbnail %s: %s", d.ID, d.Thumbnail, problem)
		bytes += size
	}
	var unnamed []string
	for _, path := range filesBelow(w.tb, root) {
		rel, err := filepath.Rel(root, path)
		require.NoError(w.tb, err)
		if !named[rel] && !strings.HasPrefix(filepath.Base(path), ".") {
			unnamed = append(unnamed, rel)
		}
	}
	diff.check(len(unnamed) <= leftovers, "%d thumbnails of no detection, at most %d expected: %v", len(unnamed), leftovers, unnamed)
	diff.requireNone(w.tb, "thumbnails and detections do not agree")
	return int64(len(named)), bytes
}

func checkThumbnail(path string, d detectionRow) (size int64, problem string) {
	file, err := os.Open(path)
	if err != nil {
		return 0, err.Error()
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return 0, err.Error()
	}
	picture, format, err := image.Decode(file)
	if err != nil {
		return 0, err.Error()
	}
	if bounds := picture.Bounds(); format != "jpeg" || bounds.Dx() != 320 || bounds.Dy() != 240 {
		return 0, fmt.Sprintf("%s of %v", format, bounds)
	}
	// The picture fills the width, so that it is not scaled and lies lower by half of the height that is left.
	const lower = (240 - aitest.PictureHeight) / 2
	r, g, _, _ := picture.At(d.X, lower+d.Y+d.Height/2).RGBA()
	if r < g+0x2000 {
		return 0, fmt.Sprintf("no red line at the left of its box %+v", d.found().Box)
	}
	return info.Size(), ""
}

// short is a path without the folder of the cameras.
func (w *world) short(path string) string {
	rel, err := filepath.Rel(w.cameras, path)
	if err != nil {
		return path
	}
	return rel
}
