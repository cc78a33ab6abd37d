package main

import (
	"bytes"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"hsi.home.arpa/internal/e2e"
	"hsi.home.arpa/pipeline/picture"
)

func TestDrawBurst_FollowsFromTheSeed(t *testing.T) {
	t.Parallel()
	first, again, other := random(1, 0), random(1, 0), random(2, 0)
	kinds, different := map[kind]bool{}, false
	for range 300 {
		b := drawBurst(first)
		require.Equal(t, b, drawBurst(again))
		different = different || len(b.faults) != len(drawBurst(other).faults)
		for _, f := range b.faults {
			kinds[f.kind] = true
			require.LessOrEqual(t, f.hold, 3*time.Second)
			require.NotEmpty(t, f.kind)
		}
	}
	require.True(t, different)
	require.Len(t, kinds, len(faultKinds), "every fault comes up")
}

func TestParse_Forms(t *testing.T) {
	t.Parallel()
	var problems bytes.Buffer
	short, err := parse([]string{"-seed", "7"}, &problems)
	require.NoError(t, err)
	require.Equal(t, []any{uint64(7), 5_000, 100, false},
		[]any{short.seed, short.images, short.kills, short.patient})
	require.Less(t, short.limit, 10*time.Minute)
	long, err := parse([]string{"-long", "-images", "60000"}, &problems)
	require.NoError(t, err)
	require.Equal(t, []any{60_000, 1_000, true}, []any{long.images, long.kills, long.patient})
	require.NotZero(t, long.seed)
	_, err = parse([]string{"-images", "0"}, &problems)
	require.Error(t, err)
}

// A promise that was broken makes the report say so and the command fail.
func TestReport_SaysWhatIsBroken(t *testing.T) {
	t.Parallel()
	r := &report{seed: 1, outcomes: map[string]int{}, afterKills: []time.Duration{6 * time.Second}}
	var out bytes.Buffer
	r.print(&out)
	require.False(t, r.broken())
	require.Contains(t, out.String(), "0 lost, 0 doubled, 0 invented")
	require.NotContains(t, out.String(), "nothing was compared")
	(&report{}).print(&out)
	require.Contains(t, out.String(), "nothing was compared")
	r.found(e2e.Lost, "/c/a.jpg: no row")
	out.Reset()
	r.print(&out)
	require.True(t, r.broken())
	require.Contains(t, out.String(), "1 lost, 0 doubled")
	require.Contains(t, out.String(), "/c/a.jpg: no row")
	require.Less(t, strings.Index(out.String(), "1 lost"),
		strings.Index(out.String(), "a.jpg: no row"))
}

func TestBomb_IsOne(t *testing.T) {
	t.Parallel()
	_, err := picture.VerifyBytes(bomb(1), picture.Limits{})
	require.ErrorIs(t, err, picture.ErrTooManyPixels)
	require.NotEqual(t, bomb(1), bomb(2))
}

// The feeder's list is true: what it says it wrote lies there, and a broken upload is none that
// the detector would see.
func TestFeeder_KeepsATrueList(t *testing.T) {
	t.Parallel()
	f := &feeder{
		Cameras: &e2e.Cameras{Root: t.TempDir()}, seed: 3, total: 150, progress: func() float64 { return 1 },
	}
	require.NoError(t, f.run(t.Context()))
	shots := f.Shots()
	require.GreaterOrEqual(t, len(shots), 150)
	natures, paths := map[string]bool{}, map[string]bool{}
	for _, s := range shots {
		require.False(t, paths[s.Path], s.Path)
		paths[s.Path] = true
		natures[s.Broken] = true
		data, err := os.ReadFile(s.Path)
		require.NoError(t, err)
		lies := e2e.NewShot(s.Camera, s.Path, data, s.Broken)
		if s.Poison {
			natures["poison"] = true
			lies.Poison, lies.Kept = true, nil
		}
		require.Equal(t, lies, s)
		_, err = picture.VerifyBytes(data, picture.Limits{})
		require.Equal(t, s.Broken == "", err == nil, s.Path)
	}
	require.Len(t, natures, 4)
	require.Positive(t, f.again.Load())
}
