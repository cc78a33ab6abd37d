//go:build linux && cgo

package gpu

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestNVMLSource_StaysOpenBetweenReadings(t *testing.T) {
	t.Parallel()
	c := newCard()
	s := newNVMLSource(c.api)
	for range 3 {
		_, err := s.Read(t.Context())
		require.NoError(t, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := s.Read(ctx)
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, 1, c.calls[callInit])
	require.Zero(t, c.calls[callShutdown], "that nobody waits is no fault of the card")
	require.NoError(t, s.Close())
	require.Empty(t, c.wrongs())
}

func TestWithin(t *testing.T) {
	t.Parallel()
	for _, value := range []float64{0, 50, 100} {
		require.Equal(t, value, *within(value, 0, 100)) //nolint:testifylint // the same number, not one near it
	}
	require.Nil(t, within(-0.5, 0, 100))
	require.Nil(t, within(100.5, 0, 100))
}

func TestMebibytes_MostThatACardCanHave(t *testing.T) {
	t.Parallel()
	used, total := mebibytes(1<<50, 1<<50)
	require.EqualValues(t, 1<<30, *used)
	require.EqualValues(t, 1<<30, *total)
	used, total = mebibytes(1, 1<<50+1)
	require.Nil(t, used)
	require.Nil(t, total)
}
