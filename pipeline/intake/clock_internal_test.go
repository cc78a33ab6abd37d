package intake

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestDatabaseClock(t *testing.T) {
	t.Parallel()
	c := &clock{at: time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)}
	ahead, takes, reads := time.Hour, 3*time.Millisecond, 0
	var broken error
	d := databaseClock{now: c.now, read: func(context.Context) (time.Time, error) {
		reads++
		theirs := c.at.Add(ahead)
		c.at = c.at.Add(takes)
		takes = (takes + 1_700_000) % (5 * time.Millisecond) // each answer takes another time
		return theirs, broken
	}}
	at := func(seen time.Time) time.Time {
		t.Helper()
		theirs, err := d.at(t.Context(), seen)
		require.NoError(t, err)
		require.False(t, theirs.After(seen.Add(ahead)), "never later than it was")
		require.WithinDuration(t, seen.Add(ahead), theirs, 5*time.Millisecond)
		return theirs
	}
	first := c.at
	answer := at(first)
	require.Equal(t, clockReadings, reads)
	require.Equal(t, answer.Add(time.Second), at(first.Add(time.Second)), "distances are kept")
	require.Equal(t, clockReadings, reads, "no question for each file")

	c.at = c.at.Add(2 * time.Minute)
	at(c.at)
	require.Equal(t, 2*clockReadings, reads)
	ahead = -time.Hour // one of the clocks is set
	c.at = c.at.Add(2 * time.Minute)
	at(c.at)

	c.at, broken = c.at.Add(2*time.Minute), errors.New("away")
	_, err := d.at(t.Context(), c.at)
	require.ErrorIs(t, err, broken)
}
