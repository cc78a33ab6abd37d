package store_test

import (
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"hsi.home.arpa/store/storetest"
)

// Whoever changes the samples, and in whatever way, changes the revision; what is rolled back does
// not.
func TestGPUSamplesRevision_ChangesWithTheRows(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	seen := map[string]string{}
	look := func() string {
		revision, err := db.GPUSamplesRevision(t.Context())
		require.NoError(t, err)
		return revision
	}
	seen[look()] = "start"
	for _, statement := range []string{
		`INSERT INTO gpu_stats (recorded_at, gpu_name) VALUES ('2026-01-01 00:00:00Z', 'one')`,
		`INSERT INTO gpu_stats (recorded_at) SELECT now() FROM generate_series(1, 100)`,
		`UPDATE gpu_stats SET gpu_name = 'two' WHERE gpu_name = 'one'`,
		`DELETE FROM gpu_stats WHERE gpu_name = 'two'`,
		`INSERT INTO gpu_stats (recorded_at, gpu_name) VALUES ('2026-01-01 00:00:00Z', 'one')`, // as many rows as before
		`WITH gone AS (DELETE FROM gpu_stats WHERE gpu_name = 'one' RETURNING id) INSERT INTO gpu_stats (recorded_at) SELECT now() FROM gone`,
		`TRUNCATE gpu_stats`,
		`INSERT INTO gpu_stats (recorded_at) VALUES (now())`,
	} {
		storetest.Exec(t, db, statement)
		revision := look()
		require.Empty(t, seen[revision], "%s: the same as after", statement)
		seen[revision] = statement
	}
	before := look()
	storetest.Exec(t, db, `INSERT INTO gpu_stats (recorded_at) SELECT now() WHERE false`)
	storetest.Exec(t, db, `UPDATE gpu_stats SET gpu_name = 'x' WHERE false`)
	storetest.Exec(t, db, `INSERT INTO logs (level, component, message) VALUES ('INFO', 'x', 'y')`)
	require.Equal(t, before, look(), "nothing has changed")
}

// Rows read after a revision are never older than it: a reader that keeps rows by revision sees
// each committed row at once.
func TestGPUSamplesRevision_IsNeverAheadOfTheRows(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	const writers, rows = 4, 50
	var group sync.WaitGroup
	kept := map[string]int{}
	var mu sync.Mutex // guards kept
	read := func() int {
		revision, err := db.GPUSamplesRevision(t.Context())
		if err != nil {
			t.Error(err)
			return 0
		}
		mu.Lock()
		count, found := kept[revision]
		mu.Unlock()
		if found {
			return count
		}
		samples, err := db.ListGPUSamples(t.Context(), nil, 5000)
		if err != nil {
			t.Error(err)
		}
		mu.Lock()
		kept[revision] = len(samples)
		mu.Unlock()
		return len(samples)
	}
	for range writers {
		group.Go(func() {
			for own := 1; own <= rows; own++ {
				storetest.Exec(t, db, `INSERT INTO gpu_stats (recorded_at) VALUES (now())`)
				if got := read(); got < own {
					t.Errorf("%d rows were committed by this writer alone, %d are shown", own, got)
				}
			}
		})
	}
	group.Wait()
	require.Equal(t, writers*rows, read())
}
