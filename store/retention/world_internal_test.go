package retention

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"hsi.home.arpa/store/storetest"
)

// The rows of a world, as the tests write them. The names of the columns are the JSON keys.
type (
	batchRow struct {
		ID       int64      `json:"id"`
		CameraID string     `json:"camera_id"`
		State    string     `json:"state"`
		OpenedAt time.Time  `json:"opened_at"`
		LastAt   time.Time  `json:"last_at"`
		ClosedAt *time.Time `json:"closed_at"`
		EventID  *int64     `json:"event_id"`
		Claimed  *string    `json:"claimed_by"`
	}
	imageRow struct {
		ID       int64     `json:"id"`
		CameraID string    `json:"camera_id"`
		Path     string    `json:"file_path"`
		Size     int64     `json:"size_bytes"`
		ModTime  time.Time `json:"mtime"`
		State    string    `json:"state"`
		Reason   *string   `json:"reason"`
		BatchID  *int64    `json:"batch_id"`
		Claimed  *string   `json:"claimed_by"`
	}
	eventRow struct {
		ID       int64      `json:"id"`
		CameraID string     `json:"camera_id"`
		BatchID  *string    `json:"batch_id"`
		Started  time.Time  `json:"started_at"`
		Ended    *time.Time `json:"ended_at"`
		Analyzer *string    `json:"analyzer"`
		Clip     *string    `json:"clip_path"`
	}
	detectionRow struct {
		ID        int64     `json:"id"`
		CameraID  string    `json:"camera_id"`
		ImageID   *int64    `json:"image_id"`
		BatchID   *int64    `json:"batch_id"`
		EventID   *int64    `json:"event_id"`
		Path      string    `json:"file_path"`
		At        time.Time `json:"detected_at"`
		Thumbnail *string   `json:"thumbnail_path"`
	}
	timedRow struct {
		ID        int64     `json:"id"`
		Recorded  time.Time `json:"recorded_at"`
		Timestamp time.Time `json:"timestamp"`
		Level     string    `json:"level"`
		Component string    `json:"component"`
		Message   string    `json:"message"`
		Action    string    `json:"action"`
		Resource  string    `json:"resource_type"`
		Actor     string    `json:"actor"`
	}
	markRow struct {
		Kind      string     `json:"kind"`
		Path      string     `json:"path"`
		ImageID   *int64     `json:"image_id"`
		NotBefore *time.Time `json:"not_before"`
	}
)

// world is a random state of database and disk, and what a cleanup must make of it, worked out
// without any SQL.
type world struct {
	random       *rand.Rand
	cutoff       time.Time
	days         int
	deleteImages bool
	e            *env

	batches    []batchRow
	images     []imageRow
	events     []eventRow
	detections []detectionRow
	samples    []timedRow
	logs       []timedRow
	audits     []timedRow
	marks      []markRow

	files map[string]int64 // absolute path → size, all that lie on the disk
	thumb []string         // spellings of thumbnails given out so far
}

func newWorld(e *env, seed uint64) *world {
	w := &world{e: e, random: rand.New(rand.NewPCG(seed, 4)), files: make(map[string]int64)}
	w.days = 1 + w.random.IntN(365)
	w.cutoff = moment.Add(-time.Duration(w.days) * 24 * time.Hour)
	w.deleteImages = w.one(2)
	for camera := range 2 {
		for range w.random.IntN(4) {
			w.batch(fmt.Sprintf("cam%d", camera))
		}
		for range w.random.IntN(4) {
			w.history(fmt.Sprintf("cam%d", camera))
		}
		for range w.random.IntN(4) {
			w.loneImage(fmt.Sprintf("cam%d", camera))
		}
	}
	for i := range w.random.IntN(12) {
		w.samples = append(w.samples, timedRow{ID: int64(i + 1), Recorded: w.time()})
	}
	for i := range w.random.IntN(12) {
		w.logs = append(w.logs, timedRow{ID: int64(i + 1), Timestamp: w.time(), Level: "INFO", Component: "c", Message: "m"})
	}
	w.audits = append(w.audits, timedRow{ID: 1, Timestamp: w.cutoff.Add(-time.Hour), Action: "a", Resource: "r", Actor: "x"})
	w.leftovers()
	return w
}

// one is true once in n times.
func (w *world) one(n int) bool { return w.random.IntN(n) == 0 }

// time is around the cut-off, often to the microsecond.
func (w *world) time() time.Time {
	switch w.random.IntN(8) {
	case 0:
		return w.cutoff.Add(-time.Microsecond)
	case 1:
		return w.cutoff
	case 2:
		return w.cutoff.Add(time.Microsecond)
	case 3:
		return w.cutoff.Add(-time.Duration(w.random.Int64N(int64(1000 * time.Hour)))).Truncate(time.Microsecond)
	case 4:
		return moment.Add(time.Duration(w.random.Int64N(int64(time.Hour)))).Truncate(time.Microsecond) // a clock that was ahead
	default:
		return w.cutoff.Add(time.Duration(w.random.Int64N(int64(4*time.Hour))) - 2*time.Hour).Truncate(time.Microsecond)
	}
}

// file puts a file on the disk, unless it is one of the missing ones.
func (w *world) file(path string) {
	if !w.one(6) {
		w.files[path] = int64(w.random.IntN(200))
	}
}

// thumbnail returns a spelling for a new thumbnail, or one that was given out before.
func (w *world) thumbnail() *string {
	var path string
	switch n := w.random.IntN(12); {
	case n == 0:
		return nil
	case n <= 2 && len(w.thumb) > 0:
		path = w.thumb[w.random.IntN(len(w.thumb))]
		if rel, below := strings.CutPrefix(path, w.e.thumbnails+"/"); below && w.one(2) {
			path = rel
		}
	case n == 3: // a file of the server this one replaces, in our folder
		path = fmt.Sprintf("%s/%d_thumb.jpg", w.e.thumbnails, len(w.thumb))
		w.file(path)
	case n == 4: // somewhere else
		path = fmt.Sprintf("%s/elsewhere/%d.jpg", w.e.dir, len(w.thumb))
		w.file(path)
	case n == 5: // leads out of the folder, or is no clean name
		path = []string{"../elsewhere/x.jpg", "./12_thumb.jpg", "", "/", ".hsi-media", "a//b"}[w.random.IntN(6)]
	default:
		shard := fmt.Sprintf("%02x", w.random.IntN(256))
		path = fmt.Sprintf("%s/x-%s%014x.jpg", shard, shard, len(w.thumb))
		w.file(filepath.Join(w.e.thumbnails, path))
	}
	w.thumb = append(w.thumb, path)
	return &path
}

// batch makes a batch of our own with images, detections, and an event when it is done.
func (w *world) batch(camera string) {
	b := batchRow{ID: int64(len(w.batches) + 1), CameraID: camera, OpenedAt: w.time(), LastAt: w.time()}
	b.State = []string{"open", "closed", "queued", "analyzing", "analyzed", "analyzed", "analyzed", "dead_lettered"}[w.random.IntN(8)]
	if b.State == "open" && slices.ContainsFunc(w.batches, func(o batchRow) bool { return o.CameraID == camera && o.State == "open" }) {
		b.State = "closed"
	}
	if b.State != "open" {
		b.ClosedAt = new(w.time())
	}
	imageState, reason := "batched", (*string)(nil)
	switch b.State {
	case "analyzing":
		b.Claimed = new("worker")
	case "analyzed":
		imageState = "analyzed"
		event := eventRow{
			ID: int64(len(w.events) + 1), CameraID: camera, BatchID: new(fmt.Sprint(b.ID)), Started: w.time(), Analyzer: new("rules"),
		}
		if !w.one(4) {
			event.Ended = new(w.time())
		}
		if w.one(3) {
			clip := fmt.Sprintf("aa/clip-aa%014x.mp4", event.ID)
			event.Clip = &clip
			w.file(filepath.Join(w.e.clips, clip))
		}
		b.EventID = &event.ID
		w.events = append(w.events, event)
	case "dead_lettered":
		imageState, reason = "dead_lettered", new("gave up")
	}
	for range 1 + w.random.IntN(3) {
		image := w.image(camera, imageState, reason)
		image.BatchID = &b.ID
		w.images = append(w.images, image)
		shared := w.thumbnail()
		for range 1 + w.random.IntN(3) {
			d := detectionRow{
				ID: int64(len(w.detections) + 1), CameraID: camera, ImageID: &image.ID, BatchID: &b.ID, EventID: b.EventID,
				Path: image.Path, At: w.time(), Thumbnail: shared,
			}
			if w.one(2) {
				d.Thumbnail = w.thumbnail()
			}
			// Links that somebody has cut.
			if w.one(8) {
				d.EventID = nil
			}
			if w.one(8) {
				d.BatchID = nil
			}
			if w.one(8) {
				d.ImageID = nil
			}
			w.detections = append(w.detections, d)
		}
	}
	w.batches = append(w.batches, b)
}

// image makes a ledger row, and its file, which may have been replaced since.
func (w *world) image(camera, state string, reason *string) imageRow {
	image := imageRow{
		ID: int64(len(w.images) + 1), CameraID: camera, Size: int64(w.random.IntN(200)), State: state, Reason: reason,
		ModTime: moment.Add(-time.Duration(w.random.Int64N(int64(9000 * time.Hour)))).Truncate(time.Microsecond),
	}
	image.Path = fmt.Sprintf("%s/%s/%d.jpg", w.e.pictures, camera, image.ID)
	if state == "detecting" {
		image.Claimed = new("worker")
	}
	switch w.random.IntN(8) {
	case 0: // gone
	case 1:
		w.files[image.Path] = image.Size + 1 // replaced
	default:
		w.files[image.Path] = image.Size
	}
	return image
}

// loneImage makes a ledger row without detections.
func (w *world) loneImage(camera string) {
	state := []string{"seen", "queued", "detecting", "filtered", "dead_lettered", "expired"}[w.random.IntN(6)]
	w.images = append(w.images, w.image(camera, state, new("because")))
}

// history makes rows as the server this one replaces has left them: no image, no batch, no link
// between event and detection.
func (w *world) history(camera string) {
	if w.one(2) {
		event := eventRow{ID: int64(len(w.events) + 1), CameraID: camera, BatchID: new("f00"), Started: w.time()}
		if w.one(2) {
			event.Ended = new(w.time())
		}
		w.events = append(w.events, event)
	}
	for range w.random.IntN(3) {
		w.detections = append(w.detections, detectionRow{
			ID: int64(len(w.detections) + 1), CameraID: camera, Path: "/export/foscam/x.jpg", At: w.time(), Thumbnail: w.thumbnail(),
		})
	}
}

// leftovers makes what earlier runs did not finish, and files of nobody.
func (w *world) leftovers() {
	for i := range w.random.IntN(4) {
		path := fmt.Sprintf("bb/left-bb%014x.jpg", i)
		w.file(filepath.Join(w.e.thumbnails, path))
		m := markRow{Kind: "thumbnail", Path: path}
		if w.one(3) {
			m.NotBefore = new(moment.Add(time.Hour))
		}
		if len(w.thumb) > 0 && w.one(4) {
			m.Path = w.thumb[w.random.IntN(len(w.thumb))]
		}
		w.marks = append(w.marks, m)
	}
	for _, image := range w.images {
		if image.State == "expired" && w.one(3) {
			m := markRow{Kind: "image", Path: image.Path, ImageID: new(image.ID)}
			if w.one(2) {
				m.NotBefore = new(moment.Add(time.Hour))
			}
			w.marks = append(w.marks, m)
		}
	}
	for _, name := range []string{"thumbnails/README", "thumbnails/cc/somebody.jpg", "clips/old.mp4", "cameras/cam0/untouched.jpg", "elsewhere/x.jpg"} {
		w.files[filepath.Join(w.e.dir, name)] = int64(w.random.IntN(100))
	}
}

// load writes the world to the disk and into the database.
func (w *world) load(t *testing.T) {
	t.Helper()
	// In one round trip, and not by TRUNCATE, which makes new files for each table and index.
	storetest.Exec(t, w.e.db, `
		DELETE FROM media_deletions; DELETE FROM detections; DELETE FROM images; UPDATE batches SET event_id = NULL;
		DELETE FROM batches; DELETE FROM events; DELETE FROM gpu_stats; DELETE FROM logs; DELETE FROM audit_logs;
		INSERT INTO cameras (id, name, folder_path) VALUES ('cam0', '0', '/0'), ('cam1', '1', '/1') ON CONFLICT DO NOTHING`)
	// Batches and events point at each other.
	unlinked := slices.Clone(w.batches)
	for i := range unlinked {
		unlinked[i].EventID = nil
	}
	insert(t, w, "batches", "id, camera_id, state, opened_at, last_at, closed_at, claimed_by", unlinked)
	insert(t, w, "images", "id, camera_id, file_path, size_bytes, mtime, state, reason, batch_id, claimed_by", w.images)
	insert(t, w, "events", "id, camera_id, batch_id, started_at, ended_at, analyzer, clip_path", w.events)
	insert(t, w, "detections", "id, camera_id, image_id, batch_id, event_id, file_path, detected_at, thumbnail_path", w.detections)
	insert(t, w, "gpu_stats", "id, recorded_at", w.samples)
	insert(t, w, "logs", "id, timestamp, level, component, message", w.logs)
	insert(t, w, "audit_logs", "id, timestamp, action, resource_type, actor", w.audits)
	insert(t, w, "media_deletions", "kind, path, image_id, not_before", w.marks)
	links, err := json.Marshal(w.batches)
	require.NoError(t, err)
	storetest.Exec(t, w.e.db, `UPDATE batches AS b SET event_id = l.event_id FROM jsonb_populate_recordset(null::batches, $1) AS l
		WHERE l.id = b.id AND l.event_id IS NOT NULL`, string(links))

	for _, folder := range []string{"thumbnails", "clips", "cameras", "elsewhere"} {
		entries, err := os.ReadDir(filepath.Join(w.e.dir, folder))
		if err == nil {
			for _, entry := range entries {
				if entry.Name() != ".hsi-media" {
					require.NoError(t, os.RemoveAll(filepath.Join(w.e.dir, folder, entry.Name())))
				}
			}
		}
	}
	for camera := range 2 {
		require.NoError(t, os.MkdirAll(filepath.Join(w.e.pictures, fmt.Sprintf("cam%d", camera)), 0o750))
	}
	times := make(map[string]time.Time)
	for _, image := range w.images {
		times[image.Path] = image.ModTime
	}
	for path, size := range w.files {
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o750))
		require.NoError(t, os.WriteFile(path, make([]byte, size), 0o600))
		if at, ok := times[path]; ok {
			require.NoError(t, os.Chtimes(path, at, at.Add(300*time.Nanosecond)))
		}
	}
}

func insert[T any](t *testing.T, w *world, table, columns string, rows []T) {
	t.Helper()
	if len(rows) == 0 {
		return
	}
	content, err := json.Marshal(rows)
	require.NoError(t, err)
	storetest.Exec(t, w.e.db, `INSERT INTO `+table+` (`+columns+`) SELECT `+columns+` FROM jsonb_populate_recordset(null::`+table+`, $1)`, string(content))
}

// outcome is what must be left.
type outcome struct {
	report                                                             Report
	events, detections, samples, logs, images, expired, batches, marks []int64
	files                                                              map[string]int64
}

// expect works out what a cleanup must do.
func (w *world) expect() outcome {
	out := outcome{files: maps.Clone(w.files), report: Report{RetentionDays: w.days, At: moment}}
	dueEvents := make(map[int64]bool)
	keptClips := make(map[string]bool)
	for _, event := range w.events {
		end := event.Started
		if event.Ended != nil {
			end = *event.Ended
		}
		if end.Before(w.cutoff) {
			dueEvents[event.ID] = true
			out.report.EventsDeleted++
		} else {
			out.events = append(out.events, event.ID)
			if event.Clip != nil {
				keptClips[*event.Clip] = true
			}
		}
	}
	waits := func(d detectionRow) bool {
		return d.ImageID != nil && slices.Contains([]string{"seen", "queued", "detecting", "batched"}, w.images[*d.ImageID-1].State) ||
			d.BatchID != nil && slices.Contains([]string{"open", "closed", "queued", "analyzing"}, w.batches[*d.BatchID-1].State)
	}
	named := make(map[string]bool)      // files that a kept row names
	let := make(map[string]bool)        // files that may go
	keptOfImage := make(map[int64]bool) // images with a detection that stays
	lostOfImage := make(map[int64]bool) // images with a detection that goes
	keptOfBatch := make(map[int64]bool) // batches with a detection that stays
	lostOfBatch := make(map[int64]bool) // batches with a detection without event that goes
	for _, d := range w.detections {
		due := d.EventID == nil && d.At.Before(w.cutoff) && !waits(d) || d.EventID != nil && dueEvents[*d.EventID]
		if due {
			out.report.DetectionsDeleted++
		} else {
			out.detections = append(out.detections, d.ID)
		}
		if file, ok := w.ours(d.Thumbnail); ok {
			named[file] = named[file] || !due
			let[file] = let[file] || due
		}
		if d.ImageID != nil {
			keptOfImage[*d.ImageID] = keptOfImage[*d.ImageID] || !due
			lostOfImage[*d.ImageID] = lostOfImage[*d.ImageID] || due
		}
		if d.BatchID != nil {
			keptOfBatch[*d.BatchID] = keptOfBatch[*d.BatchID] || !due
			lostOfBatch[*d.BatchID] = lostOfBatch[*d.BatchID] || due && d.EventID == nil
		}
	}
	later := make(map[string]bool) // images whose removal is put off
	for _, m := range w.marks {
		if m.NotBefore != nil {
			out.marks = append(out.marks, 1)
			later[m.Path] = true
			continue
		}
		if file, ok := w.ours(&m.Path); ok && m.Kind == "thumbnail" {
			let[file] = true
		}
	}
	for file := range let {
		if size, there := out.files[file]; there && !named[file] {
			delete(out.files, file)
			out.report.ThumbnailsDeleted++
			out.report.SpaceReclaimedBytes += size
		}
	}
	for _, event := range w.events {
		if event.Clip != nil && dueEvents[event.ID] && !keptClips[*event.Clip] {
			file := filepath.Join(w.e.clips, *event.Clip)
			out.report.SpaceReclaimedBytes += out.files[file]
			delete(out.files, file)
		}
	}
	for _, b := range w.batches {
		if b.EventID != nil && dueEvents[*b.EventID] || b.State == "dead_lettered" && lostOfBatch[b.ID] && !keptOfBatch[b.ID] {
			continue
		}
		out.batches = append(out.batches, b.ID)
	}
	for _, image := range w.images {
		lost := lostOfImage[image.ID]
		if image.State == "analyzed" {
			lost = lost || dueEvents[*w.batches[*image.BatchID-1].EventID]
		}
		expired := image.State == "expired" ||
			lost && !keptOfImage[image.ID] && (image.State == "analyzed" || image.State == "dead_lettered")
		marked := slices.ContainsFunc(w.marks, func(m markRow) bool { return m.ImageID != nil && *m.ImageID == image.ID })
		if expired && (w.deleteImages || marked) && !later[image.Path] {
			if size, there := out.files[image.Path]; there && size == image.Size {
				delete(out.files, image.Path)
				out.report.ImagesDeleted++
				out.report.SpaceReclaimedBytes += size
			}
			continue
		}
		out.images = append(out.images, image.ID)
		if expired {
			out.expired = append(out.expired, image.ID)
		}
	}
	for _, row := range w.samples {
		if row.Recorded.Before(w.cutoff) {
			out.report.GPUStatsDeleted++
		} else {
			out.samples = append(out.samples, row.ID)
		}
	}
	for _, row := range w.logs {
		if row.Timestamp.Before(w.cutoff) {
			out.report.LogsDeleted++
		} else {
			out.logs = append(out.logs, row.ID)
		}
	}
	return out
}

// ours is the file that a thumbnail path names, if it lies in our folder and is spelled cleanly.
func (w *world) ours(path *string) (string, bool) {
	if path == nil || *path == "" || strings.Contains(*path, "//") || strings.HasPrefix(*path, ".") || *path == "/" {
		return "", false
	}
	if strings.HasPrefix(*path, "/") {
		return *path, strings.HasPrefix(*path, w.e.thumbnails+"/")
	}
	return filepath.Join(w.e.thumbnails, *path), true
}

// left is one row that is still there.
type left struct {
	What string `db:"what"`
	ID   int64  `db:"id"`
}

// check compares the database and the disk with what must be left.
func (w *world) check(t *testing.T, out outcome) {
	t.Helper()
	want := []left{{"audit_logs", 1}}
	for what, ids := range map[string][]int64{
		"events": out.events, "detections": out.detections, "gpu_stats": out.samples, "logs": out.logs, "images": out.images,
		"expired": out.expired, "batches": out.batches, "later": out.marks,
	} {
		for _, id := range ids {
			want = append(want, left{what, id})
		}
	}
	got := storetest.Query[left](t, w.e.db, `
		SELECT 'audit_logs' AS what, id FROM audit_logs
		UNION ALL SELECT 'events', id FROM events
		UNION ALL SELECT 'detections', id FROM detections
		UNION ALL SELECT 'gpu_stats', id FROM gpu_stats
		UNION ALL SELECT 'logs', id FROM logs
		UNION ALL SELECT 'images', id FROM images
		UNION ALL SELECT 'expired', id FROM images WHERE state = 'expired'
		UNION ALL SELECT 'batches', id FROM batches
		UNION ALL SELECT 'later', 1 FROM media_deletions WHERE not_before IS NOT NULL
		UNION ALL SELECT 'mark without a file', id FROM media_deletions WHERE not_before IS NULL`)
	require.ElementsMatch(t, want, got)
	require.Equal(t, out.files, w.e.disk(t))
}

// disk lists all files with their sizes.
func (e *env) disk(t *testing.T) map[string]int64 {
	t.Helper()
	files := make(map[string]int64)
	require.NoError(t, filepath.WalkDir(e.dir, func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() || entry.Name() == ".hsi-media" {
			return err
		}
		info, err := entry.Info()
		files[path] = info.Size()
		return err
	}))
	return files
}
