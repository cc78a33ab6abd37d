//go:build linux && cgo

package gpu

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// BenchmarkRead is what reading one sample costs us, with a driver library that answers at once. A
// real driver takes its own time on top.
func BenchmarkRead(b *testing.B) {
	s := newNVMLSource(newCard().api)
	b.ReportAllocs()
	for b.Loop() {
		_, err := s.Read(b.Context())
		require.NoError(b, err)
	}
	require.NoError(b, s.Close())
}
