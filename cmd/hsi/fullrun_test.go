package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"hsi.home.arpa/pipeline/aitest"
)

// pace is the time between two images of all cameras together.
const pace = 20 * time.Millisecond

// The whole way with AI services over HTTP: what four cameras wrote, what the services saw and said, what the database and the disk
// hold, and every figure that the API shows agree.
func TestFullRun_EverythingAgrees(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.detector.SetBehaviour(aitest.Delay(15 * time.Millisecond))
	w.model.SetBehaviour(aitest.Delay(120 * time.Millisecond))
	w.feed(200, pace, usual)
	w.waitRecorded()
	w.feedOddities()
	w.waitFinished()

	l := w.requireAccounted(true)
	files, bytes := w.requireThumbnails(l, 0)
	w.requireLatencies(l)
	w.requireCounts(l, fileTotals{files, bytes})
	status, body := w.get("/api/system/health")
	require.Equal(t, 200, status, "%s", body)
	for _, call := range w.detector.Calls() {
		require.Empty(t, call.APIKey, "no key is set")
	}
	t.Logf("%d images, %d detections, %d events, finished %v after the start", len(l.images), len(l.detections), len(l.events), time.Since(w.begun).Round(time.Millisecond))
	w.stop()
}

// kill -9 twice: once while images lie in every state and calls to both services are under way, once in full flow. Images keep coming
// while the server is down. The run ends like an undisturbed one.
func TestFullRun_KilledInTheMiddle(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.feed(100, pace, usual)
	never := make(chan struct{})
	w.detector.SetBehaviour(aitest.Hold(never))
	w.model.SetBehaviour(aitest.Hold(never))
	w.feed(20, pace, usual)
	w.waitRecorded()
	w.eventually("calls to both services are under way", func() bool { return underWay(w.detector.Calls()) && underWay(w.model.Calls()) })
	w.kill()
	for what, query := range map[string]string{
		"image that waits":        "SELECT count(*) FROM images WHERE state IN ('seen', 'queued')",
		"image at the detector":   "SELECT count(*) FROM images WHERE state = 'detecting'",
		"image in a batch":        "SELECT count(*) FROM images WHERE state = 'batched'",
		"batch at the model":      "SELECT count(*) FROM batches WHERE state = 'analyzing'",
		"image without detection": "SELECT count(*) FROM images WHERE state = 'filtered'",
	} {
		require.Positive(t, w.count(query), "killed without an %s", what)
	}
	w.detector.SetBehaviour(aitest.Delay(10 * time.Millisecond))
	w.model.SetBehaviour(aitest.Behaviour{})
	w.feed(20, time.Millisecond, usual) // nobody watches
	w.start()
	w.eventually("ready again", w.isReady)

	seen := len(w.detector.Calls())
	w.feed(30, pace, usual)
	w.detector.Wait("the next images are detected", func(calls []aitest.DetectCall) bool { return len(calls) >= seen+20 })
	inWork := w.count("SELECT count(*) FROM images WHERE state IN ('seen', 'queued', 'detecting')")
	w.kill()
	w.start()
	w.eventually("ready again", w.isReady)
	w.feed(30, pace, usual)
	begun := time.Now()
	w.waitFinished()
	t.Logf("%d images in the second kill's work, finished %v after the last image", inWork, time.Since(begun).Round(time.Millisecond))
	l := w.requireAccounted(false)
	// A thumbnail whose detection was not committed any more stays until it counts as left behind.
	w.requireThumbnails(l, int(inWork)*3)
	w.requireCounts(l, fileTotals{Files: -1})
	w.stop()
}

// A changed threshold, window and idle timeout reach the workers within a second while images flow.
func TestFullRun_SettingsReachTheWorkers(t *testing.T) {
	t.Parallel()
	const reach = time.Second
	w := newWorld(t, "BATCH_WINDOW_SECONDS=3600", "BATCH_IDLE_TIMEOUT_SECONDS=3600")
	show := func(i int) []aitest.Detection {
		return []aitest.Detection{{Class: "person", Confidence: 0.7, Box: aitest.Box{X: 10 + i%100, Y: 10, Width: 30, Height: 60}}}
	}
	w.feed(30, pace, show)
	w.detector.Wait("images flow", func(calls []aitest.DetectCall) bool { return aitest.Answered(calls) >= 20 })
	raisedFrom, raised := w.patch(`{"detection_confidence_threshold":0.8}`)
	w.feed(100, pace, show)
	loweredFrom, lowered := w.patch(`{"detection_confidence_threshold":0.6}`)
	w.feed(100, pace, show)
	w.waitRecorded()
	w.eventually("every image is detected", func() bool { return w.queues()[0] == 0 })
	w.requireThreshold(raisedFrom, raised.Add(reach), loweredFrom, lowered.Add(reach))

	// One batch for each camera is open by now, and none is closed.
	require.Equal(t, int64(len(runCameras)), w.count("SELECT count(*) FROM batches"))
	shortenedFrom, shortened := w.patch(`{"batch_window_seconds":1}`)
	w.feed(60, pace, show)
	w.eventually("the first batches are closed", func() bool {
		return w.count("SELECT count(*) FROM batches WHERE closed_at IS NOT NULL") >= int64(len(runCameras))
	})
	for _, closed := range w.times(`SELECT closed_at FROM batches ORDER BY id LIMIT $1`, len(runCameras)) {
		require.WithinRange(t, closed, shortenedFrom, shortened.Add(reach), "the new window reached the closer")
	}
	w.patch(`{"batch_window_seconds":3600}`)
	w.feed(40, pace, show)
	w.waitRecorded()
	w.eventually("every image is detected", func() bool { return w.queues()[0] == 0 })
	open := w.count("SELECT count(*) FROM batches WHERE state = 'open'")
	require.Equal(t, int64(len(runCameras)), open)
	idleFrom, idle := w.patch(`{"batch_idle_timeout_seconds":1}`)
	idleFrom = idleFrom.Truncate(time.Microsecond) // as the database keeps it
	w.eventually("all batches are closed", func() bool { return w.count("SELECT count(*) FROM batches WHERE state = 'open'") == 0 })
	for _, late := range w.times(`SELECT greatest(closed_at - interval '1 second', $1) FROM batches ORDER BY id DESC LIMIT $2`, idleFrom, open) {
		require.WithinRange(t, late, idleFrom, idle.Add(reach), "the new idle timeout reached the closer")
	}
	w.stop()
}

// requireThreshold wants that every image was judged by the threshold of its time: kept before the threshold was raised and after it
// was lowered, dropped in between. The times in which the change was on its way are open.
func (w *world) requireThreshold(raisedFrom, raised, loweredFrom, lowered time.Time) {
	w.tb.Helper()
	var rows []struct {
		SHA256   string
		Kept     bool
		StoredAt time.Time `db:"stored_at"`
	}
	require.NoError(w.tb, w.database.SelectContext(w.tb.Context(), &rows,
		`SELECT sha256, batch_id IS NOT NULL AS kept, coalesce(batched_at, filtered_at) AS stored_at FROM images ORDER BY id`))
	var diff differences
	judged := [3]int{}
	calls := w.detector.Calls()
	for _, row := range rows {
		answered := answeredBy(calls, row.SHA256)
		switch {
		case row.StoredAt.Before(raisedFrom):
			judged[0]++
			diff.check(row.Kept, "dropped before the threshold was raised")
		case answered.After(raised) && row.StoredAt.Before(loweredFrom):
			judged[1]++
			diff.check(!row.Kept, "kept %v after the raised threshold had to be in force", answered.Sub(raised))
		case answered.After(lowered):
			judged[2]++
			diff.check(row.Kept, "dropped %v after the lowered threshold had to be in force", answered.Sub(lowered))
		}
	}
	diff.requireNone(w.tb, "threshold")
	for i, n := range judged {
		require.GreaterOrEqual(w.tb, n, 10, "too few images to judge by threshold %d: %v", i, judged)
	}
}
