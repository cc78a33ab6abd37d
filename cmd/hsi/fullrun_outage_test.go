//go:build e2e

package main

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"hsi.home.arpa/pipeline/aitest"
)

// phase is one way of being away.
type phase struct {
	name string
	// behaviour is that of the work, health that of the health check.
	behaviour, health aitest.Behaviour
	stopped           bool
	// state is what the health check says of both services together.
	state string
}

// A long outage of the AI services, in every way that a service can be away: refused, without its
// model, failing, hanging, dripping, and somebody else at its address. The pauses before they are
// tried again are shorter than real ones. Nothing is lost, nothing is invented, nobody is
// hammered; then the detector comes back, and later the model, and all of it is worked off.
func TestFullRun_AIServicesAway(t *testing.T) {
	t.Parallel()
	haste := inForm(40, 10)
	phases := []phase{
		{name: "refused", stopped: true, state: "unhealthy"},
		{name: "loading", behaviour: aitest.Loading(), health: aitest.Loading(), state: "degraded"},
		{name: "500", behaviour: aitest.Status(500), state: "unhealthy"},
		{name: "hang", behaviour: aitest.Hang(), state: "unhealthy"},
		{name: "drip", behaviour: aitest.Drip(100 * time.Millisecond), state: "unhealthy"},
		{name: "html", behaviour: aitest.HTML(), health: aitest.HTML(), state: "unhealthy"}, // which answers 200 to the health check too
	}
	w := newWorld(t, hasteEnv(haste), "RTDETR_READ_TIMEOUT=1", "NEMOTRON_READ_TIMEOUT=1")
	w.hurried = false // how often the services are tried is what is looked at
	w.feed(20, usual)
	w.waitRecorded()
	w.eventually("a batch to analyze or an open one",
		func() bool { return w.count("SELECT count(*) FROM batches WHERE event_id IS NULL") > 0 })
	w.Detector.Stop()
	w.Model.Stop()
	gone := time.Now()
	w.eventually("the verdict", func() bool { return aiState(w.look(), "unhealthy") })
	verdict := time.Since(gone)
	const waiting = 20
	w.feed(waiting, usual)
	w.waitRecorded()
	before := w.stored() // what was answered before the services went away is stored by now
	w.eventually("the last batch is closed",
		func() bool { return w.count("SELECT count(*) FROM batches WHERE state = 'open'") == 0 })
	// A call that was cut off may cost an attempt, and so may one that each of the two workers
	// sent on a kept connection which the stop had just closed: the script never saw those.
	cut := int64(2)
	for _, call := range w.Detector.Calls() {
		if call.Status == 0 {
			cut++
		}
	}
	for _, p := range phases {
		w.playPhase(p, openFor/time.Duration(haste))
		require.Equal(t, before, w.stored(),
			"%s: events, detections, finished images, batches given up: changed while the services were away", p.name)
		depths := w.queues()
		require.GreaterOrEqual(t, depths[0], int64(waiting), "images wait")
		require.Positive(t, depths[1], "batches wait")
		require.Equal(t,
			w.count("SELECT count(*) FROM images WHERE state IN ('seen', 'queued', 'detecting')"), depths[0])
	}
	away := time.Since(gone)

	// The detector is back first.
	honest := aitest.Behaviour{}
	answered := aitest.Answered(w.Detector.Calls())
	w.Detector.SetBehaviour(honest)
	w.Detector.SetHealth(honest)
	back := time.Now()
	w.Detector.Wait("the first image is detected",
		func(c []aitest.DetectCall) bool { return aitest.Answered(c) > answered })
	noticed := time.Since(back)
	w.waitDetected()
	detected := time.Since(back)
	require.Equal(t, before[0], w.stored()[0], "events without a model")
	require.NotEqual(t, "healthy", w.look().services["ai"].Status)
	w.Model.SetBehaviour(honest)
	w.Model.SetHealth(honest)
	back = time.Now()
	w.waitFinished()
	analyzed := time.Since(back)
	w.eventually("healthy again", func() bool { return w.look().overall == "healthy" })
	require.LessOrEqual(t, w.count("SELECT sum(attempts - 1) FROM images WHERE attempts > 0"), cut,
		"waiting costs no attempt of an image")
	require.LessOrEqual(t, w.count("SELECT sum(attempts - 1) FROM batches"), int64(1),
		"nor of a batch")
	w.requireAccounted(0)
	t.Logf("away %v, pauses divided by %d: verdict after %v; back: noticed after %v, images worked off after %v, batches after %v; %d and %d tries in vain",
		away.Round(time.Second), haste, verdict.Round(time.Millisecond), noticed.Round(time.Millisecond), detected.Round(time.Millisecond),
		analyzed.Round(time.Millisecond), len(w.Detector.Calls())-aitest.Answered(w.Detector.Calls()), len(w.Model.Calls())-aitest.Answered(w.Model.Calls()))
	w.stop()
}

// aiState tells whether the health check says this of the AI services, and that the system is
// degraded by it.
func aiState(seen outlook, status string) bool {
	return seen.services["ai"].Status == status && seen.overall == "degraded"
}

// playPhase lets both services be away in one way until each was tried often enough: no more often
// than once each pause, while the probes stay as they are.
func (w *world) playPhase(p phase, pause time.Duration) {
	w.tb.Helper()
	w.Detector.SetBehaviour(p.behaviour)
	w.Model.SetBehaviour(p.behaviour)
	w.Detector.SetHealth(p.health)
	w.Model.SetHealth(p.health)
	begun, calls, prompts := time.Now(), len(w.Detector.Calls()), len(w.Model.Calls())
	if !p.stopped {
		w.Detector.Start()
		w.Model.Start()
	}
	tries := func() (detector, model int) {
		return len(w.Detector.Calls()) - calls,
			len(w.Model.Calls()) - prompts
	}
	enough := inForm(3, 20)
	w.eventually(p.name+": enough tries", func() bool {
		w.stayReady(1)
		detector, model := tries()
		return p.stopped || detector >= enough && model >= enough // nobody counts those that are refused
	})
	w.eventually(p.name+": it is told", func() bool {
		w.stayReady(1)
		seen := w.look()
		for _, text := range seen.services["ai"].Details {
			if !strings.Contains(text, "breaker open since ") {
				return false
			}
		}
		return aiState(seen, p.state)
	})
	detector, model := tries()
	most := 2 + int(time.Since(begun)/pause)
	require.LessOrEqual(w.tb, detector, most, "%s: the detector is hammered", p.name)
	require.LessOrEqual(w.tb, model, most, "%s: the model is hammered", p.name)
	w.tb.Logf("%s for %v: tried %d and %d times", p.name,
		time.Since(begun).Round(100*time.Millisecond), detector, model)
}
