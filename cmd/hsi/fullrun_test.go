//go:build e2e

package main

import (
	"os"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"hsi.home.arpa/internal/e2e"
	"hsi.home.arpa/pipeline/aitest"
)

// The whole way with AI services over HTTP: what four cameras wrote, what the services saw and
// said, what the database and the disk hold, and every figure that the API shows agree.
func TestFullRun_EverythingAgrees(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Detector.SetBehaviour(aitest.Delay(15 * time.Millisecond))
	w.Model.SetBehaviour(aitest.Delay(120 * time.Millisecond))
	for range inForm(2, 10) { // each makes batches of its own
		w.feed(40, usual)
		w.waitFinished()
	}
	w.feedOddities()
	w.waitFinished()

	l, disk := w.requireAccounted(0, undisturbed)
	w.requireLatencies(l)
	w.requireCounts(l, &fileTotals{disk.Files, disk.Bytes})
	require.Equal(t, 200, w.look().alive)
	for _, call := range w.Detector.Calls() {
		require.Empty(t, call.APIKey, "no key is set")
	}
	t.Logf("%d images, %d detections, %d events, finished %v after the start",
		len(l.Images), len(l.Detections), len(l.Events), time.Since(w.begun).Round(time.Millisecond))
	w.stop()
}

// feedOddities gives each camera the bytes of its first image again under another name, and a text
// that is named like an image. The images before must have been recorded.
func (w *world) feedOddities() {
	w.tb.Helper()
	for i, camera := range runCameras {
		first, err := os.ReadFile(w.Cameras.Shots()[i].Path)
		require.NoError(w.tb, err)
		again := w.plan(i, "again.jpg", first, "")
		again.Again = true
		require.NoError(w.tb, e2e.WriteRenamed(again.Path, first, time.Time{}))
		text := []byte("this is no image but a note about camera " + camera.ID)
		note := w.plan(i, "note.jpg", text, "not_an_image")
		require.NoError(w.tb, e2e.WriteRenamed(note.Path, text, time.Time{}))
	}
}

// kill -9 twice: once while images lie in every state and calls to both services are under way,
// once in full flow. Images keep coming while the server is down. The run ends like an undisturbed
// one.
func TestFullRun_KilledInTheMiddle(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	never := make(chan struct{})
	w.Model.SetBehaviour(aitest.Hold(never))
	w.feed(20, usual)
	w.waitDetected()
	w.Detector.SetBehaviour(aitest.Hold(never))
	w.feed(12, usual)
	w.waitRecorded()
	w.eventually("calls to both services are under way", func() bool {
		return underWay(w.Detector.Calls()) && underWay(w.Model.Calls())
	})
	w.Kill()
	for what, query := range map[string]string{
		"image that waits":        "SELECT count(*) FROM images WHERE state IN ('seen', 'queued')",
		"image at the detector":   "SELECT count(*) FROM images WHERE state = 'detecting'",
		"image in a batch":        "SELECT count(*) FROM images WHERE state = 'batched'",
		"batch at the model":      "SELECT count(*) FROM batches WHERE state = 'analyzing'",
		"image without detection": "SELECT count(*) FROM images WHERE state = 'filtered'",
	} {
		require.Positive(t, w.count(query), "killed without an %s", what)
	}
	w.Detector.SetBehaviour(aitest.Delay(10 * time.Millisecond))
	w.Model.SetBehaviour(aitest.Behaviour{})
	w.feed(8, usual) // nobody watches
	w.start()
	w.eventually("ready again", w.isReady)

	seen := len(w.Detector.Calls())
	w.feed(20, usual)
	w.Detector.Wait("the next images are detected",
		func(calls []aitest.DetectCall) bool { return len(calls) >= seen+10 })
	inWork := w.count("SELECT count(*) FROM images WHERE state IN ('seen', 'queued', 'detecting')")
	w.Kill()
	w.start()
	w.eventually("ready again", w.isReady)
	w.feed(12, usual)
	begun := time.Now()
	w.waitFinished()
	t.Logf("%d images in the second kill's work, finished %v after the last image", inWork,
		time.Since(begun).Round(time.Millisecond))
	// A thumbnail whose detection was not committed any more stays until it counts as left behind.
	l, _ := w.requireAccounted(int(inWork) * 3)
	w.requireCounts(l, nil)
	w.stop()
}

// underWay tells whether a call has no answer yet.
func underWay[C interface{ IsUnderWay() bool }](calls []C) bool {
	return slices.ContainsFunc(calls, C.IsUnderWay)
}

// A changed threshold, window and idle timeout reach the workers while images flow: what is asked
// of the detector after the answer to the change is judged by the new threshold.
func TestFullRun_SettingsReachTheWorkers(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "BATCH_WINDOW_SECONDS=3600", "BATCH_IDLE_TIMEOUT_SECONDS=3600")
	w.Detector.SetBehaviour(aitest.Delay(10 * time.Millisecond))
	show := func(i int) []aitest.Detection {
		return []aitest.Detection{{
			Class: "person", Confidence: 0.7,
			Box: aitest.Box{X: 10 + i%100, Y: 10, Width: 30, Height: 60},
		}}
	}
	const enough = 8
	askedAfter := func(at time.Time) {
		w.Detector.Wait("images flow", func(calls []aitest.DetectCall) bool {
			return enough < count(calls,
				func(c aitest.DetectCall) bool { return c.StartedAt.After(at) && c.WasAnswered() })
		})
	}
	w.feed(30, show)
	w.eventually("images flow",
		func() bool { return w.count("SELECT count(*) FROM images WHERE state = 'batched'") >= enough })
	raisedFrom, raised := w.patch(`{"detection_confidence_threshold":0.8}`)
	w.feed(30, show)
	askedAfter(raised)
	loweredFrom, lowered := w.patch(`{"detection_confidence_threshold":0.6}`)
	w.feed(20, show)
	askedAfter(lowered)
	w.waitDetected()
	w.requireThreshold(raisedFrom, raised, loweredFrom, lowered, enough)

	// One batch for each camera is open by now, and none is closed.
	cameras := int64(len(runCameras))
	require.Equal(t, cameras, w.count("SELECT count(*) FROM batches WHERE state = 'open'"))
	require.Equal(t, cameras, w.count("SELECT count(*) FROM batches"))
	from, _ := w.patch(`{"batch_window_seconds":1}`)
	w.eventually("they are closed",
		func() bool { return w.count("SELECT count(*) FROM batches WHERE state = 'open'") == 0 })
	for _, closed := range w.times(`SELECT closed_at FROM batches`) {
		require.False(t, closed.Before(from), "closed before the new window was asked for")
	}
	w.patch(`{"batch_window_seconds":3600}`)
	w.feed(12, show)
	w.waitDetected()
	require.Equal(t, cameras, w.count("SELECT count(*) FROM batches WHERE state = 'open'"))
	from, _ = w.patch(`{"batch_idle_timeout_seconds":1}`)
	w.eventually("they are closed",
		func() bool { return w.count("SELECT count(*) FROM batches WHERE state = 'open'") == 0 })
	for _, closed := range w.times(`SELECT closed_at FROM batches ORDER BY id DESC LIMIT $1`,
		cameras) {
		require.False(t, closed.Before(from), "closed before the new idle timeout was asked for")
	}
	w.stop()
}

// requireThreshold wants that every image was judged by the threshold of its time: kept before the
// threshold was raised and after it was lowered, dropped in between. Those that were on their way
// are open.
func (w *world) requireThreshold(raisedFrom, raised, loweredFrom, lowered time.Time, enough int) {
	w.tb.Helper()
	var rows []struct {
		SHA256   string
		Kept     bool
		StoredAt time.Time `db:"stored_at"`
	}
	require.NoError(w.tb, w.Database.SelectContext(w.tb.Context(), &rows,
		`SELECT sha256, batch_id IS NOT NULL AS kept, coalesce(batched_at, filtered_at) AS stored_at FROM images ORDER BY id`))
	asked := map[string]time.Time{}
	for _, call := range w.Detector.Calls() {
		asked[call.SHA256] = call.StartedAt
	}
	var diff e2e.Findings
	judged := [3]int{}
	for _, row := range rows {
		switch at := asked[row.SHA256]; {
		case row.StoredAt.Before(raisedFrom):
			judged[0]++
			diff.Check(row.Kept, e2e.Wrong, "dropped before the threshold was raised")
		case at.After(raised) && row.StoredAt.Before(loweredFrom):
			judged[1]++
			diff.Check(!row.Kept, e2e.Wrong,
				"kept although it was asked for after the threshold had been raised")
		case at.After(lowered):
			judged[2]++
			diff.Check(row.Kept, e2e.Wrong,
				"dropped although it was asked for after the threshold had been lowered")
		}
	}
	diff.RequireNone(w.tb, "threshold")
	for i, n := range judged {
		require.GreaterOrEqual(w.tb, n, enough/2, "too few images to judge by threshold %d: %v", i,
			judged)
	}
}

func count[C any](calls []C, is func(C) bool) (n int) {
	for _, call := range calls {
		if is(call) {
			n++
		}
	}
	return n
}
