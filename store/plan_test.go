package store_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
	"github.com/stretchr/testify/require"

	"hsi.home.arpa/internal/nightly"
	"hsi.home.arpa/store"
	"hsi.home.arpa/store/storetest"
)

// plan explains a query as the server would run it on much data.
func plan(t *testing.T, db *store.DB, query string, args ...any) string {
	t.Helper()
	conn, err := db.SQL().Connx(t.Context())
	require.NoError(t, err)
	defer func() { require.NoError(t, conn.Close()) }()
	var lines []string
	require.NoError(t, sqlx.SelectContext(t.Context(), conn, &lines, `EXPLAIN (ANALYZE, BUFFERS, COSTS OFF, TIMING OFF) `+query, args...))
	return strings.Join(lines, "\n")
}

// What a request reads must not grow with the tables: on many rows each query goes through its
// index.
func TestPlans_OnManyRows(t *testing.T) {
	t.Parallel()
	db, rows := storetest.New(t), nightly.Pick(20_000, 50_000)
	addCamera(t, db, "a", "b", "c")
	storetest.Exec(t, db, `
		INSERT INTO gpu_stats (recorded_at) SELECT now() - n * interval '5 seconds' FROM generate_series(1, $1) AS n`, rows)
	storetest.Exec(t, db, `
		INSERT INTO images (camera_id, file_path, size_bytes, mtime, state, reason)
		SELECT 'a', '/old/' || n, 1, now(), 'filtered', 'history' FROM generate_series(1, $1) AS n`, rows)
	storetest.Exec(t, db, `
		INSERT INTO images (camera_id, file_path, size_bytes, mtime, seen_at)
		SELECT 'b', '/new/' || n, 1, now(), now() - n * interval '1 second' FROM generate_series(1, $1) AS n`, rows)
	storetest.Exec(t, db, `
		INSERT INTO images (camera_id, file_path, size_bytes, mtime, sha256, state, reason)
		SELECT 'c', '/same/' || n, 1, now(), CASE WHEN n % 100 = 0 THEN $1 ELSE lpad(n::text, 64, '0') END, 'filtered', 'duplicate'
		FROM generate_series(1, $2) AS n`, hash("x"), rows)
	storetest.Exec(t, db, `
		INSERT INTO batches (camera_id, state, opened_at, last_at, closed_at)
		SELECT 'a', 'analyzed', now(), now(), now() FROM generate_series(1, $1)`, rows)
	storetest.Exec(t, db, `ANALYZE`)

	identities := make(pq.StringArray, 2000)
	for n := range identities {
		identities[n] = store.Identity(store.ImageKey{CameraID: "a", FilePath: fmt.Sprint("/old/", n)})
	}
	for name, test := range map[string]struct {
		query string
		args  []any
		index string
	}{
		"newest sample":  {store.ListGPUSamplesQuery, []any{"0001-01-01", 1}, "gpu_stats_recorded_at_idx"},
		"5000 samples":   {store.ListGPUSamplesQuery, []any{"0001-01-01", 5000}, "gpu_stats_recorded_at_idx"},
		"waiting images": {store.WaitingImagesQuery, []any{100, 34, 60.0}, "images_fresh_idx"},
		"queue depths":   {store.QueueDepthsQuery, nil, "images_undetected_idx"},
		"heir":           {store.HeirQuery, []any{1, "c", hash("x")}, "images_duplicate_idx"},
		"same content":   {store.SameContentQuery, []any{"c", hash("x"), "/same/100"}, "images_dedupe_idx"},
		"known images":   {store.CountKnownQuery, []any{identities}, "images_identity_key"},
		"which images":   {store.ListKnownQuery, []any{identities}, "images_identity_key"},
		"open batches":   {`SELECT id FROM batches WHERE closed_at IS NULL`, nil, "batches_open_camera_id_key"},
		"waiting batches": {
			`SELECT id, camera_id, closed_at FROM batches WHERE state IN ('closed', 'queued', 'analyzing') AND ` + store.BatchWaits +
				` ORDER BY closed_at, id LIMIT $1`, []any{10, 60.0}, "batches_waiting_idx",
		},
	} {
		got := plan(t, db, test.query, test.args...)
		require.Contains(t, got, test.index, name)
		require.NotContains(t, got, "Seq Scan on images", name)
		require.NotContains(t, got, "Seq Scan on batches", name)
		require.NotContains(t, got, "Seq Scan on gpu_stats", name)
		require.NotContains(t, got, "external merge", name)
		for line := range strings.SplitSeq(got, "\n") {
			if strings.Contains(line, "Sort Method") {
				require.Contains(t, line, "kB", name)
			}
			require.NotContains(t, line, fmt.Sprint("rows=", rows), "%s reads the whole backlog:\n%s", name, got)
		}
	}
}

// A page of dead letters costs the same however many there are, and whichever cause is asked for.
func TestPlans_DeadLetters(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	addCamera(t, db, "a")
	storetest.Exec(t, db, `
		INSERT INTO images (camera_id, file_path, size_bytes, mtime, state, reason)
		SELECT 'a', '/' || n, 1, now(), CASE WHEN n % 2 = 0 THEN 'dead_lettered' ELSE 'filtered' END,
		       CASE WHEN n % 1000 = 0 THEN 'rare' ELSE 'common' END
		FROM generate_series(1, 60000) AS n`)
	storetest.Exec(t, db, `ANALYZE`)
	for name, test := range map[string]struct {
		selection store.DeadLetterSelection
		after     int64
		rows      string
	}{
		"first page":             {store.DeadLetterSelection{}, 0, "rows=100 "},
		"late page":              {store.DeadLetterSelection{}, 59_000, "rows=100 "},
		"first of a rare cause":  {store.DeadLetterSelection{Cause: "rare"}, 0, "rows=60 "},
		"late of a common cause": {store.DeadLetterSelection{Cause: "common"}, 59_000, "rows=100 "},
		"by id":                  {store.DeadLetterSelection{ImageIDs: []int64{2, 4, 5}}, 0, "rows=2 "},
	} {
		query, args := store.DeadLettersQuery(test.selection, test.after, 100)
		got := plan(t, db, query, args...)
		require.Contains(t, got, "(actual "+test.rows, name)
		require.NotContains(t, got, "Seq Scan on images", name)
		require.NotRegexp(t, `rows=[0-9]{4}|by Filter: [0-9]{3}`, got, "%s reads more than its page", name)
	}
}
