package store_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"hsi.home.arpa/store/storetest"
)

func TestCounts_Empty(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	counts, err := db.Counts(t.Context())
	require.NoError(t, err)
	require.Zero(t, counts)
	require.NoError(t, db.Ping(t.Context()))
}
