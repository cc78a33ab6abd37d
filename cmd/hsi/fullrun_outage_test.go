package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"hsi.home.arpa/pipeline/aitest"
)

// aiHealth is what the health check says about the AI services.
type aiHealth struct {
	overall, status string
	details         map[string]string
}

func (w *world) aiHealth() aiHealth {
	w.tb.Helper()
	status, body := w.get("/api/system/health")
	var answer struct {
		Status   string
		Services map[string]struct {
			Status  string
			Details map[string]string
		}
	}
	require.NoError(w.tb, json.Unmarshal(body, &answer))
	require.Equal(w.tb, answer.Status == "healthy", status == 200, "%s", body)
	ai := answer.Services["ai"]
	return aiHealth{answer.Status, ai.Status, ai.Details}
}

// stayReady watches the probes for a time: an AI service that is away changes neither.
func (w *world) stayReady(length time.Duration) {
	w.tb.Helper()
	end := time.Now().Add(length)
	w.eventually(fmt.Sprintf("%v pass", length), func() bool {
		status, body := w.get("/api/system/health/ready")
		require.Equal(w.tb, 200, status, "readiness: %s", body)
		status, _ = w.get("/health")
		require.Equal(w.tb, 200, status, "liveness")
		return time.Now().After(end)
	})
}

// stored is what must not change while nobody can tell what is on the images.
func (w *world) stored() [4]int64 {
	w.tb.Helper()
	return [4]int64{
		w.count("SELECT count(*) FROM events"), w.count("SELECT count(*) FROM detections"),
		w.count("SELECT count(*) FROM images WHERE state IN ('analyzed', 'dead_lettered') OR reason = 'no_detections'"),
		w.count("SELECT count(*) FROM batches WHERE state = 'dead_lettered'"),
	}
}

// outageLength is how long both AI services are away, in test time: the pauses before they are tried again are shorter by as much.
const outageLength = 10 * time.Minute

// outageHaste is how much faster than real time the outage is played; HSI_TEST_OUTAGE_HASTE=1 plays it in real time.
func outageHaste(tb testing.TB) int {
	tb.Helper()
	text := os.Getenv("HSI_TEST_OUTAGE_HASTE")
	if text == "" {
		return 40
	}
	haste, err := strconv.Atoi(text)
	require.NoError(tb, err)
	return haste
}

// phase is one way of being away.
type phase struct {
	name string
	// behaviour is that of the work, health that of the health check.
	behaviour, health aitest.Behaviour
	stopped           bool
	// state is what the health check says of both services together.
	state string
}

// Ten minutes of test time without AI services, in every way that a service can be away: refused, without its model, failing, hanging,
// dripping, and somebody else at its address. Nothing is lost, nothing is invented, nobody is hammered; then the detector comes back,
// and later the model, and all of it is worked off.
func TestFullRun_AIServicesAway(t *testing.T) {
	t.Parallel()
	haste := outageHaste(t)
	phases := []phase{
		{name: "refused", stopped: true, state: "unhealthy"},
		{name: "loading", behaviour: aitest.Loading(), health: aitest.Loading(), state: "degraded"},
		{name: "500", behaviour: aitest.Status(500), state: "unhealthy"},
		{name: "hang", behaviour: aitest.Hang(), state: "unhealthy"},
		{name: "drip", behaviour: aitest.Drip(100 * time.Millisecond), state: "unhealthy"},
		{name: "html", behaviour: aitest.HTML(), health: aitest.HTML(), state: "unhealthy"}, // which answers 200 to the health check too
	}
	w := newWorld(t, hasteVariable+"="+strconv.Itoa(haste), "RTDETR_READ_TIMEOUT=1", "NEMOTRON_READ_TIMEOUT=1")
	w.feed(60, pace, usual)
	w.waitRecorded()
	w.eventually("a batch to analyze or an open one", func() bool { return w.count("SELECT count(*) FROM batches WHERE event_id IS NULL") > 0 })
	w.detector.Stop()
	w.model.Stop()
	gone := time.Now()
	w.eventually("the verdict", func() bool { return w.aiHealth().status == "unhealthy" })
	verdict := time.Since(gone)
	require.LessOrEqual(t, verdict, 3500*time.Millisecond, "half a second for a busy test machine")
	require.Equal(t, "degraded", w.aiHealth().overall)
	w.feed(60, pace, usual)
	w.waitRecorded()
	before := w.stored() // what was answered before the services went away is stored by now
	w.eventually("the last batch is closed", func() bool { return w.count("SELECT count(*) FROM batches WHERE state = 'open'") == 0 })
	// A call that was cut off may cost an attempt, and so may one that each of the two workers sent on a kept connection which the stop
	// had just closed: the script never saw those.
	cut := int64(2)
	for _, call := range w.detector.Calls() {
		if call.Status == 0 {
			cut++
		}
	}
	for _, p := range phases {
		w.playPhase(p, outageLength/time.Duration(len(phases)*haste), openFor/time.Duration(haste))
		require.Equal(t, before, w.stored(), "%s: events, detections, finished images, batches given up: changed while the services were away", p.name)
		waiting := w.queues()
		require.GreaterOrEqual(t, waiting[0], int64(60), "images wait")
		require.Positive(t, waiting[1], "batches wait")
		require.Equal(t, w.count("SELECT count(*) FROM images WHERE state IN ('seen', 'queued', 'detecting')"), waiting[0])
	}
	away := time.Since(gone)

	// The detector is back first.
	honest := aitest.Behaviour{}
	answered := aitest.Answered(w.detector.Calls())
	w.detector.SetBehaviour(honest)
	w.detector.SetHealth(honest)
	back := time.Now()
	w.detector.Wait("the first image is detected", func(c []aitest.DetectCall) bool { return aitest.Answered(c) > answered })
	noticed := time.Since(back)
	slack := 2 * time.Second // of a busy test machine
	require.LessOrEqual(t, noticed, openFor/time.Duration(haste)*5/4+time.Second+slack, "the longest pause, and a call that still hangs")
	w.eventually("every image is detected", func() bool { return w.queues()[0] == 0 })
	detected := time.Since(back)
	require.Equal(t, before[0], w.stored()[0], "events without a model")
	require.NotEqual(t, "healthy", w.aiHealth().status)
	w.model.SetBehaviour(honest)
	w.model.SetHealth(honest)
	back = time.Now()
	w.waitFinished()
	analyzed := time.Since(back)
	w.eventually("healthy again", func() bool { return w.aiHealth().overall == "healthy" })
	require.LessOrEqual(t, w.count("SELECT sum(attempts - 1) FROM images WHERE attempts > 0"), cut, "waiting costs no attempt of an image")
	require.LessOrEqual(t, w.count("SELECT sum(attempts - 1) FROM batches"), int64(1), "nor of a batch")
	l := w.requireAccounted(false)
	w.requireThumbnails(l, 0)
	t.Logf("away %v, %d times as fast: verdict after %v; back: noticed after %v, images worked off after %v, batches after %v; %d and %d tries in vain",
		away.Round(time.Second), haste, verdict.Round(time.Millisecond), noticed.Round(time.Millisecond), detected.Round(time.Millisecond),
		analyzed.Round(time.Millisecond), len(w.detector.Calls())-aitest.Answered(w.detector.Calls()), len(w.model.Calls())-aitest.Answered(w.model.Calls()))
	w.stop()
}

// playPhase lets both services be away in one way for a time, and until each was tried twice: no more often than once each pause, and
// no less often than the longest pause and the length of a call allow.
func (w *world) playPhase(p phase, length, pause time.Duration) {
	w.tb.Helper()
	w.detector.SetBehaviour(p.behaviour)
	w.model.SetBehaviour(p.behaviour)
	w.detector.SetHealth(p.health)
	w.model.SetHealth(p.health)
	begun, calls, prompts := time.Now(), len(w.detector.Calls()), len(w.model.Calls())
	if !p.stopped {
		w.detector.Start()
		w.model.Start()
	}
	tries := func() (detector, model int) { return len(w.detector.Calls()) - calls, len(w.model.Calls()) - prompts }
	for over := false; !over; {
		w.stayReady(min(time.Second, length))
		detector, model := tries()
		over = time.Since(begun) >= length && (p.stopped || detector >= 2 && model >= 2)
		require.Less(w.tb, time.Since(begun), length+2*patience, "%s: %d and %d tries", p.name, detector, model)
	}
	took := time.Since(begun)
	detector, model := tries()
	most := 2 + int(took/pause)
	require.LessOrEqual(w.tb, detector, most, "%s: the detector is hammered", p.name)
	require.LessOrEqual(w.tb, model, most, "%s: the model is hammered", p.name)
	health := w.aiHealth()
	require.Equal(w.tb, p.state, health.status, "%s: %v", p.name, health.details)
	require.Equal(w.tb, "degraded", health.overall)
	for name, text := range health.details {
		require.Contains(w.tb, text, "breaker open since ", "%s: %s", p.name, name)
	}
	w.tb.Logf("%s for %v: tried %d and %d times, %v", p.name, took.Round(100*time.Millisecond), detector, model, health.details)
}
