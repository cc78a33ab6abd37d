package latency

import (
	"math"
	"time"
)

// histogram is what was measured in one stage during one minute, or during several minutes. It is
// immutable once made, holds only the buckets that have samples, and always has at least one
// sample: no samples is a nil histogram.
type histogram struct {
	count    uint64
	sumNanos float64 // exact while below 2^53 ns, which is 104 days of summed latency; a relative error of 1e-15 beyond
	minNanos uint64
	maxNanos uint64
	buckets  []bucket // rising index
}

type bucket struct {
	index uint16
	count uint32
}

// accumulator is a histogram in the making, with a slot for each bucket. The zero value is empty.
type accumulator struct {
	count    uint64
	sumNanos float64
	minNanos uint64
	maxNanos uint64
	lowest   int // bucket range in use while count > 0
	highest  int
	buckets  [bucketCount]uint64
}

// observe adds one sample.
func (a *accumulator) observe(nanos uint64) {
	a.buckets[bucketOf(nanos)]++
	a.widen(1, float64(nanos), nanos, nanos)
}

// add merges h, which may be nil.
func (a *accumulator) add(h *histogram) {
	if h == nil {
		return
	}
	for _, b := range h.buckets {
		a.buckets[b.index] += uint64(b.count)
	}
	a.widen(h.count, h.sumNanos, h.minNanos, h.maxNanos)
}

func (a *accumulator) widen(count uint64, sumNanos float64, minNanos, maxNanos uint64) {
	if a.count == 0 {
		a.minNanos, a.maxNanos = minNanos, maxNanos
		a.lowest, a.highest = bucketOf(minNanos), bucketOf(maxNanos)
	} else {
		if minNanos < a.minNanos {
			a.minNanos, a.lowest = minNanos, bucketOf(minNanos)
		}
		if maxNanos > a.maxNanos {
			a.maxNanos, a.highest = maxNanos, bucketOf(maxNanos)
		}
	}
	a.count += count
	a.sumNanos += sumNanos
}

// reset empties the accumulator and touches only the buckets that were in use.
func (a *accumulator) reset() {
	if a.count > 0 {
		clear(a.buckets[a.lowest : a.highest+1])
	}
	a.count, a.sumNanos, a.minNanos, a.maxNanos = 0, 0, 0, 0
}

// histogram returns a compact copy, nil when there are no samples.
func (a *accumulator) histogram() *histogram {
	if a.count == 0 {
		return nil
	}
	used := 0
	for _, n := range a.buckets[a.lowest : a.highest+1] {
		if n > 0 {
			used++
		}
	}
	h := &histogram{
		count: a.count, sumNanos: a.sumNanos, minNanos: a.minNanos, maxNanos: a.maxNanos,
		buckets: make([]bucket, 0, used),
	}
	for i := a.lowest; i <= a.highest; i++ {
		if n := a.buckets[i]; n > 0 {
			h.buckets = append(h.buckets, bucket{index: uint16(i), count: uint32(min(n, math.MaxUint32))}) //nolint:gosec // both bounded
		}
	}
	return h
}

// merge adds up two histograms, each of which may be nil.
func merge(a, b *histogram) *histogram {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	}
	sum := &histogram{
		count:    a.count + b.count,
		sumNanos: a.sumNanos + b.sumNanos,
		minNanos: min(a.minNanos, b.minNanos),
		maxNanos: max(a.maxNanos, b.maxNanos),
		buckets:  make([]bucket, 0, max(len(a.buckets), len(b.buckets))),
	}
	i, j := 0, 0
	for i < len(a.buckets) && j < len(b.buckets) {
		x, y := a.buckets[i], b.buckets[j]
		switch {
		case x.index < y.index:
			sum.buckets = append(sum.buckets, x)
			i++
		case x.index > y.index:
			sum.buckets = append(sum.buckets, y)
			j++
		default:
			sum.buckets = append(sum.buckets, bucket{index: x.index, count: x.count + y.count})
			i, j = i+1, j+1
		}
	}
	sum.buckets = append(sum.buckets, a.buckets[i:]...)
	sum.buckets = append(sum.buckets, b.buckets[j:]...)
	return sum
}

// Summary describes the samples of one stage in a window. All durations are 0 when Count is 0 and
// mean nothing then.
type Summary struct {
	// Count, Avg, Min and Max are exact.
	Count         int64
	Avg, Min, Max time.Duration
	// P50, P95 and P99 are within 1 % of the sample at that rank (the smallest sample that at least
	// so many percent of all samples do not exceed) and never outside Min and Max.
	P50, P95, P99 time.Duration
}

func (a *accumulator) summary() Summary {
	if a.count == 0 {
		return Summary{}
	}
	return Summary{
		Count: int64(a.count), //nolint:gosec // counts stay far below 2^63
		Avg:   time.Duration(math.Round(a.sumNanos / float64(a.count))),
		Min:   time.Duration(a.minNanos), //nolint:gosec // came from a time.Duration
		Max:   time.Duration(a.maxNanos), //nolint:gosec // came from a time.Duration
		P50:   a.percentile(50),
		P95:   a.percentile(95),
		P99:   a.percentile(99),
	}
}

// percentile returns the sample of rank ceil(count * percent / 100), within the width of its
// bucket.
func (a *accumulator) percentile(percent uint64) time.Duration {
	rank := (a.count*percent + 99) / 100
	if rank >= a.count {
		return time.Duration(a.maxNanos) //nolint:gosec // came from a time.Duration
	}
	var seen uint64
	for i := a.lowest; i <= a.highest; i++ {
		seen += a.buckets[i]
		if seen >= rank {
			return time.Duration(min(max(bucketMiddle(i), a.minNanos), a.maxNanos)) //nolint:gosec // clamped to durations
		}
	}
	return time.Duration(a.maxNanos) //nolint:gosec // came from a time.Duration
}
