package latency

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestBuckets_CoverEveryDurationWithinOnePercent(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	last := 0
	check := func(nanos uint64) {
		middle := bucketMiddle(bucketOf(nanos))
		require.InEpsilon(t, float64(nanos)+1e-9, float64(middle)+1e-9, 0.01, "value %d", nanos)
	}
	for nanos := range uint64(100_000) {
		check(nanos)
		index := bucketOf(nanos)
		require.Contains(t, []int{last, last + 1}, index, "buckets have no gap at %d", nanos)
		last = index
	}
	for range 100_000 {
		check(random.Uint64N(math.MaxInt64) >> random.UintN(63))
	}
	check(math.MaxInt64)
	require.Equal(t, bucketCount-1, bucketOf(math.MaxInt64))
}

// distributions are what the percentiles are checked with.
func distributions() map[string]func(*rand.Rand) time.Duration {
	return map[string]func(*rand.Rand) time.Duration{
		"log-normal": func(r *rand.Rand) time.Duration {
			return time.Duration(math.Exp(r.NormFloat64()*1.5 + math.Log(2e8)))
		},
		"bimodal": func(r *rand.Rand) time.Duration {
			if r.Float64() < 0.6 {
				return time.Duration(5e6 + r.Float64()*1e6)
			}
			return time.Duration(8e9 + r.Float64()*4e9)
		},
		"constant": func(*rand.Rand) time.Duration { return 1234567 * time.Nanosecond },
		"tiny":     func(r *rand.Rand) time.Duration { return time.Duration(r.IntN(3)) },
		"long":     func(r *rand.Rand) time.Duration { return time.Duration(r.Int64N(int64(30 * 24 * time.Hour))) },
	}
}

// requireExact compares a summary with the samples themselves.
func requireExact(t *testing.T, samples []time.Duration, got Summary) {
	t.Helper()
	sorted := slices.Sorted(slices.Values(samples))
	var sum float64
	for _, d := range sorted {
		sum += float64(d)
	}
	require.EqualValues(t, len(sorted), got.Count)
	require.Equal(t, sorted[0], got.Min)
	require.Equal(t, sorted[len(sorted)-1], got.Max)
	mean := sum / float64(len(sorted))
	require.InDelta(t, mean, float64(got.Avg), 1+1e-14*mean)
	for percent, value := range map[int]time.Duration{50: got.P50, 95: got.P95, 99: got.P99} {
		rank := (len(sorted)*percent + 99) / 100
		exact := sorted[rank-1]
		require.InDelta(t, float64(exact), float64(value), 0.01*float64(exact), "p%d", percent)
		require.GreaterOrEqual(t, value, got.Min)
		require.LessOrEqual(t, value, got.Max)
	}
}

func TestHistogram_SummaryIsWithinOnePercentOfSortedSamples(t *testing.T) {
	t.Parallel()
	for name, next := range distributions() {
		for _, count := range []int{1, 2, 3, 10, 99, 100, 101, 10_000} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				random := rand.New(rand.NewPCG(uint64(count), 7))
				var whole accumulator
				var parts *histogram
				samples := make([]time.Duration, 0, count)
				for len(samples) < count {
					var part accumulator
					for range min(1+random.IntN(50), count-len(samples)) {
						d := next(random)
						samples = append(samples, d)
						whole.observe(uint64(d))
						part.observe(uint64(d))
					}
					stored, err := decode(encode(part.histogram()))
					require.NoError(t, err)
					parts = merge(parts, stored)
				}
				requireExact(t, samples, whole.summary())

				var merged accumulator
				merged.add(parts)
				require.Equal(t, whole.summary(), merged.summary(), "in one piece and merged from stored parts")
				merged.reset()
				require.Equal(t, accumulator{lowest: merged.lowest, highest: merged.highest}, merged)
			})
		}
	}
}

func TestHistogram_MergeOfNothing(t *testing.T) {
	t.Parallel()
	require.Nil(t, merge(nil, nil))
	var a accumulator
	require.Nil(t, a.histogram())
	a.observe(5)
	h := a.histogram()
	require.Same(t, h, merge(nil, h))
	require.Same(t, h, merge(h, nil))
	require.Zero(t, (&accumulator{}).summary())
}

func FuzzDecode(f *testing.F) {
	var a accumulator
	f.Add([]byte{})
	for _, nanos := range []uint64{0, 1, 63, 64, 1e6, 1e6, 1e9, math.MaxInt64} {
		a.observe(nanos)
		f.Add(encode(a.histogram()))
	}
	f.Add(append(encode(a.histogram()), 0))
	f.Fuzz(func(t *testing.T, in []byte) {
		h, err := decode(in)
		if err != nil {
			require.ErrorIs(t, err, errEncoding)
			return
		}
		var sum accumulator
		sum.add(h)
		got := sum.summary()
		require.Positive(t, got.Count)
		require.LessOrEqual(t, got.Min, got.P50)
		require.LessOrEqual(t, got.P50, got.P95)
		require.LessOrEqual(t, got.P95, got.P99)
		require.LessOrEqual(t, got.P99, got.Max)
		again, err := decode(encode(h))
		require.NoError(t, err)
		require.Equal(t, h, again)
	})
}
