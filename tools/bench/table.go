package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// row is one line of the table.
type row struct {
	what, measured, compared, target string
	ok                               bool
	noTarget                         bool // shown for information
}

type table struct{ rows []row }

func (t *table) add(r row) { t.rows = append(t.rows, r) }

// print writes the table as Markdown and returns how many targets were missed.
func (t *table) print(w io.Writer) (missed int) {
	tw := tabwriter.NewWriter(w, 0, 0, 1, ' ', 0)
	line := func(cells ...string) { _, _ = fmt.Fprintf(tw, "| %s |\n", strings.Join(cells, "\t| ")) }
	line("what", "measured", "compared with", "target", "")
	line("---", "---", "---", "---", "---")
	for _, r := range t.rows {
		verdict := "ok"
		switch {
		case r.noTarget:
			verdict = ""
		case !r.ok:
			verdict = "MISS"
			missed++
		}
		line(r.what, r.measured, r.compared, r.target, verdict)
	}
	_ = tw.Flush()
	return missed
}

func median[T ~int64 | ~float64](values []T) T {
	sorted := slices.Clone(values)
	slices.Sort(sorted)
	return sorted[len(sorted)/2]
}

// percentile of sorted values, by the nearest rank.
func percentile(sorted []time.Duration, p float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	rank := int(p*float64(len(sorted))+0.999999) - 1
	return sorted[min(max(rank, 0), len(sorted)-1)]
}

// short writes a duration with three digits.
func short(d time.Duration) string {
	switch {
	case d >= time.Second:
		return fmt.Sprintf("%.3g s", d.Seconds())
	case d >= time.Millisecond:
		return fmt.Sprintf("%.3g ms", float64(d)/float64(time.Millisecond))
	default:
		return fmt.Sprintf("%.3g µs", float64(d)/float64(time.Microsecond))
	}
}

// rate writes a number of things per second.
func rate(perSecond float64) string {
	switch {
	case perSecond >= 10_000:
		return fmt.Sprintf("%.1f k/s", perSecond/1000)
	case perSecond >= 100:
		return fmt.Sprintf("%.0f/s", perSecond)
	default:
		return fmt.Sprintf("%.1f/s", perSecond)
	}
}
