package e2e

import (
	"fmt"
	"strings"
	"testing"
)

// The kinds of broken promises.
const (
	Lost        = "lost"        // an image, or a part of what was seen in it, ended nowhere
	Doubled     = "doubled"     // an image, detection or event is there twice
	Invented    = "invented"    // an event says what the model never said
	Wrong       = "wrong"       // something ended where it must not, or disagrees with itself
	Orphaned    = "orphaned"    // a file that no row names
	Dangling    = "dangling"    // a row that names no file
	Late        = "late"        // readiness took too long to come back, or an image waited for the next start
	Misbehaving = "misbehaving" // the process itself did what it must not
)

// Finding is one broken promise.
type Finding struct{ Kind, Text string }

// Findings are all broken promises of a run.
type Findings []Finding

// Add notes a broken promise.
func (f *Findings) Add(kind, format string, args ...any) {
	*f = append(*f, Finding{kind, fmt.Sprintf(format, args...)})
}

// Check notes a broken promise unless it is kept.
func (f *Findings) Check(ok bool, kind, format string, args ...any) {
	if !ok {
		f.Add(kind, format, args...)
	}
}

// Count is how many promises of a kind were broken.
func (f Findings) Count(kind string) (n int) {
	for _, finding := range f {
		if finding.Kind == kind {
			n++
		}
	}
	return n
}

// String lists the first findings, one a line.
func (f Findings) String() string {
	const shown = 30
	var text strings.Builder
	for _, finding := range f[:min(len(f), shown)] {
		fmt.Fprintf(&text, "  %s: %s\n", finding.Kind, finding.Text)
	}
	if more := len(f) - shown; more > 0 {
		fmt.Fprintf(&text, "  and %d more\n", more)
	}
	return text.String()
}

// RequireNone fails a test that has findings.
func (f Findings) RequireNone(tb testing.TB, what string) {
	tb.Helper()
	if len(f) > 0 {
		tb.Fatalf("%s: %d findings:\n%s", what, len(f), f)
	}
}
