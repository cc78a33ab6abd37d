package e2e

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"hsi.home.arpa/pipeline/aitest"
	"hsi.home.arpa/pipeline/picture"
)

// Run is what was written, stored and said in a run in which all work has come to its end.
type Run struct {
	Shots    []*Shot
	Ledger   *Ledger
	Detected []aitest.DetectCall
	Said     []aitest.CompletionCall
	// Undisturbed says that nothing failed: each image was sent to the detector once, each batch to
	// the model once.
	Undisturbed bool
	// Repeated says that uploads were repeated under their names, and that two servers recorded
	// them: a file may have more rows than the one that says what became of it.
	Repeated bool
	// ClockSet says that the database's clock was set meanwhile, so that its times have no order.
	ClockSet bool
}

// Audit is the result of comparing the parts of a Run.
type Audit struct {
	Findings

	// Outcomes counts the files by where they ended: in an event, filtered by reason, given up.
	Outcomes map[string]int

	run        Run
	detections map[int64][]Detection // by image
	answered   map[string]bool       // SHA-256 of images that the detector answered honestly
}

// Audit holds the cameras' list against the ledger, the ledger against itself, and both against
// what the AI services were asked and said.
func (r Run) Audit() *Audit {
	a := &Audit{
		Outcomes: map[string]int{}, run: r, detections: map[int64][]Detection{}, answered: map[string]bool{},
	}
	for _, d := range r.Ledger.Detections {
		a.detections[d.ImageID.Int64] = append(a.detections[d.ImageID.Int64], d)
	}
	a.calls()
	a.images()
	a.batches()
	a.events()
	return a
}

// content is what makes two files the same image.
type content struct{ camera, sha256 string }

// images finds the one row of each file and judges it. The same bytes under several names are one
// image and its duplicates; which of the names is the duplicate depends on which was recorded
// first.
func (a *Audit) images() {
	rows := map[string][]Image{}
	for _, row := range a.run.Ledger.Images {
		rows[row.FilePath] = append(rows[row.FilePath], row)
	}
	originals, written := map[content]int{}, map[content]*Shot{}
	for _, s := range a.run.Shots {
		same := content{s.Camera.ID, s.SHA256}
		if s.Broken == "" {
			written[same] = s
		}
		row, ok := a.liveRow(s, rows[s.Path])
		delete(rows, s.Path)
		if !ok {
			continue
		}
		if s.Broken == "" && (row.State != "filtered" || row.Reason.String != "duplicate") {
			originals[same]++
		}
		a.judge(s, &row)
	}
	for same, s := range written {
		switch n := originals[same]; {
		case n == 0:
			a.Add(Lost, "%s: every file with these bytes counts as a duplicate or has no row",
				s.Path)
		case n > 1:
			a.Add(Doubled, "%s: the same bytes were taken for an image %d times", s.Path, n)
		}
	}
	for _, path := range slices.Sorted(maps.Keys(rows)) {
		a.Add(Wrong, "%s: recorded, but no camera finished writing it", path)
	}
}

// liveRow is the row that says what became of a file. Rows whose bytes were replaced before they
// were looked at are no outcome: the file that replaced them has a row of its own.
func (a *Audit) liveRow(s *Shot, rows []Image) (live Image, ok bool) {
	count := 0
	var dead []string
	for _, row := range rows {
		a.Check(row.CameraID == s.Camera.ID && row.SHA256.String == s.SHA256 &&
			row.SizeBytes == s.Size, Wrong,
			"%s: image %d of camera %s, %d bytes, sha256 %.8s…; written by %s, %d, %.8s…",
			s.Path, row.ID, row.CameraID, row.SizeBytes, row.SHA256.String, s.Camera.ID, s.Size, s.SHA256)
		reason := row.Reason.String
		if row.State == "filtered" && (reason == "replaced" || reason == "file_gone") {
			dead = append(dead, reason)
			continue
		}
		if a.run.Repeated && count > 0 && row.State == "filtered" && reason == "duplicate" {
			continue // the file under a new time, recorded by a second server at the same moment
		}
		live = row
		count++
	}
	switch {
	case count == 0 && len(rows) == 0:
		a.Add(Lost, "%s: no row", s.Path)
	case count == 0:
		a.Add(Lost, "%s: only rows that say %q, but the file is there", s.Path, dead)
	case count > 1:
		a.Add(Doubled, "%s: %d rows", s.Path, count)
	case len(dead) > 0 && !a.run.Repeated:
		a.Add(Wrong, "%s: %q, but nobody wrote it again", s.Path, dead)
	}
	return live, count == 1
}

// judge decides whether a file ended where it may.
func (a *Audit) judge(s *Shot, row *Image) {
	name := fmt.Sprintf("%s (image %d)", s.Path, row.ID)
	reason := row.Reason.String
	inBatch := false
	switch row.State {
	case "analyzed":
		a.Outcomes["in one event"]++
		inBatch = true
		a.Check(s.Broken == "" && !s.Poison && !s.Again && len(s.Kept) > 0, Wrong,
			"%s: in an event, although it is %s", name, s.nature())
	case "filtered":
		a.Outcomes["filtered: "+reason]++
		a.filtered(s, name, reason)
	case "dead_lettered":
		a.Outcomes["given up with a cause"]++
		inBatch = row.BatchID.Valid
		a.Check(reason != "", Wrong, "%s: given up without a cause", name)
		// All were tried again at the end, when nothing was in their way.
		a.Check(s.Poison, Wrong, "%s: given up with %q, but it is %s", name, reason, s.nature())
	case "batched":
		inBatch = true
		a.Add(Lost, "%s: still %s", name, row.State)
	default: // nothing is old enough to expire
		a.Add(Lost, "%s: still %s", name, row.State)
	}
	a.Check(row.BatchID.Valid == inBatch, Wrong, "%s: %s, batch %v", name, row.State,
		row.BatchID.Int64)
	a.Check(!a.run.Undisturbed || row.Attempts <= 1, Wrong, "%s: %d attempts", name, row.Attempts)
	looked := row.State == "analyzed" || reason == "no_detections"
	a.Check(!looked || a.answered[s.SHA256], Invented, "%s: the detector never answered for it",
		name)
	a.detected(s, name, row, inBatch)
}

func (a *Audit) filtered(s *Shot, name, reason string) {
	switch {
	case reason == "":
		a.Add(Wrong, "%s: filtered without a reason", name)
	case s.Broken != "" || s.Again:
		want := s.Broken
		if s.Again {
			want = "duplicate"
		}
		a.Check(reason == want, Wrong, "%s: filtered as %s, want %s", name, reason, want)
	case reason == "no_detections":
		a.Check(!s.Poison && len(s.Kept) == 0, Lost, "%s: filtered as %s, but it is %s", name,
			reason, s.nature())
	default:
		a.Check(reason == "duplicate", Lost, "%s: filtered as %s, but it is %s", name, reason,
			s.nature())
	}
}

// detected holds the detections of one image against what the detector sees in it.
func (a *Audit) detected(s *Shot, name string, row *Image, inBatch bool) {
	missing := map[aitest.Detection]int{}
	if inBatch {
		for _, d := range s.Kept {
			missing[d]++
		}
	}
	for _, d := range a.detections[row.ID] {
		missing[d.seen()]--
		a.Check(d.BatchID == row.BatchID, Doubled, "%s: detection %d in batch %d, the image in %d",
			name, d.ID, d.BatchID.Int64, row.BatchID.Int64)
		a.Check(d.FilePath == s.Path && d.CameraID == s.Camera.ID && d.FileType == "image/jpeg" &&
			d.Detector == "rtdetr",
			Wrong, "%s: detection %d says %s, %s of camera %s, by %s", name, d.ID, d.FilePath, d.FileType, d.CameraID, d.Detector)
		taken := picture.TakenAt(row.ModTime, row.SeenAt)
		a.Check(d.DetectedAt.Equal(taken), Wrong, "%s: detection %d at %v, taken at %v", name, d.ID,
			d.DetectedAt, taken)
	}
	byClass := func(x, y aitest.Detection) int { return cmp.Compare(x.Class, y.Class) }
	for _, d := range slices.SortedFunc(maps.Keys(missing), byClass) {
		switch n := missing[d]; {
		case n > 0:
			a.Add(Lost, "%s: no row for %v", name, d)
		case n < 0:
			a.Add(Doubled, "%s: %d rows too many for %v", name, -n, d)
		}
	}
}

// batches holds each batch against its images, detections and event.
func (a *Audit) batches() {
	images, detections := map[int64]int{}, map[int64]int{}
	batches, events := map[int64]*Batch{}, map[string][]Event{}
	for i := range a.run.Ledger.Batches {
		batches[a.run.Ledger.Batches[i].ID] = &a.run.Ledger.Batches[i]
	}
	for _, row := range a.run.Ledger.Images {
		images[row.BatchID.Int64]++
		batch := batches[row.BatchID.Int64]
		a.Check(row.State != "analyzed" || batch != nil && batch.EventID.Valid, Lost,
			"image %d: counts as analyzed and is in no event", row.ID)
	}
	for _, d := range a.run.Ledger.Detections {
		detections[d.BatchID.Int64]++
		batch := batches[d.BatchID.Int64]
		a.Check(batch != nil && batch.EventID == d.EventID && batch.CameraID == d.CameraID, Wrong,
			"detection %d: in batch %d and event %d, which do not belong together", d.ID, d.BatchID.Int64, d.EventID.Int64)
	}
	for _, e := range a.run.Ledger.Events {
		events[e.BatchID] = append(events[e.BatchID], e)
	}
	for _, b := range a.run.Ledger.Batches {
		own := events[fmt.Sprint(b.ID)]
		delete(events, fmt.Sprint(b.ID))
		switch {
		case len(own) > 1:
			a.Add(Doubled, "batch %d: %d events", b.ID, len(own))
		case b.State == "analyzed":
			a.Check(len(own) == 1 && b.EventID.Int64 == own[0].ID && b.CameraID == own[0].CameraID,
				Lost,
				"batch %d: counts as analyzed, its event is %v", b.ID, own)
		case b.State == "dead_lettered":
			a.Check(len(own) == 0, Wrong, "batch %d: given up and has an event", b.ID)
		default:
			a.Add(Lost, "batch %d: still %s", b.ID, b.State)
		}
		a.Check(b.ImageCount == images[b.ID] && b.DetectionCount == detections[b.ID] &&
			images[b.ID] > 0, Wrong,
			"batch %d: says %d images, %d detections; has %d, %d", b.ID, b.ImageCount, b.DetectionCount, images[b.ID], detections[b.ID])
	}
	for _, id := range slices.Sorted(maps.Keys(events)) {
		a.Add(Wrong, "event of batch %q, which is not there", id)
	}
}
