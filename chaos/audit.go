package main

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"hsi.home.arpa/pipeline/aitest"
)

// fed is a file that a camera finished writing, and what must become of it.
type fed struct {
	camera, path, sha256 string
	size                 int64
	// broken is the reason for which it must be filtered; empty for a picture.
	broken string
	// poison says that the detector refuses it for good.
	poison bool
	// kept are the detections of a picture that reach the threshold.
	kept []aitest.Detection
}

// The kinds of broken promises.
const (
	lost        = "lost"        // an image, or a part of what was seen in it, ended nowhere
	doubled     = "doubled"     // an image, detection or event is there twice
	invented    = "invented"    // an event says what the model never said
	wrong       = "wrong"       // something ended where it must not, or disagrees with itself
	orphaned    = "orphaned"    // a file that no row names
	dangling    = "dangling"    // a row that names no file
	late        = "late"        // readiness took too long to come back, or an image waited for the next start
	misbehaving = "misbehaving" // the process itself did what it must not
)

// finding is one broken promise.
type finding struct{ kind, text string }

// audit is the result of comparing what was written with what is stored.
type audit struct {
	findings []finding
	// outcomes counts the images by where they ended: in an event, filtered by reason, given up, expired.
	outcomes map[string]int
}

func (a *audit) add(kind, format string, args ...any) {
	a.findings = append(a.findings, finding{kind, fmt.Sprintf(format, args...)})
}

func (a *audit) check(ok bool, kind, format string, args ...any) {
	if !ok {
		a.add(kind, format, args...)
	}
}

// compare holds the cameras' list against the ledger and the ledger against itself, and the events against what the model said.
func compare(files []*fed, l *ledger, said map[string]spoken) *audit {
	a := &audit{outcomes: map[string]int{}}
	rows := map[string][]imageRow{}
	for _, row := range l.images {
		rows[row.FilePath] = append(rows[row.FilePath], row)
	}
	a.images(files, rows, l)
	a.batches(l)
	a.events(l, said)
	return a
}

// content is what makes two files the same image.
type content struct{ camera, sha256 string }

// images finds the one row of each file and judges it. The same bytes under several names are one image and its duplicates; which
// of the names is the duplicate depends on which was recorded first.
func (a *audit) images(files []*fed, rows map[string][]imageRow, l *ledger) {
	detections := map[int64][]detectionRow{}
	for _, d := range l.detections {
		detections[d.ImageID.Int64] = append(detections[d.ImageID.Int64], d)
	}
	originals, written := map[content]int{}, map[content]*fed{}
	for _, f := range files {
		same := content{f.camera, f.sha256}
		if f.broken == "" {
			written[same] = f
		}
		row, ok := a.liveRow(f, rows[f.path])
		delete(rows, f.path)
		if !ok {
			continue
		}
		if f.broken == "" && (row.State != "filtered" || row.Reason.String != "duplicate") {
			originals[same]++
		}
		a.judge(f, row, detections[row.ID], l)
	}
	for same, f := range written {
		switch n := originals[same]; {
		case n == 0:
			a.add(lost, "%s: every file with these bytes counts as a duplicate or has no row", f.path)
		case n > 1:
			a.add(doubled, "%s: the same bytes were taken for an image %d times", f.path, n)
		}
	}
	for _, path := range slices.Sorted(maps.Keys(rows)) {
		a.add(wrong, "%s: recorded, but no camera finished writing it", path)
	}
}

// liveRow is the row that says what became of a file. Rows whose bytes were replaced before they were looked at are no outcome: the
// file that replaced them has a row of its own.
func (a *audit) liveRow(f *fed, rows []imageRow) (live imageRow, ok bool) {
	count := 0
	var dead []string
	for _, row := range rows {
		a.check(row.CameraID == f.camera && row.SHA256.String == f.sha256 && row.SizeBytes == f.size, wrong,
			"%s: image %d of camera %s, %d bytes, sha256 %.8s…; written by %s, %d, %.8s…",
			f.path, row.ID, row.CameraID, row.SizeBytes, row.SHA256.String, f.camera, f.size, f.sha256)
		if row.State == "filtered" && (row.Reason.String == "replaced" || row.Reason.String == "file_gone") {
			dead = append(dead, row.Reason.String)
			continue
		}
		if count > 0 && row.State == "filtered" && row.Reason.String == "duplicate" {
			continue // the file under a new time, recorded by a second server at the same moment
		}
		live = row
		count++
	}
	switch {
	case count == 0 && len(rows) == 0:
		a.add(lost, "%s: no row", f.path)
	case count == 0:
		a.add(lost, "%s: only rows that say %q, but the file is there", f.path, dead)
	case count > 1:
		a.add(doubled, "%s: %d rows", f.path, count)
	}
	return live, count == 1
}

// judge decides whether a file ended where it may.
func (a *audit) judge(f *fed, row imageRow, found []detectionRow, l *ledger) {
	name := fmt.Sprintf("%s (image %d)", f.path, row.ID)
	reason := row.Reason.String
	expectsNone := true
	switch row.State {
	case "analyzed":
		a.outcomes["in one event"]++
		a.check(f.broken == "" && !f.poison && len(f.kept) > 0, wrong, "%s: in an event, although it is %s", name, f.nature())
		batch := l.batches[row.BatchID.Int64]
		a.check(batch != nil && batch.EventID.Valid, lost, "%s: counts as analyzed and is in no event", name)
		expectsNone = false
	case "filtered":
		a.outcomes["filtered: "+reason]++
		switch {
		case reason == "":
			a.add(wrong, "%s: filtered without a reason", name)
		case f.broken != "":
			a.check(reason == f.broken, wrong, "%s: filtered as %s, but it is %s", name, reason, f.nature())
		case reason == "no_detections":
			a.check(!f.poison && len(f.kept) == 0, lost, "%s: filtered as %s, but it is %s", name, reason, f.nature())
		default:
			a.check(reason == "duplicate", lost, "%s: filtered as %s, but it is %s", name, reason, f.nature())
		}
	case "dead_lettered":
		a.outcomes["given up with a cause"]++
		a.check(reason != "", wrong, "%s: given up without a cause", name)
		// All were tried again at the end, when nothing was in their way.
		a.check(f.poison, wrong, "%s: given up with %q, but it is %s", name, reason, f.nature())
		expectsNone = !row.BatchID.Valid
	case "expired":
		a.outcomes["expired"]++
	default:
		a.add(lost, "%s: still %s", name, row.State)
		expectsNone = row.State != "batched"
	}
	a.check(row.BatchID.Valid != expectsNone, wrong, "%s: %s, batch %v", name, row.State, row.BatchID.Int64)
	a.detections(f, name, row, found, expectsNone)
}

// detections holds the rows of one image against what the detector sees in it.
func (a *audit) detections(f *fed, name string, row imageRow, found []detectionRow, expectsNone bool) {
	missing := map[aitest.Detection]int{}
	if !expectsNone {
		for _, d := range f.kept {
			missing[d]++
		}
	}
	for _, d := range found {
		missing[d.found()]--
		a.check(d.BatchID == row.BatchID, doubled, "%s: detection %d in batch %d, the image in %d", name, d.ID, d.BatchID.Int64, row.BatchID.Int64)
		a.check(d.FilePath == f.path && d.CameraID == f.camera, wrong, "%s: detection %d says %s of camera %s", name, d.ID, d.FilePath, d.CameraID)
	}
	for _, d := range slices.SortedFunc(maps.Keys(missing), func(x, y aitest.Detection) int { return cmp.Compare(x.Class, y.Class) }) {
		switch n := missing[d]; {
		case n > 0:
			a.add(lost, "%s: no row for %v", name, d)
		case n < 0:
			a.add(doubled, "%s: %d rows too many for %v", name, -n, d)
		}
	}
}

// batches holds each batch against its images, detections and event.
func (a *audit) batches(l *ledger) {
	images, detections, events := map[int64]int{}, map[int64]int{}, map[string][]eventRow{}
	for _, row := range l.images {
		images[row.BatchID.Int64]++
	}
	for _, d := range l.detections {
		detections[d.BatchID.Int64]++
		batch := l.batches[d.BatchID.Int64]
		a.check(batch != nil && batch.EventID == d.EventID, wrong, "detection %d: in batch %d and event %d, which do not belong together", d.ID, d.BatchID.Int64, d.EventID.Int64)
	}
	for _, e := range l.events {
		events[e.BatchID] = append(events[e.BatchID], e)
	}
	for _, id := range slices.Sorted(maps.Keys(l.batches)) {
		b := l.batches[id]
		own := events[fmt.Sprint(id)]
		delete(events, fmt.Sprint(id))
		switch {
		case len(own) > 1:
			a.add(doubled, "batch %d: %d events", id, len(own))
		case b.State == "analyzed":
			a.check(len(own) == 1 && b.EventID.Int64 == own[0].ID && b.CameraID == own[0].CameraID, lost, "batch %d: counts as analyzed, its event is %v", id, own)
		case b.State == "dead_lettered":
			a.check(len(own) == 0, wrong, "batch %d: given up and has an event", id)
		default:
			a.add(lost, "batch %d: still %s", id, b.State)
		}
		a.check(b.ImageCount == images[id] && b.DetectionCount == detections[id] && images[id] > 0, wrong,
			"batch %d: says %d images, %d detections; has %d, %d", id, b.ImageCount, b.DetectionCount, images[id], detections[id])
	}
	for _, id := range slices.Sorted(maps.Keys(events)) {
		a.add(wrong, "event of batch %q, which is not there", id)
	}
}

// nature describes what a file is.
func (f *fed) nature() string {
	switch {
	case f.broken != "":
		return "broken: " + f.broken
	case f.poison:
		return "refused by the detector"
	case len(f.kept) == 0:
		return "a picture of nothing"
	default:
		return fmt.Sprintf("a picture of %d objects", len(f.kept))
	}
}
