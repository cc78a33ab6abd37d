package store_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"hsi.home.arpa/store"
	"hsi.home.arpa/store/storetest"
)

// requireNoDrift compares the counters with full counts.
func requireNoDrift(t *testing.T, db *store.DB) store.Counts {
	t.Helper()
	counts, err := db.Counts(t.Context())
	require.NoError(t, err)
	rows := map[string]int64{}
	for _, c := range store.Counters() {
		rows[c.Name] = storetest.QueryOne[int64](t, db, `SELECT count(*) FROM `+c.Table+` WHERE `+c.Where)
		kept := storetest.QueryOne[int64](t, db, `SELECT coalesce(sum(row_count), 0)::bigint FROM counters WHERE table_name = $1`, c.Name)
		require.Equal(t, rows[c.Name], kept, c.Name)
	}
	read := reflect.ValueOf(counts)
	for i := range read.NumField() { // each is one of the counters, and the rows of a whole table
		name := read.Type().Field(i).Tag.Get("db")
		require.Contains(t, store.Counters(), store.Counter{Name: name, Table: name, Where: "true"})
		require.Equal(t, rows[name], read.Field(i).Int(), name)
	}
	depths, err := db.QueueDepths(t.Context())
	require.NoError(t, err)
	counted := storetest.QueryOne[store.QueueDepths](t, db, `
		SELECT i.n AS detection, i.oldest AS oldest_detection, b.n AS analysis, b.oldest AS oldest_analysis, now() AS read_at
		FROM (SELECT count(*) AS n, min(seen_at) AS oldest FROM images WHERE state IN ('seen', 'queued', 'detecting')) AS i,
		     (SELECT count(*) AS n, min(closed_at) AS oldest FROM batches WHERE state IN ('closed', 'queued', 'analyzing')) AS b`)
	require.Equal(t, [2]int64{counted.Detection, counted.Analysis}, [2]int64{depths.Detection, depths.Analysis})
	for _, oldest := range [][2]*time.Time{{counted.OldestDetection, depths.OldestDetection}, {counted.OldestAnalysis, depths.OldestAnalysis}} {
		if require.Equal(t, oldest[0] == nil, oldest[1] == nil); oldest[0] != nil {
			require.True(t, oldest[0].Equal(*oldest[1]))
		}
	}
	return counts
}

func TestCounts_NoDriftWhateverWriters(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	addCamera(t, db, "a", "b")
	statements := []string{
		`INSERT INTO detections (camera_id, file_path, detected_at) SELECT 'a', '/x', now() FROM generate_series(1, $1)`,
		`INSERT INTO gpu_stats (recorded_at) SELECT now() FROM generate_series(1, $1)`,
		`INSERT INTO logs (level, component, message) SELECT 'INFO', 'x', 'y' FROM generate_series(1, $1)`,
		`INSERT INTO events (camera_id, started_at) SELECT 'b', now() FROM generate_series(1, $1)`,
		`DELETE FROM detections WHERE id IN (SELECT id FROM detections ORDER BY random() LIMIT $1 FOR UPDATE SKIP LOCKED)`,
		`DELETE FROM gpu_stats WHERE id IN (SELECT id FROM gpu_stats ORDER BY random() LIMIT $1 FOR UPDATE SKIP LOCKED)`,
		`DELETE FROM logs WHERE id IN (SELECT id FROM logs ORDER BY random() LIMIT $1 FOR UPDATE SKIP LOCKED)`,
		`DELETE FROM events WHERE id IN (SELECT id FROM events ORDER BY random() LIMIT $1 FOR UPDATE SKIP LOCKED)`,
		`UPDATE detections SET object_type = 'cat' WHERE id IN (SELECT id FROM detections LIMIT $1)`,
		`INSERT INTO images (camera_id, file_path, size_bytes, mtime, state, reason)
		 SELECT 'a', gen_random_uuid()::text, 1, now(), (ARRAY['seen', 'queued', 'filtered'])[1 + floor(3 * random())::int], 'x' FROM generate_series(1, $1)`,
		`UPDATE images SET state = (ARRAY['seen', 'queued', 'filtered', 'analyzed'])[1 + floor(4 * random())::int]
		 WHERE id IN (SELECT id FROM images ORDER BY random() LIMIT $1 FOR UPDATE SKIP LOCKED)`,
		`DELETE FROM images WHERE id IN (SELECT id FROM images ORDER BY random() LIMIT $1 FOR UPDATE SKIP LOCKED)`,
		`INSERT INTO batches (camera_id, state, opened_at, last_at, closed_at)
		 SELECT 'b', (ARRAY['closed', 'analyzed'])[1 + floor(2 * random())::int], now(), now(), now() FROM generate_series(1, $1)`,
		`UPDATE batches SET state = (ARRAY['closed', 'queued', 'analyzed', 'dead_lettered'])[1 + floor(4 * random())::int]
		 WHERE id IN (SELECT id FROM batches ORDER BY random() LIMIT $1 FOR UPDATE SKIP LOCKED)`,
		`DELETE FROM batches WHERE id IN (SELECT id FROM batches ORDER BY random() LIMIT $1 FOR UPDATE SKIP LOCKED)`,
	}
	var group errgroup.Group
	for writer := range 8 {
		group.Go(func() error {
			random := rand.New(rand.NewPCG(1, uint64(writer)))
			for range 60 {
				tx, err := db.SQL().BeginTxx(t.Context(), nil)
				if err != nil {
					return err
				}
				failed := false
				for range 1 + random.IntN(2) {
					// A writer may meet a deadlock on the rows of UPDATE: it is undone, as it
					// should be.
					if _, err := tx.ExecContext(t.Context(), statements[random.IntN(len(statements))], random.IntN(20)); err != nil {
						failed = true
						break
					}
				}
				if failed || random.IntN(4) == 0 {
					err = tx.Rollback()
				} else {
					err = tx.Commit()
				}
				if err != nil {
					return err
				}
			}
			return nil
		})
	}
	require.NoError(t, group.Wait())
	requireNoDrift(t, db)
	storetest.Exec(t, db, statements[0], 3) // by chance none may be left
	counts := requireNoDrift(t, db)
	require.Positive(t, counts.Detections)

	storetest.Exec(t, db, `TRUNCATE detections, gpu_stats, images, batches`)
	counts = requireNoDrift(t, db)
	require.Zero(t, counts.Detections)
	storetest.Exec(t, db, `DELETE FROM cameras WHERE id = 'b'`) // takes its events along
	counts = requireNoDrift(t, db)
	require.Equal(t, int64(1), counts.Cameras)
	require.Zero(t, counts.Events)
}

func TestCounts_Copy(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	require.NoError(t, db.InTx(t.Context(), "copy", func(ctx context.Context, tx *sqlx.Tx) error {
		stmt, err := tx.PrepareContext(ctx, `COPY gpu_stats (recorded_at, gpu_name) FROM STDIN`)
		if err != nil {
			return err
		}
		for i := range 500 {
			if _, err := stmt.ExecContext(ctx, base(), fmt.Sprint("card ", i)); err != nil {
				return err
			}
		}
		if _, err := stmt.ExecContext(ctx); err != nil {
			return err
		}
		return stmt.Close() //nolint:sqlclosecheck // it ends the copy, and its error counts
	}))
	require.Equal(t, int64(500), requireNoDrift(t, db).GPUSamples)
}

func TestCounts_WritersDoNotWaitForEachOther(t *testing.T) {
	t.Parallel()
	db, err := store.Open(store.Config{URL: storetest.NewURL(t), Log: storetest.Logger(t), MaxOpenConns: 20})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	require.NoError(t, db.Migrate(t.Context()))
	// Of seventeen sessions two begin their search at the same slot.
	begun := make(map[int]*sqlx.Tx)
	for range 17 {
		tx, err := db.SQL().BeginTxx(t.Context(), nil)
		require.NoError(t, err)
		t.Cleanup(func() { _ = tx.Rollback() })
		var slot int
		require.NoError(t, tx.GetContext(t.Context(), &slot, `SELECT pg_backend_pid() % 16`))
		other := begun[slot]
		begun[slot] = tx
		if other == nil {
			continue
		}
		for _, writer := range []*sqlx.Tx{other, tx} {
			_, err = writer.ExecContext(t.Context(), `SET LOCAL lock_timeout = '1s'`)
			require.NoError(t, err)
			_, err = writer.ExecContext(t.Context(), `INSERT INTO gpu_stats (recorded_at) VALUES (now()), (now())`)
			require.NoError(t, err, "the second writer waited for the first")
		}
		require.NoError(t, tx.Commit())
		require.NoError(t, other.Commit())
		require.Equal(t, int64(4), requireNoDrift(t, db).GPUSamples)
		return
	}
	t.Fatal("no two sessions share a slot")
}
