package store_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"hsi.home.arpa/store/storetest"
)

func TestClock(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	before := storetest.QueryOne[time.Time](t, db, `SELECT clock_timestamp()`)
	now, err := db.Clock(t.Context())
	require.NoError(t, err)
	after := storetest.QueryOne[time.Time](t, db, `SELECT clock_timestamp()`)
	require.False(t, now.Before(before))
	require.False(t, now.After(after))
}
