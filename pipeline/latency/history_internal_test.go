package latency

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func oneSample(d time.Duration) *histogram {
	var a accumulator
	a.observe(uint64(d))
	return a.histogram()
}

// TestHistory_EveryWindowEqualsAPlainMerge compares every window, block merges and ring included,
// with the samples that lie in it, while time goes on for two days, with gaps, late figures of
// others, and clock steps.
func TestHistory_EveryWindowEqualsAPlainMerge(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(3, 4))
	var h history
	type sample struct {
		minute int64
		value  time.Duration
	}
	var own []sample
	others := make(map[int64][]time.Duration)
	const start = int64(29_400_000)
	newest := start
	for step := range 600 {
		newest += int64(random.IntN(10))
		if step == 400 {
			newest -= 90 // the clock is set back
		}
		for range random.IntN(4) {
			s := sample{newest, time.Duration(random.Int64N(int64(time.Minute)))}
			own = append(own, s)
			h.observed(Detect, s.minute, oneSample(s.value))
		}
		if random.IntN(3) == 0 {
			late := newest - int64(random.IntN(200))
			others[late] = append(others[late], time.Duration(random.Int64N(int64(time.Hour))))
			var sum accumulator
			for _, d := range others[late] {
				sum.observe(uint64(d))
			}
			h.loaded(late, [stageCount]*histogram{Detect: sum.histogram()})
		}
		f := h.figures(newest)
		for _, window := range []int{1, 2, 31, 32, 33, 60, 64, 1 + random.IntN(MaxWindowMinutes), MaxWindowMinutes} {
			oldest := newest - int64(window)
			var want accumulator
			for _, s := range own {
				if s.minute >= oldest && s.minute <= newest {
					want.observe(uint64(s.value))
				}
			}
			for minute, values := range others {
				for _, d := range values {
					if minute >= oldest && minute <= newest {
						want.observe(uint64(d))
					}
				}
			}
			require.Equal(t, want.summary(), f.summary(Detect, window), "step %d, window %d", step, window)
		}
		require.Zero(t, f.summary(Watch, MaxWindowMinutes))
	}
	require.Greater(t, newest-start, int64(ringMinutes), "the ring has been through once")
}

func TestHistory_KeepsWhatRedisLost(t *testing.T) {
	t.Parallel()
	var h history
	const minute = int64(29_400_000)
	two := merge(oneSample(time.Second), oneSample(2*time.Second))
	h.loaded(minute, [stageCount]*histogram{Watch: two})
	h.loaded(minute, [stageCount]*histogram{})
	h.loaded(minute, [stageCount]*histogram{Watch: oneSample(time.Second)})
	require.EqualValues(t, 2, h.figures(minute).summary(Watch, 1).Count)
	h.loaded(minute, [stageCount]*histogram{Watch: merge(two, oneSample(3*time.Second))})
	require.EqualValues(t, 3, h.figures(minute).summary(Watch, 1).Count)
}

func TestHistory_SharesFiguresUntilSomethingChanges(t *testing.T) {
	t.Parallel()
	var h history
	const minute = int64(29_400_000)
	h.observed(Watch, minute, oneSample(time.Second))
	first := h.figures(minute)
	require.Same(t, first, h.figures(minute))
	h.observed(Detect, minute, oneSample(time.Second))
	second := h.figures(minute)
	require.NotSame(t, first, second)
	require.Same(t, first.minutes[Watch], second.minutes[Watch], "an unchanged stage is not copied")
	require.Zero(t, first.summary(Detect, 1).Count, "figures do not change once published")
	require.NotSame(t, second, h.figures(minute+1), "the window moves on")
}
