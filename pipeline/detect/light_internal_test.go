package detect

import (
	"image"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// ramp is a background with bright and dark cells.
func ramp(n int, change func(value float32) float32) []float32 {
	cells := make([]float32, n)
	for i := range cells {
		cells[i] = change(40 + 120*float32(i)/float32(n))
	}
	return cells
}

// The light changes by a factor or by an amount, whichever explains the image better; a dark image
// has no factor that leads back.
func TestMeasureLight(t *testing.T) {
	t.Parallel()
	const n = 1000
	mean := ramp(n, func(v float32) float32 { return v })
	for name, test := range map[string]struct {
		change func(v float32) float32
		want   lightShift
	}{
		"by an amount": {func(v float32) float32 { return v + 30 }, lightShift{factor: 1, amount: 30}},
		"by a factor":  {func(v float32) float32 { return v / 2 }, lightShift{factor: 0.5}},
		"not at all":   {func(v float32) float32 { return v }, lightShift{factor: 1}},
	} {
		got := measureLight(ramp(n, test.change), mean)
		require.InDelta(t, test.want.factor, got.factor, 0.01, name)
		require.InDelta(t, test.want.amount, got.amount, 0.3, name)
	}
	black := measureLight(make([]float32, n), mean)
	require.InDelta(t, 1, black.factor, 0, "a factor of nothing would lose the background")
	require.InDelta(t, -100, black.amount, 1)
}

// The background of a new scene is the mean of its first images; later it moves slowly.
func TestScene_LearnsFastAtFirst(t *testing.T) {
	t.Parallel()
	const n = 4
	all := func(value float32) []float32 {
		cells := make([]float32, n)
		for i := range cells {
			cells[i] = value
		}
		return cells
	}
	var s scene
	s.start(grid{cols: 2, rows: 2, cells: all(100)}, time.Now())
	s.learn(all(102), make([]bool, n), 0)
	require.InDelta(t, 101, s.mean[0], 0.001, "the mean of two images")
	s.learn(all(104), make([]bool, n), 0)
	require.InDelta(t, 102, s.mean[0], 0.001, "the mean of three images")
	s.frames = 10 * warmUp
	s.learn(all(112), make([]bool, n), 0)
	require.InDelta(t, 102.2, s.mean[0], 0.001, "a fiftieth of the way")
}

func TestParseReply_OddClasses(t *testing.T) {
	t.Parallel()
	reply := func(class string) error {
		_, err := parseReply([]byte(`{"detections":[{"class":"`+class+`","confidence":0.9,"bbox":[1,2,30,40]}]}`), image.Rect(0, 0, 320, 180))
		return err
	}
	require.NoError(t, reply(strings.Repeat("a", maxTypeLength)))
	require.ErrorContains(t, reply(strings.Repeat("a", maxTypeLength+1)), "odd class")
	require.ErrorContains(t, reply(`per\u0007son`), "odd class")
	require.ErrorContains(t, reply(` `), "no class")
}
