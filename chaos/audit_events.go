package main

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"hsi.home.arpa/pipeline/aitest"
)

// spoken is a verdict that the model really gave.
type spoken struct {
	verdict aitest.Verdict
	prompt  string
	// at is when it was asked.
	at time.Time
}

// events holds each event against what the model said about exactly the detections of its batch. The summaries of the scripted
// model differ from prompt to prompt, so that they tell which answer an event goes back to.
func (a *audit) events(l *ledger, said map[string]spoken) {
	inBatch := map[string][]string{}
	for _, d := range l.detections {
		id := fmt.Sprint(d.BatchID.Int64)
		inBatch[id] = append(inBatch[id], fmt.Sprintf("%s %.2f", d.ObjectType, d.Confidence))
	}
	for _, e := range l.events {
		answer, known := said[e.Summary]
		if !known {
			a.add(invented, "event %d: score %d and %q, which the model never said", e.ID, e.RiskScore, e.Summary)
			continue
		}
		got := aitest.Verdict{RiskScore: e.RiskScore, RiskLevel: e.RiskLevel, Summary: e.Summary, Reasoning: e.Reasoning}
		a.check(got == answer.verdict && e.Analyzer == "nemotron", invented, "event %d by %s: %+v, the model said %+v", e.ID, e.Analyzer, got, answer.verdict)
		a.check(!e.CreatedAt.Before(answer.at), invented, "event %d: stored at %v, before the model was asked at %v", e.ID, e.CreatedAt, answer.at)
		a.check(strings.Contains(answer.prompt, fmt.Sprintf("Camera: %q", l.cameras[e.CameraID])), invented, "event %d: the model was asked about another camera than %s", e.ID, e.CameraID)
		a.check(describes(answer.prompt, inBatch[e.BatchID]), invented, "event %d: the model was asked about other detections than %v", e.ID, inBatch[e.BatchID])
	}
}

var (
	detectionLine = regexp.MustCompile(`(?m)^\d+\. [0-9:]+ ([a-z]+) \(confidence ([0-9.]+)\)$`)
	furtherLine   = regexp.MustCompile(`(?m)^and (\d+) more: `)
)

// describes tells whether a prompt lists these detections: all of them, or the first ones and how many more there are.
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

// honest are the ways of the model to misbehave in which the true verdict is still said.
var honest = []string{"", "talks around", "code fence", "two objects", "wrong level", "drip"} //nolint:gochecknoglobals // a constant

// verdicts lists by summary what the model said.
func verdicts(calls []aitest.CompletionCall) map[string]spoken {
	said := map[string]spoken{}
	for _, call := range calls {
		if call.Status != 200 || !slices.Contains(honest, call.Behaviour) {
			continue
		}
		if earlier, known := said[call.Verdict.Summary]; known && earlier.at.Before(call.StartedAt) {
			continue // asked again after a crash
		}
		said[call.Verdict.Summary] = spoken{verdict: call.Verdict, prompt: call.Prompt, at: call.StartedAt}
	}
	return said
}
