//go:build !race

package detect_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// The figures of the motion detector. It is arithmetic in one goroutine: the race detector would
// find nothing and takes a minute for it, so make test runs it in a second command without.
func TestMotion_PrecisionAndRecall(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var total tally
	var lines []string
	t.Run("scenes", func(t *testing.T) {
		t.Parallel()
		for name, l := range labelledScenes() {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				got := measure(t, l)
				require.LessOrEqual(t, got.invented, l.invented)
				require.LessOrEqual(t, got.missed, 1)
				mu.Lock()
				defer mu.Unlock()
				total.found += got.found
				total.missed += got.missed
				total.invented += got.invented
				lines = append(lines, fmt.Sprintf("%-24s found %3d missed %2d invented %2d", name, got.found, got.missed, got.invented))
			})
		}
	})
	t.Cleanup(func() {
		slices.Sort(lines)
		for _, line := range lines {
			t.Log(line)
		}
		t.Logf("motion detector: precision %.3f, recall %.3f", total.precision(), total.recall())
		require.GreaterOrEqual(t, total.precision(), 0.95)
		require.GreaterOrEqual(t, total.recall(), 0.90)
	})
}
