package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/stretchr/testify/require"

	"hsi.home.arpa/embedded/embeddedtest"
	"hsi.home.arpa/pipeline/aitest"
	"hsi.home.arpa/store/storetest"
)

// runThreshold is the confidence below which the full runs drop a detection.
const runThreshold = 0.6

// runCameras are the camera folders of the full runs and the ids that they must get.
var runCameras = [...]struct{ folder, id string }{
	{"Front Door", "front_door"}, {"garage", "garage"}, {"back-yard", "back_yard"}, {"Drive 2", "drive_2"},
}

// world is the real server with scripted AI services and cameras that remember what they wrote.
type world struct {
	*process

	detector *aitest.RTDETR
	model    *aitest.Nemotron
	database *sqlx.DB
	cameras  string
	// thumbnails is where the test sees the thumbnail folder.
	thumbnails string
	begun      time.Time
	shots      []*shot
}

// shot is a file that a camera wrote, and what must become of it.
type shot struct {
	camera, folder, path string
	sha256               string
	size                 int64
	// state and reason are how it must end.
	state, reason string
	// seen is whether the detector gets to see it, kept what of its detections must be stored.
	seen bool
	kept []aitest.Detection
}

// newWorld starts the server with real databases of its own and waits until it is ready. Settings in env win.
func newWorld(t *testing.T, env ...string) *world {
	t.Helper()
	w := prepareWorld(t, storetest.NewEmptyURL(t), embeddedtest.NewRedis(t).URL(), env...)
	w.start()
	w.eventually("ready", w.isReady)
	return w
}

// prepareWorld is newWorld on databases that are there, without the start of the server.
func prepareWorld(t *testing.T, databaseURL, redisURL string, env ...string) *world {
	t.Helper()
	w := &world{detector: aitest.NewRTDETR(t), model: aitest.NewNemotron(t), cameras: t.TempDir(), begun: time.Now()}
	w.database = sqlx.MustOpen("postgres", databaseURL)
	t.Cleanup(func() { _ = w.database.Close() })
	w.process = newProcess(t, append([]string{
		"DATABASE_URL=" + databaseURL, "REDIS_URL=" + redisURL, "FOSCAM_BASE_PATH=" + w.cameras,
		"RTDETR_URL=" + w.detector.URL(), "NEMOTRON_URL=" + w.model.URL(),
		"AI_CONNECT_TIMEOUT=1", "AI_HEALTH_TIMEOUT=1", "RTDETR_READ_TIMEOUT=5", "NEMOTRON_READ_TIMEOUT=5",
		"BATCH_WINDOW_SECONDS=3", "BATCH_IDLE_TIMEOUT_SECONDS=1", fmt.Sprintf("DETECTION_CONFIDENCE_THRESHOLD=%g", runThreshold),
	}, env...)...)
	w.thumbnails = filepath.Join(w.DataDir, "thumbnails")
	return w
}

// usual is what the images of the full runs show: nothing, one person, a person and a car below the threshold, a dog below the
// threshold, and three objects of which one lies exactly at the threshold.
func usual(i int) []aitest.Detection {
	box := aitest.Box{X: 10 + i%200, Y: 20 + i%90, Width: 20 + i%60, Height: 25 + i%40}
	small := aitest.Box{X: 5 + i%250, Y: 100, Width: 30, Height: 30}
	switch i % 5 {
	case 1:
		return []aitest.Detection{{Class: "person", Confidence: 0.91, Box: box}}
	case 2:
		return []aitest.Detection{{Class: "car", Confidence: 0.55, Box: small}, {Class: "person", Confidence: 0.83, Box: box}}
	case 3:
		return []aitest.Detection{{Class: "dog", Confidence: 0.59, Box: box}}
	case 4:
		return []aitest.Detection{
			{Class: "person", Confidence: 0.61, Box: box},
			{Class: "truck", Confidence: 0.97, Box: small},
			{Class: "bicycle", Confidence: runThreshold, Box: aitest.Box{X: 1, Y: 2, Width: 40, Height: 50}},
		}
	default:
		return nil
	}
}

// feed writes the next count images, the cameras taking turns, one each interval: every other one under a temporary name that is
// then renamed, the others slowly, half of the bytes now and the rest after the next three images.
func (w *world) feed(count int, interval time.Duration, show func(i int) []aitest.Detection) {
	w.tb.Helper()
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	var slow []func()
	for range count {
		i := len(w.shots)
		data := aitest.Picture(uint64(i), show(i)...)
		s := w.plan(i, fmt.Sprintf("IMG_%05d.jpg", i), data, show(i))
		if i%2 == 0 {
			w.writeRenamed(s, data)
		} else {
			slow = append(slow, w.writeSlowly(s, data))
		}
		if len(slow) > 1 {
			slow[0]()
			slow = slow[1:]
		}
		<-ticker.C
	}
	for _, finish := range slow {
		finish()
	}
}

// plan notes an image and what must become of it.
func (w *world) plan(i int, name string, data []byte, shown []aitest.Detection) *shot {
	camera := runCameras[i%len(runCameras)]
	sum := sha256.Sum256(data)
	s := &shot{
		camera: camera.id, folder: camera.folder, path: filepath.Join(w.cameras, camera.folder, name),
		sha256: hex.EncodeToString(sum[:]), size: int64(len(data)), state: "filtered", reason: "no_detections", seen: true,
	}
	for _, d := range shown {
		if d.Confidence >= runThreshold {
			s.kept = append(s.kept, d)
			s.state, s.reason = "analyzed", ""
		}
	}
	require.NoError(w.tb, os.MkdirAll(filepath.Dir(s.path), 0o755))
	w.shots = append(w.shots, s)
	return s
}

func (w *world) writeRenamed(s *shot, data []byte) {
	w.tb.Helper()
	temporary := filepath.Join(filepath.Dir(s.path), "."+filepath.Base(s.path)+".part")
	require.NoError(w.tb, os.WriteFile(temporary, data, 0o644))
	require.NoError(w.tb, os.Rename(temporary, s.path))
}

// writeSlowly writes the first half and returns what writes the second and closes the file.
func (w *world) writeSlowly(s *shot, data []byte) (finish func()) {
	w.tb.Helper()
	file, err := os.Create(s.path)
	require.NoError(w.tb, err)
	_, err = file.Write(data[:len(data)/2])
	require.NoError(w.tb, err)
	return func() {
		_, err := file.Write(data[len(data)/2:])
		require.NoError(w.tb, err)
		require.NoError(w.tb, file.Close())
	}
}

// feedOddities gives each camera the bytes of its first image again under another name, and a text that is named like an image.
// The images before must have been recorded.
func (w *world) feedOddities() {
	w.tb.Helper()
	for i := range runCameras {
		first, err := os.ReadFile(w.shots[i].path)
		require.NoError(w.tb, err)
		again := w.plan(i, "again.jpg", first, nil)
		again.reason, again.seen = "duplicate", false
		w.writeRenamed(again, first)
		text := []byte("this is no image but a note about camera " + runCameras[i].id)
		note := w.plan(i, "note.jpg", text, nil)
		note.reason, note.seen = "not_an_image", false
		w.writeRenamed(note, text)
	}
}

// waitRecorded waits until every file has its row.
func (w *world) waitRecorded() {
	w.tb.Helper()
	w.eventually("every file has a row", func() bool { return w.count("SELECT count(*) FROM images") >= int64(len(w.shots)) })
}

// waitFinished waits until nothing is left to do: all files recorded, the queues of the API empty, no batch open.
func (w *world) waitFinished() {
	w.tb.Helper()
	w.waitRecorded()
	w.eventually("every image is detected", func() bool { return w.queues()[0] == 0 }) // after a crash only when its claims have ended
	w.eventually("the pipeline is empty", func() bool {
		return w.count("SELECT count(*) FROM batches WHERE state = 'open'") == 0 && w.queues() == [2]int64{}
	})
}

// queues returns the depths that the API tells: images to detect, batches to analyze. -1 when it does not tell.
func (w *world) queues() [2]int64 {
	answer := w.telemetry()
	return [2]int64{answer.Queues.Detection, answer.Queues.Analysis}
}

func (w *world) count(query string) (n int64) {
	w.tb.Helper()
	require.NoError(w.tb, w.database.GetContext(w.tb.Context(), &n, query))
	return n
}

func (w *world) times(query string, args ...any) (list []time.Time) {
	w.tb.Helper()
	require.NoError(w.tb, w.database.SelectContext(w.tb.Context(), &list, query, args...))
	return list
}

// patch changes settings and returns when the request was sent and when it was answered.
func (w *world) patch(body string) (sent, answered time.Time) {
	w.tb.Helper()
	sent = time.Now()
	status, answer := w.request("PATCH", "/api/system/config", map[string][]string{"Content-Type": {"application/json"}}, []byte(body))
	require.Equal(w.tb, 200, status, "%s", answer)
	return sent, time.Now()
}

// underWay tells whether a call has no answer yet.
func underWay[C interface{ IsUnderWay() bool }](calls []C) bool {
	return slices.ContainsFunc(calls, C.IsUnderWay)
}

// differences collects what is not as it must be, and shows the first few.
type differences []string

func (d *differences) add(format string, args ...any) { *d = append(*d, fmt.Sprintf(format, args...)) }

func (d *differences) check(ok bool, format string, args ...any) {
	if !ok {
		d.add(format, args...)
	}
}

func (d *differences) requireNone(tb testing.TB, what string) {
	tb.Helper()
	const shown = 12
	list := *d
	if len(list) == 0 {
		return
	}
	text := strings.Join(list[:min(len(list), shown)], "\n  ")
	require.Failf(tb, what, "%d differences:\n  %s", len(list), text)
}
