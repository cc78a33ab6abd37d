package store_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"hsi.home.arpa/store"
	"hsi.home.arpa/store/storetest"
)

func TestAdopt(t *testing.T) {
	t.Parallel()
	open := func(t *testing.T, url string) *store.DB {
		t.Helper()
		db, err := store.Open(store.Config{URL: url, Log: storetest.Logger(t)})
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, db.Close()) })
		return db
	}
	t.Run("OK", func(t *testing.T) {
		t.Parallel()
		db := open(t, storetest.NewURL(t))
		_, err := db.LatestEvents(t.Context(), 1)
		require.ErrorIs(t, err, store.ErrUnavailable, "not adopted yet")
		require.NoError(t, db.Adopt(t.Context()))
		_, err = db.LatestEvents(t.Context(), 1)
		require.NoError(t, err)
	})
	t.Run("touches nothing in an empty database", func(t *testing.T) {
		t.Parallel()
		url := storetest.NewEmptyURL(t)
		db := open(t, url)
		require.ErrorIs(t, db.Adopt(t.Context()), store.ErrUnavailable)
		require.NoError(t, db.SQL().GetContext(t.Context(), new(int), `SELECT 1 WHERE NOT EXISTS (SELECT FROM pg_tables WHERE schemaname = 'public')`))
	})
	t.Run("ErrNewerDatabase", func(t *testing.T) {
		t.Parallel()
		url := storetest.NewURL(t)
		db := open(t, url)
		_, err := db.SQL().ExecContext(t.Context(), `INSERT INTO hsi_schema_version (version_id, is_applied) VALUES (999, true)`)
		require.NoError(t, err)
		require.ErrorIs(t, db.Adopt(t.Context()), store.ErrNewerDatabase)
	})
}
