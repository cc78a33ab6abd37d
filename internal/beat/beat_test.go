package beat_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"hsi.home.arpa/internal/beat"
)

func TestUntil(t *testing.T) {
	t.Parallel()
	second := time.Date(2026, 3, 1, 12, 0, 7, 0, time.UTC)
	for _, test := range []struct {
		after, interval, want time.Duration
	}{
		{0, time.Second, time.Second}, // not at once again
		{1, time.Second, time.Second - 1},
		{300 * time.Millisecond, time.Second, 700 * time.Millisecond},
		{300 * time.Millisecond, 500 * time.Millisecond, 200 * time.Millisecond},
		{500 * time.Millisecond, 500 * time.Millisecond, 500 * time.Millisecond},
		{999 * time.Millisecond, 5 * time.Millisecond, time.Millisecond},
	} {
		for _, zone := range []*time.Location{time.UTC, time.FixedZone("half", 1800)} {
			require.Equal(t, test.want, beat.Until(second.Add(test.after).In(zone), test.interval), "%v", test)
		}
	}
}
