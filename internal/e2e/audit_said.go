package e2e

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"hsi.home.arpa/pipeline/aitest"
)

// isHonest tells whether a call was answered with the truth, perhaps slowly or wrapped in other
// words.
func isHonest(call aitest.Call) bool {
	honest := []string{"", "drip", "talks around", "code fence", "two objects", "wrong level"}
	return call.Status == 200 && slices.Contains(honest, call.Behaviour)
}

// calls holds what the detector was asked against what the cameras wrote, and looks at the form of
// all requests: a service that did nothing on purpose refused none of them.
func (a *Audit) calls() {
	sent, poison := map[string]int{}, map[string]bool{}
	for _, s := range a.run.Shots {
		poison[s.SHA256] = poison[s.SHA256] || s.Poison
	}
	wellFormed := func(call aitest.Call) bool {
		return call.Behaviour != "" || call.Status == 200 || call.Status == 0
	}
	for _, call := range a.run.Detected {
		sent[call.SHA256]++
		a.answered[call.SHA256] = a.answered[call.SHA256] || isHonest(call.Call)
		a.Check(wellFormed(call.Call) || poison[call.SHA256], Misbehaving,
			"the detector refused %s with %d", call.FileName, call.Status)
	}
	for _, call := range a.run.Said {
		a.Check(wellFormed(call.Call), Misbehaving, "the model refused a prompt with %d",
			call.Status)
		a.Check(call.HasSchema || call.HasGrammar, Misbehaving,
			"the model was asked without a JSON schema or grammar")
	}
	once := map[string]bool{}
	for _, s := range a.run.Shots {
		n := sent[s.SHA256]
		a.Check(s.Broken == "" || n == 0, Misbehaving,
			"%s: sent to the detector, although it is %s", s.Path, s.nature())
		a.Check(s.Broken != "" || n == 1 || !a.run.Undisturbed, Misbehaving,
			"%s: sent to the detector %d times", s.Path, n)
		once[s.SHA256] = true
	}
	for _, sum := range slices.Sorted(maps.Keys(sent)) {
		a.Check(once[sum], Misbehaving, "the detector got an image %.8s… that no camera wrote", sum)
	}
	a.Check(!a.run.Undisturbed || len(a.run.Said) == len(a.run.Ledger.Batches), Misbehaving,
		"%d batches, %d calls of the model", len(a.run.Ledger.Batches), len(a.run.Said))
}

// events holds each event against its detections and against what the model said about exactly
// these. The summaries of the scripted model differ from prompt to prompt, so that they tell which
// answer an event goes back to.
func (a *Audit) events() {
	names, said := map[string]string{}, verdicts(a.run.Said)
	for _, s := range a.run.Shots {
		names[s.Camera.ID] = s.Camera.Folder
	}
	inEvent := map[int64][]string{}
	times := map[int64][]time.Time{}
	for _, d := range a.run.Ledger.Detections {
		id := d.EventID.Int64
		inEvent[id] = append(inEvent[id], fmt.Sprintf("%s %.2f", d.ObjectType, d.Confidence))
		times[id] = append(times[id], d.DetectedAt)
	}
	for _, e := range a.run.Ledger.Events {
		if at := times[e.ID]; len(at) > 0 { // else its batch has been found to be wrong
			first, last := slices.MinFunc(at, time.Time.Compare), slices.MaxFunc(at,
				time.Time.Compare)
			a.Check(e.StartedAt.Equal(first) && e.EndedAt.Equal(last), Wrong,
				"event %d: from %v to %v, its detections from %v to %v", e.ID, e.StartedAt, e.EndedAt, first, last)
		}
		answer, known := said[e.Summary]
		if !known {
			a.Add(Invented, "event %d: score %d and %q, which the model never said", e.ID,
				e.RiskScore, e.Summary)
			continue
		}
		got := aitest.Verdict{
			RiskScore: e.RiskScore, RiskLevel: e.RiskLevel, Summary: e.Summary,
			Reasoning: e.Reasoning,
		}
		a.Check(got == answer.Verdict && e.Analyzer == "nemotron", Invented,
			"event %d by %s: %+v, the model said %+v", e.ID, e.Analyzer, got, answer.Verdict)
		a.Check(a.run.ClockSet || !e.CreatedAt.Before(answer.StartedAt), Invented,
			"event %d: stored at %v, before the model was asked at %v", e.ID, e.CreatedAt, answer.StartedAt)
		a.Check(strings.Contains(answer.Prompt, fmt.Sprintf("Camera: %q", names[e.CameraID])),
			Invented,
			"event %d: the model was asked about another camera than %s", e.ID, e.CameraID)
		a.Check(describes(answer.Prompt, inEvent[e.ID]), Invented,
			"event %d: the model was asked about other detections than %v", e.ID, inEvent[e.ID])
	}
}

// verdicts lists by summary what the model said: the first time, when it was asked again after a
// crash.
func verdicts(calls []aitest.CompletionCall) map[string]aitest.CompletionCall {
	said := map[string]aitest.CompletionCall{}
	for _, call := range calls {
		if !isHonest(call.Call) {
			continue
		}
		if earlier, known := said[call.Verdict.Summary]; !known ||
			call.StartedAt.Before(earlier.StartedAt) {
			said[call.Verdict.Summary] = call
		}
	}
	return said
}

var (
	detectionLine = regexp.MustCompile(`(?m)^\d+\. [0-9:]+ ([a-z]+) \(confidence ([0-9.]+)\)$`)
	furtherLine   = regexp.MustCompile(`(?m)^and (\d+) more: `)
)

// describes tells whether a prompt lists these detections: all of them, or the first ones and how
// many more there are.
func describes(prompt string, detections []string) bool {
	left := map[string]int{}
	for _, d := range detections {
		left[d]++
	}
	listed := 0
	for _, line := range detectionLine.FindAllStringSubmatch(prompt, -1) {
		left[line[1]+" "+line[2]]--
		listed++
	}
	more := 0
	if further := furtherLine.FindStringSubmatch(prompt); further != nil {
		_, _ = fmt.Sscan(further[1], &more)
	}
	for _, n := range left {
		if n < 0 {
			return false
		}
	}
	return listed+more == len(detections)
}
