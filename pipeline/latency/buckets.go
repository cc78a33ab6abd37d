package latency

import "math/bits"

// The buckets are those of a floating point number with six bits of mantissa: each doubling of the
// value is cut into 64 buckets of the same width. A bucket is therefore at most 1/64 of its lower
// bound wide, its middle is at most 0.8 % away from any value in it, and below 128 ns each value
// has a bucket of its own. Finding a bucket takes two integer instructions, merging is adding.
//
// Alternatives looked at: HdrHistogram has the same buckets, but as one dense array of the whole
// range; eight stages for 1,440 minutes would take hundreds of megabytes. DDSketch (sketches-go)
// keeps neither exact minimum nor sum with its buckets unless wrapped, computes logarithms, and
// brings protocol buffers. Both would still need everything else in this package.
const (
	mantissaBits = 6
	perDoubling  = 1 << mantissaBits
	bucketCount  = (63-mantissaBits)*perDoubling + perDoubling // values up to 2^63-1 ns, 292 years
)

// bucketOf returns the bucket of a value in nanoseconds.
func bucketOf(nanos uint64) int {
	if nanos < perDoubling {
		return int(nanos)
	}
	shift := bits.Len64(nanos) - 1 - mantissaBits
	return shift*perDoubling + int(nanos>>shift) //nolint:gosec // nanos>>shift is below 128
}

// bucketMiddle returns the value in the middle of a bucket, in nanoseconds.
func bucketMiddle(bucket int) uint64 {
	if bucket < 2*perDoubling {
		return uint64(bucket) //nolint:gosec // never negative
	}
	shift := bucket/perDoubling - 1
	low := uint64(bucket-shift*perDoubling) << shift //nolint:gosec // never negative
	return low + (uint64(1)<<shift-1)/2
}
