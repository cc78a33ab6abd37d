package latency

import (
	"encoding/binary"
	"errors"
	"math"
)

// encodingVersion is the first byte of every encoded histogram. A reader skips versions that it
// does not know.
const encodingVersion = 1

var errEncoding = errors.New("not an encoded latency histogram")

// encode writes h as one byte of version, the sum (float64, big endian), and then as varints:
// minimum, maximum, number of buckets and for each bucket its distance from the one before and its
// count. The count of samples is the sum of the buckets.
func encode(h *histogram) []byte {
	out := make([]byte, 0, 32+4*len(h.buckets))
	out = append(out, encodingVersion)
	out = binary.BigEndian.AppendUint64(out, math.Float64bits(h.sumNanos))
	out = binary.AppendUvarint(out, h.minNanos)
	out = binary.AppendUvarint(out, h.maxNanos)
	out = binary.AppendUvarint(out, uint64(len(h.buckets)))
	before := uint16(0)
	for _, b := range h.buckets {
		out = binary.AppendUvarint(out, uint64(b.index-before))
		out = binary.AppendUvarint(out, uint64(b.count))
		before = b.index
	}
	return out
}

// decode reads what encode wrote. Anything else is errEncoding, so that a damaged value cannot
// bring figures that nobody measured.
func decode(in []byte) (*histogram, error) {
	if len(in) < 9 || in[0] != encodingVersion {
		return nil, errEncoding
	}
	h := &histogram{sumNanos: math.Float64frombits(binary.BigEndian.Uint64(in[1:9]))}
	r := varints{rest: in[9:]}
	h.minNanos, h.maxNanos = r.next(math.MaxInt64), r.next(math.MaxInt64)
	used := r.next(bucketCount)
	if r.failed || used == 0 || used > uint64(len(r.rest)) {
		return nil, errEncoding
	}
	h.buckets = make([]bucket, 0, used)
	index := uint64(0)
	for i := range used {
		step, count := r.next(bucketCount), r.next(math.MaxUint32)
		index += step
		if r.failed || index >= bucketCount || count == 0 || (i > 0 && step == 0) {
			return nil, errEncoding
		}
		h.buckets = append(h.buckets, bucket{index: uint16(index), count: uint32(count)}) //nolint:gosec // both bounded above
		h.count += count
	}
	if len(r.rest) > 0 || !h.consistent() {
		return nil, errEncoding
	}
	return h, nil
}

// consistent tells whether minimum, maximum and sum can belong to the buckets.
func (h *histogram) consistent() bool {
	first, last := h.buckets[0], h.buckets[len(h.buckets)-1]
	n := float64(h.count)
	const rounding = 1e-9
	return h.minNanos <= h.maxNanos &&
		bucketOf(h.minNanos) == int(first.index) && bucketOf(h.maxNanos) == int(last.index) &&
		h.sumNanos >= n*float64(h.minNanos)*(1-rounding) && h.sumNanos <= n*float64(h.maxNanos)*(1+rounding)
}

// varints reads unsigned varints one after the other and remembers whether one was missing or above
// its limit.
type varints struct {
	rest   []byte
	failed bool
}

func (r *varints) next(limit uint64) uint64 {
	value, size := binary.Uvarint(r.rest)
	if size <= 0 || value > limit {
		r.failed = true
		return 0
	}
	r.rest = r.rest[size:]
	return value
}
