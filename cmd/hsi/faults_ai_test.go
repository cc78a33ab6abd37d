package main

import (
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"hsi.home.arpa/pipeline/aitest"
)

// misbehaviour is one way in which an AI service fails, for all that it is sent.
type misbehaviour struct {
	name      string
	behaviour aitest.Behaviour
	// stopped says that the service is not there at all.
	stopped bool
}

// How any HTTP service can fail.
var misbehaviours = []misbehaviour{
	{name: "refused", stopped: true},
	{name: "hanging", behaviour: aitest.Hang()},
	{name: "slow drip", behaviour: aitest.Drip(300 * time.Millisecond)},
	{name: "500", behaviour: aitest.Status(http.StatusInternalServerError)},
	{name: "503 loading", behaviour: aitest.Loading()},
	{name: "HTML with 200", behaviour: aitest.HTML()},
	{name: "truncated JSON", behaviour: aitest.Truncated()},
	{name: "connection cut", behaviour: aitest.Cut()},
	{name: "empty body", behaviour: aitest.Empty()},
	{name: "100 MB body", behaviour: aitest.Huge(100 << 20)},
	{name: "never ending body", behaviour: aitest.Endless()},
}

// How a detector can answer nonsense.
var detectorMisbehaviours = []misbehaviour{
	{name: "NaN confidence", behaviour: aitest.NaNConfidence()},
	{name: "confidence of 1.5", behaviour: aitest.Confidence(1.5)},
	{name: "confidence of -1", behaviour: aitest.Confidence(-1)},
	{name: "box outside the image", behaviour: aitest.BoxAt(aitest.Box{X: 5000, Y: 5000, Width: 10, Height: 10})},
	{name: "NaN box", behaviour: aitest.RawDetections("NaN box", `[{"class":"person","confidence":0.9,"bbox":{"x":NaN,"y":1,"width":10,"height":10}}]`)},
	{name: "box without size", behaviour: aitest.BoxAt(aitest.Box{X: 10, Y: 10})},
	{name: "no detections in the reply", behaviour: aitest.WithoutDetections()},
}

// How a language model can answer nonsense.
var modelMisbehaviours = []misbehaviour{
	{name: "score of 150", behaviour: aitest.Score("150")},
	{name: "score of -3", behaviour: aitest.Score("-3")},
	{name: "score in words", behaviour: aitest.Score(`"high"`)},
	{name: "no score", behaviour: aitest.Score("null")},
	{name: "words only", behaviour: aitest.NoVerdict()},
	{name: "never comes to an end", behaviour: aitest.RunsOut()},
	{name: "two verdicts that disagree", behaviour: aitest.TwoVerdicts()},
}

// except answers as b does, and with something else where the test says.
func except(b aitest.Behaviour, poisoned func(subject string) bool, instead aitest.Behaviour) aitest.Behaviour {
	return aitest.Behaviour{Name: b.Name, Answer: func(w http.ResponseWriter, x *aitest.Exchange) {
		switch {
		case poisoned(x.Subject):
			instead.Answer(w, x)
		case b.Answer != nil:
			b.Answer(w, x)
		default:
			x.Honest.Send(w)
		}
	}}
}

// peakMiB is the most memory that the process had so far.
func (p *process) peakMiB() (mib int) {
	p.tb.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	require.NoError(p.tb, err)
	_, rest, found := strings.Cut(string(status), "VmHWM:")
	require.True(p.tb, found)
	_, err = fmt.Sscan(rest, &mib)
	require.NoError(p.tb, err)
	return mib >> 10
}

func person(i int) []aitest.Detection { return usual(5*i + 1) }

// The detector fails in every way, for all images: they wait, nothing is invented, no image is given up, and all goes on at once when
// the detector does. One image that the detector never answers sensibly is given up with the cause, and can be tried again.
func TestFault_DetectorMisbehaves(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "RTDETR_READ_TIMEOUT=2")
	poisoned := func(file string) bool { return file == "IMG_00000.jpg" }
	behave := func(b aitest.Behaviour) { w.detector.SetBehaviour(except(b, poisoned, aitest.NaNConfidence())) }
	behave(aitest.Behaviour{})
	w.feed(4, time.Millisecond, person)
	const waiting = "SELECT count(*) FROM images WHERE state IN ('seen', 'queued', 'detecting') AND file_path NOT LIKE '%/IMG_00000.jpg'"
	for _, fault := range append(misbehaviours, detectorMisbehaviours...) {
		w.within(fault.name, func() {
			w.waitRecorded()
			w.eventually("all are detected", func() bool { return w.count(waiting) == 0 })
			detections, before := w.count("SELECT count(*) FROM detections"), w.peakMiB()
			heal := func() { behave(aitest.Behaviour{}) }
			if fault.stopped {
				w.detector.Stop()
				heal = w.detector.Start
			}
			behave(fault.behaviour)
			defer heal()
			w.feed(2, time.Millisecond, person)
			w.waitRecorded()
			detected := never
			if begun := time.Now(); fault.stopped {
				w.eventually("it is told", func() bool { return w.look().services["ai"].Status == "degraded" })
				detected = time.Since(begun)
			} else {
				w.detector.Wait("two tries", func(calls []aitest.DetectCall) bool {
					return 2 <= count(calls, func(c aitest.DetectCall) bool {
						return c.Behaviour == fault.behaviour.Name && !c.IsUnderWay() && !poisoned(c.FileName)
					})
				})
			}
			require.Equal(w.tb, int64(2), w.count(waiting), "images wait")
			require.Equal(w.tb, detections, w.count("SELECT count(*) FROM detections"), "invented detections")
			w.stayReady(0)
			heal()
			begun := time.Now()
			w.eventually("all are detected", func() bool { return w.count(waiting) == 0 })
			measured(w.tb, "detector: "+fault.name, "images wait, nothing is invented", detected, time.Since(begun))
			require.Less(w.tb, w.peakMiB()-before, 90, "MiB for one reply")
		})
	}
	w.within("one image is never answered sensibly", func() {
		w.eventually("it is given up", func() bool { return w.count("SELECT count(*) FROM images WHERE state = 'dead_lettered'") == 1 })
		printed, code := runCommand(w.tb, w.env, "dead-letters", "list")
		require.Zero(w.tb, code, printed)
		require.Contains(w.tb, printed, "IMG_00000.jpg")
		require.Contains(w.tb, printed, "failed 5 times")
		w.detector.SetBehaviour(aitest.Behaviour{})
		printed, code = runCommand(w.tb, w.env, "dead-letters", "requeue", "--all")
		require.Zero(w.tb, code, printed)
	})
	w.waitFinished()
	l := w.requireAccounted(false)
	w.requireThumbnails(l, 0)
	w.requireNoFindings()
	w.stop()
}

// The language model fails in every way, for all batches: they wait, no score is invented, no batch is given up, and all goes on when
// the model does. One batch that it never judges sensibly is given up with the cause, and can be tried again. What a model that talks
// around its JSON says is understood.
func TestFault_ModelMisbehaves(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "NEMOTRON_READ_TIMEOUT=2")
	poisoned := func(prompt string) bool { return strings.Contains(prompt, "bus (conf") }
	behave := func(b aitest.Behaviour) { w.model.SetBehaviour(except(b, poisoned, aitest.Score("150"))) }
	behave(aitest.Behaviour{})
	w.feed(1, time.Millisecond, func(int) []aitest.Detection {
		return []aitest.Detection{{Class: "bus", Confidence: 0.95, Box: aitest.Box{X: 10, Y: 10, Width: 60, Height: 60}}}
	})
	// The images of the batch that is given up follow it.
	waiting := func() int64 {
		return w.count(`SELECT count(*) FROM batches AS b WHERE event_id IS NULL AND NOT EXISTS
			(SELECT FROM detections AS d WHERE d.batch_id = b.id AND d.object_type = 'bus')`)
	}
	detected := func() bool { return w.queues()[0] == 0 }
	w.waitRecorded()
	w.eventually("the first image is detected", detected)
	for _, fault := range append(misbehaviours, modelMisbehaviours...) {
		w.within(fault.name, func() {
			w.eventually("all are analyzed", func() bool { return detected() && waiting() == 0 })
			events, before := w.count("SELECT count(*) FROM events"), w.peakMiB()
			heal := func() { behave(aitest.Behaviour{}) }
			if fault.stopped {
				w.model.Stop()
				heal = w.model.Start
			}
			behave(fault.behaviour)
			defer heal()
			w.feed(2, time.Millisecond, person)
			w.waitRecorded()
			told := never
			if begun := time.Now(); fault.stopped {
				w.eventually("it is told", func() bool { return w.look().services["ai"].Status == "degraded" })
				told = time.Since(begun)
			} else {
				w.model.Wait("two tries", func(calls []aitest.CompletionCall) bool {
					return 2 <= count(calls, func(c aitest.CompletionCall) bool {
						return c.Behaviour == fault.behaviour.Name && !c.IsUnderWay() && !poisoned(c.Prompt)
					})
				})
			}
			w.eventually("batches wait", func() bool { return detected() && waiting() == 2 })
			require.Equal(w.tb, events, w.count("SELECT count(*) FROM events"), "invented events")
			w.stayReady(0)
			heal()
			begun := time.Now()
			w.eventually("all are analyzed", func() bool { return waiting() == 0 })
			measured(w.tb, "model: "+fault.name, "batches wait, no score is invented", told, time.Since(begun))
			require.Less(w.tb, w.peakMiB()-before, 90, "MiB for one reply")
		})
	}
	for name, behaviour := range map[string]aitest.Behaviour{
		"talks around its JSON": aitest.TalksAround(), "JSON in a code block": aitest.CodeFence(), "level that does not fit the score": aitest.WrongLevel(),
	} {
		w.within(name, func() {
			behave(aitest.Behaviour{Answer: behaviour.Answer}) // the verdict is the honest one: what the event says is compared below
			w.feed(1, time.Millisecond, person)
			w.waitRecorded()
			w.eventually("it is understood", func() bool {
				return detected() && w.count("SELECT count(*) FROM batches WHERE state = 'open'") == 0 && waiting() == 0
			})
			measured(w.tb, "model: "+name, "the verdict is understood", never, never)
		})
	}
	w.within("one batch is never judged sensibly", func() {
		w.eventually("it is given up", func() bool { return w.count("SELECT count(*) FROM batches WHERE state = 'dead_lettered'") == 1 })
		printed, code := runCommand(w.tb, w.env, "dead-letters", "list")
		require.Zero(w.tb, code, printed)
		require.Contains(w.tb, printed, "IMG_00000.jpg")
		require.Contains(w.tb, printed, "150 is out of range")
		w.model.SetBehaviour(aitest.Behaviour{})
		printed, code = runCommand(w.tb, w.env, "dead-letters", "requeue", "--all")
		require.Zero(w.tb, code, printed)
	})
	w.waitFinished()
	l := w.requireAccounted(false)
	w.requireThumbnails(l, 0)
	w.requireNoFindings()
	w.stop()
}

func count[C any](calls []C, is func(C) bool) (n int) {
	for _, call := range calls {
		if is(call) {
			n++
		}
	}
	return n
}
