package detect_test

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"hsi.home.arpa/pipeline/detect"
)

func TestActivity(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_000_000, 0)
	a := detect.NewActivity(func() time.Time { return now })
	for range 60 { // one each second
		require.Nil(t, a.InferenceFPS(), "a part of a minute is not a minute")
		detect.Count(a)
		now = now.Add(time.Second)
	}
	for range 30 {
		detect.Count(a)
		now = now.Add(time.Second)
	}
	require.InDelta(t, 59.0/60, *a.InferenceFPS(), 1e-9, "the running second has none yet")
	now = now.Add(29 * time.Second)
	require.InDelta(t, 30.0/60, *a.InferenceFPS(), 1e-9)
	now = now.Add(time.Hour)
	require.Zero(t, *a.InferenceFPS())
	for range 600 {
		detect.Count(a)
	}
	require.InDelta(t, 10.0, *a.InferenceFPS(), 1e-9)
	now = now.Add(-2 * time.Hour) // the clock is set back
	require.Zero(t, *a.InferenceFPS())
}

// startedAMinuteAgo is a clock that gave its first time a minute ago: what an Activity counted in
// less is not known to be all.
func startedAMinuteAgo() func() time.Time {
	var asked atomic.Bool
	return func() time.Time {
		if asked.CompareAndSwap(false, true) {
			return time.Now().Add(-time.Minute)
		}
		return time.Now()
	}
}
