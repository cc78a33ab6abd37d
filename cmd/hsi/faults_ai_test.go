//go:build e2e

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
	{name: "1 GB body", behaviour: aitest.Huge(1 << 30)},
	{name: "never ending body", behaviour: aitest.Endless()},
}

// How a detector can answer nonsense.
var detectorMisbehaviours = []misbehaviour{
	{name: "NaN confidence", behaviour: aitest.NaNConfidence()},
	{name: "confidence of 1.5", behaviour: aitest.Confidence(1.5)},
	{name: "confidence of -1", behaviour: aitest.Confidence(-1)},
	{
		name:      "box outside the image",
		behaviour: aitest.BoxAt(aitest.Box{X: 5000, Y: 5000, Width: 10, Height: 10}),
	},
	{name: "NaN box", behaviour: aitest.RawDetections("NaN box",
		`[{"class":"person","confidence":0.9,"bbox":{"x":NaN,"y":1,"width":10,"height":10}}]`)},
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
func except(b aitest.Behaviour, poisoned func(subject string) bool,
	instead aitest.Behaviour,
) aitest.Behaviour {
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
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.PID()))
	require.NoError(p.tb, err)
	_, rest, found := strings.Cut(string(status), "VmHWM:")
	require.True(p.tb, found)
	_, err = fmt.Sscan(rest, &mib)
	require.NoError(p.tb, err)
	return mib >> 10
}

// aiTrial is an AI service that fails in every way for all its work, and always in one way for one
// piece of it.
type aiTrial struct {
	*world
	name    string
	service interface {
		Start()
		Stop()
		SetBehaviour(b aitest.Behaviour)
	}
	poisoned func(subject string) bool
	poison   aitest.Behaviour
	// waiting counts what waits for the service, without the piece that is poisoned. It is
	// negative while work is on its way to it.
	waiting func() int64
	// invented counts what would have been made up.
	invented string
	// met waits until two answers of that name were given to work that is not poisoned.
	met func(behaviour string)
}

func (a *aiTrial) behave(b aitest.Behaviour) {
	a.service.SetBehaviour(except(b, a.poisoned, a.poison))
}

// survive lets the service fail in one way: work waits, nothing is made up, and it is done once
// the service works again.
func (a *aiTrial) survive(fault misbehaviour) {
	a.within(fault.name, func() {
		hurry := a.hurry()
		done := func() bool { hurry(); return a.waiting() == 0 }
		a.waitRecorded()
		a.eventually("all is done", done)
		stored, before := a.count(a.invented), a.peakMiB()
		heal := func() { a.behave(aitest.Behaviour{}) }
		if fault.stopped {
			a.service.Stop()
			heal = a.service.Start
		}
		a.behave(fault.behaviour)
		defer heal()
		a.feed(2, person)
		a.waitRecorded()
		told := never
		if begun := time.Now(); fault.stopped {
			a.eventually("it is told",
				func() bool { return a.look().services["ai"].Status == "degraded" })
			told = time.Since(begun)
		} else {
			a.met(fault.behaviour.Name)
		}
		a.eventually("work waits", func() bool { return a.waiting() == 2 })
		require.Equal(a.tb, stored, a.count(a.invented), a.invented)
		a.stayReady(1)
		heal()
		begun := time.Now()
		a.eventually("all is done", done)
		measured(a.tb, a.name+": "+fault.name, "work waits, nothing is invented", told,
			time.Since(begun))
		// Far below the largest body, and far above what the collector leaves to itself on a busy
		// machine.
		require.Less(a.tb, a.peakMiB()-before, 400, "MiB for one reply")
	})
}

// giveUp waits until the poisoned piece, and nothing else, is a dead letter that names its cause,
// and tries it again with a service that works. All images are accounted for in the end.
func (a *aiTrial) giveUp(deadLetters, cause string) {
	a.within("one piece is never answered sensibly", func() {
		hurry := a.hurry()
		a.eventually("it is given up", func() bool { hurry(); return a.count(deadLetters) == 1 })
		printed := a.run("dead-letters", "list")
		require.Contains(a.tb, printed, "IMG_00000.jpg")
		require.Contains(a.tb, printed, cause)
		a.service.SetBehaviour(aitest.Behaviour{})
		a.run("dead-letters", "requeue", "--all")
	})
	a.waitFinished()
	a.finish(0)
}

// The detector fails in every way, for all images: they wait, nothing is invented, no image is
// given up, and all goes on at once when the detector does. One image that the detector never
// answers sensibly is given up with the cause, and can be tried again.
func TestFault_DetectorMisbehaves(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "RTDETR_READ_TIMEOUT=2")
	poisoned := func(file string) bool { return file == "IMG_00000.jpg" }
	a := &aiTrial{
		world: w, name: "detector", service: w.Detector, poisoned: poisoned, poison: aitest.NaNConfidence(),
		waiting: func() int64 {
			return w.count(`SELECT count(*) FROM images WHERE state IN ('seen', 'queued', 'detecting') AND file_path NOT LIKE '%/IMG_00000.jpg'`)
		},
		invented: "SELECT count(*) FROM detections",
		met: func(behaviour string) {
			w.Detector.Wait("two tries", func(calls []aitest.DetectCall) bool {
				return 2 <= count(calls, func(c aitest.DetectCall) bool {
					return c.Behaviour == behaviour && !c.IsUnderWay() && !poisoned(c.FileName)
				})
			})
		},
	}
	a.behave(aitest.Behaviour{})
	w.feed(4, person)
	for _, fault := range append(misbehaviours, detectorMisbehaviours...) {
		a.survive(fault)
	}
	a.giveUp("SELECT count(*) FROM images WHERE state = 'dead_lettered'", "failed 5 times")
}

// The language model fails in every way, for all batches: they wait, no score is invented, no
// batch is given up, and all goes on when the model does. One batch that it never judges sensibly
// is given up with the cause, and can be tried again. What a model that talks around its JSON says
// is understood.
func TestFault_ModelMisbehaves(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "NEMOTRON_READ_TIMEOUT=2")
	poisoned := func(prompt string) bool { return strings.Contains(prompt, "bus (conf") }
	detected := func() bool { return w.queues()[0] == 0 }
	a := &aiTrial{
		world: w, name: "model", service: w.Model, poisoned: poisoned, poison: aitest.Score("150"),
		waiting: func() int64 {
			if !detected() {
				return -1
			}
			// The images of the batch that is given up follow it.
			return w.count(`SELECT count(*) FROM batches AS b WHERE event_id IS NULL AND NOT EXISTS
				(SELECT FROM detections AS d WHERE d.batch_id = b.id AND d.object_type = 'bus')`)
		},
		invented: "SELECT count(*) FROM events",
		met: func(behaviour string) {
			w.Model.Wait("two tries", func(calls []aitest.CompletionCall) bool {
				return 2 <= count(calls, func(c aitest.CompletionCall) bool {
					return c.Behaviour == behaviour && !c.IsUnderWay() && !poisoned(c.Prompt)
				})
			})
		},
	}
	a.behave(aitest.Behaviour{})
	w.feed(1, func(int) []aitest.Detection {
		return []aitest.Detection{{
			Class: "bus", Confidence: 0.95,
			Box: aitest.Box{X: 10, Y: 10, Width: 60, Height: 60},
		}}
	})
	w.waitDetected()
	for _, fault := range append(misbehaviours, modelMisbehaviours...) {
		a.survive(fault)
	}
	for name, behaviour := range map[string]aitest.Behaviour{
		"talks around its JSON": aitest.TalksAround(), "JSON in a code block": aitest.CodeFence(), "level that does not fit the score": aitest.WrongLevel(),
	} {
		w.within(name, func() {
			a.behave(aitest.Behaviour{Answer: behaviour.Answer}) // the verdict is the honest one: what the event says is compared below
			w.feed(1, person)
			w.waitRecorded()
			hurry := w.hurry()
			w.eventually("it is understood", func() bool {
				hurry()
				return a.waiting() == 0 &&
					w.count("SELECT count(*) FROM batches WHERE state = 'open'") == 0
			})
			measured(w.tb, "model: "+name, "the verdict is understood", never, never)
		})
	}
	a.giveUp("SELECT count(*) FROM batches WHERE state = 'dead_lettered'", "150 is out of range")
}
