// Package await lets tests wait for what must happen, on a machine that may be busy with something
// else. Nothing here waits for time to pass: each function returns as soon as what it waits for is
// there.
package await

import (
	"testing"
	"time"
)

// Limit is how long a test waits. It passes only when something is broken, so that it can be far
// above what a starved process needs.
const Limit = 3 * time.Minute

// The pause between two looks at a condition grows, so that tests that wait do not starve those
// that work.
const shortestPause, longestPause = time.Millisecond, 20 * time.Millisecond

// True waits until a condition holds. It is looked at in the test's goroutine, so it may use
// require. What is said when it never holds is a format with arguments.
func True(tb testing.TB, condition func() bool, what ...any) {
	tb.Helper()
	deadline := time.Now().Add(Limit)
	for pause := shortestPause; !condition(); pause = min(2*pause, longestPause) {
		if time.Now().After(deadline) {
			fail(tb, what)
		}
		<-time.After(pause)
	}
}

// Value waits for a value of a channel, or for its end.
func Value[T any](tb testing.TB, values <-chan T, what ...any) T {
	tb.Helper()
	select {
	case value := <-values:
		return value
	case <-time.After(Limit):
		fail(tb, what)
		panic("not reached: fail ends the test")
	}
}

func fail(tb testing.TB, what []any) {
	tb.Helper()
	if len(what) == 0 {
		tb.Fatalf("waited %v in vain", Limit)
	}
	tb.Fatalf("waited %v in vain: "+what[0].(string), append([]any{Limit}, what[1:]...)...)
}
