package latency

import (
	"encoding/binary"
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

// raw writes the encoding with whatever figures, also ones that cannot be.
func raw(version byte, sum float64, rest ...uint64) []byte {
	out := binary.BigEndian.AppendUint64([]byte{version}, math.Float64bits(sum))
	for _, value := range rest {
		out = binary.AppendUvarint(out, value)
	}
	return out
}

func TestDecode_WhatEncodeWrote(t *testing.T) {
	t.Parallel()
	for name, samples := range map[string][]uint64{
		"one":        {0},
		"several":    {5, 5, 70, 1_000_000, 1_000_000_000},
		"largest":    {math.MaxInt64},
		"neighbours": {10, 11, 12},
	} {
		var a accumulator
		for _, nanos := range samples {
			a.observe(nanos)
		}
		encoded := encode(a.histogram())
		decoded, err := decode(encoded)
		require.NoError(t, err, name)
		require.Equal(t, a.histogram(), decoded, name)
		for length := range encoded {
			_, err := decode(encoded[:length])
			require.ErrorIs(t, err, errEncoding, "%s cut to %d bytes", name, length)
		}
		_, err = decode(append(encoded, 0))
		require.ErrorIs(t, err, errEncoding, name)
	}
}

// A damaged value must not bring figures that nobody measured. The sound one is two samples: 10 ns
// and 20 ns.
func TestDecode_RefusesWhatCannotBe(t *testing.T) {
	t.Parallel()
	sound := raw(encodingVersion, 30, 10, 20, 2, 10, 1, 10, 1)
	_, err := decode(sound)
	require.NoError(t, err)
	_, err = decode(raw(encodingVersion, 20, 10, 10, 1, 10, 2))
	require.NoError(t, err, "two equal samples")
	for name, damaged := range map[string][]byte{
		"another version":          raw(encodingVersion+1, 30, 10, 20, 2, 10, 1, 10, 1),
		"no buckets":               raw(encodingVersion, 30, 10, 20, 0),
		"more buckets than bytes":  raw(encodingVersion, 30, 10, 20, 5, 10, 1, 10, 1),
		"more buckets than exist":  raw(encodingVersion, 30, 10, 20, bucketCount+1, 10, 1, 10, 1),
		"a bucket twice":           raw(encodingVersion, 30, 10, 10, 2, 10, 1, 0, 1),
		"an empty bucket":          raw(encodingVersion, 30, 10, 20, 3, 10, 1, 5, 0, 5, 1),
		"an empty first bucket":    raw(encodingVersion, 30, 10, 20, 2, 10, 0, 10, 1),
		"a bucket that is not":     raw(encodingVersion, 30, 10, math.MaxInt64, 2, 10, 1, bucketCount-10, 1),
		"too many in a bucket":     raw(encodingVersion, 30, 10, 20, 2, 10, math.MaxUint32+1, 10, 1),
		"longest above a duration": raw(encodingVersion, 30, 10, math.MaxInt64+1, 2, 10, 1, 10, 1),
		"shortest not the first":   raw(encodingVersion, 30, 11, 20, 2, 10, 1, 10, 1),
		"longest not the last":     raw(encodingVersion, 30, 10, 19, 2, 10, 1, 10, 1),
		"sum below the shortest":   raw(encodingVersion, 19.9, 10, 20, 2, 10, 1, 10, 1),
		"sum above the longest":    raw(encodingVersion, 40.1, 10, 20, 2, 10, 1, 10, 1),
		"sum is not a number":      raw(encodingVersion, math.NaN(), 10, 20, 2, 10, 1, 10, 1),
		"shortest above longest":   raw(encodingVersion, 2*201, 201, 200, 1, uint64(bucketOf(200)), 2),
	} {
		_, err := decode(damaged)
		require.ErrorIs(t, err, errEncoding, name)
	}
	require.Equal(t, bucketOf(200), bucketOf(201), "else the last one shows nothing")
}
