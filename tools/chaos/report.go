package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"hsi.home.arpa/internal/e2e"
)

// report is what a run found.
type report struct {
	seed uint64
	// within is how soon readiness must be back after a fault; 0 only measures it.
	within time.Duration

	files, again int
	faults       map[kind]int
	kills        int
	afterKills   []time.Duration // sorted
	others       []time.Duration // sorted
	findings     e2e.Findings
	// outcomes are nil when the run did not come to the comparison.
	outcomes map[string]int

	events, detections int
	// leftovers are files that kills left and the server removed later.
	leftovers int
	// givenUp counts by their causes the images that were given up before they were tried again at
	// the end.
	givenUp []cause
	// check is what `hsi check` printed.
	check string
	// disturbed is how long the faults took, settled how long it took from then until nothing was
	// left to do, took all together.
	disturbed, settled, took time.Duration
	// kept is where the files of the run are, if they are.
	kept string
}

type cause struct {
	Cause string
	Count int
}

func (r *report) found(kind, text string) { r.findings.Add(kind, "%s", text) }

// broken tells whether a promise was broken.
func (r *report) broken() bool { return len(r.findings) > 0 }

// take takes over what the parts of a run counted.
func (r *report) take(f *faultRunner, feeder *feeder, w *world) {
	r.files, r.again = len(feeder.Shots()), int(feeder.again.Load())
	r.faults, r.kills = f.count, f.kills()
	r.afterKills, r.others = slices.Sorted(slices.Values(f.afterKills)), slices.Sorted(slices.Values(f.others))
	for _, took := range slices.Concat(r.afterKills, r.others) {
		if r.within > 0 && took > r.within {
			r.found(e2e.Late, fmt.Sprintf("ready only %v after the last fault",
				took.Round(time.Millisecond)))
		}
	}
	r.findings = append(r.findings, f.findings...)
	for _, text := range slices.Concat(w.server.OwnEnds(), w.second.OwnEnds()) {
		r.found(e2e.Misbehaving, text)
	}
}

func (r *report) audited(a *e2e.Audit, l *e2e.Ledger, leftovers int) {
	r.findings = append(r.findings, a.Findings...)
	r.outcomes, r.events, r.detections, r.leftovers = a.Outcomes, len(l.Events), len(l.Detections), leftovers
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
	line("readiness back   after the last fault")
	for _, group := range []struct {
		name  string
		times []time.Duration
	}{{"bursts with a kill", r.afterKills}, {"other bursts", r.others}} {
		if n := len(group.times); n > 0 {
			line("  %4d %-20s p50 %v, p99 %v, max %v", n, group.name, round(group.times[n/2]),
				round(group.times[n*99/100]), round(group.times[n-1]))
		}
	}
	line("time             %v: %v of faults, %v until nothing was left to do", round(r.took),
		round(r.disturbed), round(r.settled))
	if r.outcomes == nil {
		line("nothing was compared: the run did not come to its end")
	}
	var counts []string
	for _, c := range []struct{ kind, words string }{
		{e2e.Lost, "lost"},
		{e2e.Doubled, "doubled"},
		{e2e.Invented, "invented"},
		{
			e2e.Wrong,
			"wrong",
		},
		{e2e.Dangling, "rows without file"},
		{e2e.Orphaned, "files without row"},
		{
			e2e.Late,
			"late",
		},
		{e2e.Misbehaving, "misbehaving"},
	} {
		counts = append(counts, fmt.Sprint(r.findings.Count(c.kind), " ", c.words))
	}
	line("%s\n%s", strings.Join(counts, ", "), strings.TrimSuffix(r.findings.String(), "\n"))
	if r.kept != "" {
		line("the files of the run are in %s", r.kept)
	}
}

func round(d time.Duration) time.Duration { return d.Round(10 * time.Millisecond) }
