package detect_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"hsi.home.arpa/pipeline/detect"
)

func TestActivity(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_000_000, 0)
	a := detect.NewActivity(func() time.Time { return now })
	require.Zero(t, a.InferenceFPS())
	for range 90 { // one each second
		detect.Count(a)
		now = now.Add(time.Second)
	}
	require.InDelta(t, 59.0/60, a.InferenceFPS(), 1e-9, "the running second has none yet")
	now = now.Add(29 * time.Second)
	require.InDelta(t, 30.0/60, a.InferenceFPS(), 1e-9)
	now = now.Add(time.Hour)
	require.Zero(t, a.InferenceFPS())
	for range 600 {
		detect.Count(a)
	}
	require.InDelta(t, 10.0, a.InferenceFPS(), 1e-9)
	now = now.Add(-2 * time.Hour) // the clock is set back
	require.Zero(t, a.InferenceFPS())
}
