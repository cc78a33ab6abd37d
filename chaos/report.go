package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
)

// report is what a run found.
type report struct {
	seed uint64

	files, again int
	faults       map[kind]int
	kills        int
	afterKills   []time.Duration // sorted
	others       []time.Duration // sorted
	findings     []finding
	// outcomes are nil when the run did not come to the comparison.
	outcomes map[string]int

	events, detections int
	// leftovers are files that kills left and the server removed later.
	leftovers int
	// givenUp counts by their causes the images that were given up before they were tried again at the end.
	givenUp []cause
	// check is what `hsi check` printed.
	check string
	// disturbed is how long the faults took, settled how long it took from then until nothing was left to do, took all together.
	disturbed, settled, took time.Duration
	// kept is where the files of the run are, if they are.
	kept string
}

type cause struct {
	Cause string
	Count int
}

func (r *report) found(f finding) { r.findings = append(r.findings, f) }

// broken tells whether a promise was broken.
func (r *report) broken() bool { return len(r.findings) > 0 }

// take takes over what the parts of a run counted.
func (r *report) take(f *faultRunner, feeder *feeder, w *world) {
	r.files, r.again = len(feeder.list()), int(feeder.again.Load())
	r.faults, r.kills = f.count, f.kills()
	r.afterKills, r.others = slices.Sorted(slices.Values(f.afterKills)), slices.Sorted(slices.Values(f.others))
	for _, took := range slices.Concat(r.afterKills, r.others) {
		if took > recoveryBound {
			r.found(finding{late, fmt.Sprintf("ready only %v after the last fault", took.Round(time.Millisecond))})
		}
	}
	r.findings = append(r.findings, f.findings...)
	for _, text := range slices.Concat(w.server.ownEnds(), w.second.ownEnds()) {
		r.found(finding{misbehaving, text})
	}
}

func (r *report) audited(a *audit, events, detections, leftovers int) {
	r.findings = append(r.findings, a.findings...)
	r.outcomes, r.events, r.detections, r.leftovers = a.outcomes, events, detections, leftovers
}

// count is how many promises of a kind were broken.
func (r *report) count(kind string) (n int) {
	for _, f := range r.findings {
		if f.kind == kind {
			n++
		}
	}
	return n
}

// print writes the report.
func (r *report) print(out io.Writer) {
	line := func(format string, args ...any) { _, _ = fmt.Fprintf(out, format+"\n", args...) }
	line("")
	line("seed             %d", r.seed)
	line("images           %d files written, %d uploads repeated", r.files, r.again)
	for _, outcome := range slices.Sorted(maps.Keys(r.outcomes)) {
		line("  %-53s %6d", outcome, r.outcomes[outcome])
	}
	line("  %-53s %6d events, %d detections", "stored", r.events, r.detections)
	line("faults           %d kill -9", r.kills)
	for _, k := range slices.Sorted(maps.Keys(r.faults)) {
		line("  %-54s %5d", k, r.faults[k])
	}
	const causes = 10
	for _, c := range r.givenUp[:min(len(r.givenUp), causes)] {
		line("given up until tried again at the end: %d images: %s", c.Count, c.Cause)
	}
	if more := len(r.givenUp) - causes; more > 0 {
		line("  and %d more causes", more)
	}
	line("kills left       %d thumbnails of no row, which the server removed", r.leftovers)
	line("hsi check        %s", strings.TrimSpace(r.check))
	line("readiness back   after the last fault, bound %v", recoveryBound)
	for _, group := range []struct {
		name  string
		times []time.Duration
	}{{"bursts with a kill", r.afterKills}, {"other bursts", r.others}} {
		if n := len(group.times); n > 0 {
			line("  %4d %-20s p50 %v, p99 %v, max %v", n, group.name, round(group.times[n/2]), round(group.times[n*99/100]), round(group.times[n-1]))
		}
	}
	line("time             %v: %v of faults, %v until nothing was left to do", round(r.took), round(r.disturbed), round(r.settled))
	if r.outcomes == nil {
		line("nothing was compared: the run did not come to its end")
	}
	line("%d lost, %d doubled, %d invented, %d wrong, %d rows without file, %d files without row, %d late, %d misbehaving", r.count(lost), r.count(doubled),
		r.count(invented), r.count(wrong), r.count(dangling), r.count(orphaned), r.count(late), r.count(misbehaving))
	const shown = 30
	for _, f := range r.findings[:min(len(r.findings), shown)] {
		line("  %s: %s", f.kind, f.text)
	}
	if more := len(r.findings) - shown; more > 0 {
		line("  and %d more", more)
	}
	if r.kept != "" {
		line("the files of the run are in %s", r.kept)
	}
}

func round(d time.Duration) time.Duration { return d.Round(10 * time.Millisecond) }
