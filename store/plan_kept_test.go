package store_test

import (
	"fmt"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/lib/pq"
	"github.com/stretchr/testify/require"

	"hsi.home.arpa/store"
	"hsi.home.arpa/store/storetest"
)

// openKeepingPlans opens a database with one connection that keeps the first plan of each
// statement.
func openKeepingPlans(t *testing.T) *store.DB {
	t.Helper()
	u := parse(t, storetest.NewURL(t))
	u.RawQuery += "&" + url.Values{"plan_cache_mode": {"force_generic_plan"}}.Encode()
	db, err := store.Open(store.Config{URL: u.String(), Log: storetest.Logger(t), MaxOpenConns: 1})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	require.NoError(t, db.Migrate(t.Context()))
	return db
}

// rowsOfPlan finds how many rows a step of a plan has read and how many of those it threw away.
var rowsOfPlan = regexp.MustCompile(`(?:actual rows=|Removed by Filter: )([0-9]+)`)

// mostRowsRead runs the kept plan of the statement with this text once more and returns the highest
// number of rows that one step read.
func mostRowsRead(t *testing.T, db *store.DB, text, arguments string) (rows int, plan string) {
	t.Helper()
	name := storetest.QueryOne[string](t, db, `SELECT name FROM pg_prepared_statements WHERE statement LIKE $1`, "%"+text+"%")
	lines := storetest.Query[string](t, db,
		fmt.Sprintf(`EXPLAIN (ANALYZE, BUFFERS, COSTS OFF, TIMING OFF) EXECUTE %s%s`, pq.QuoteIdentifier(name), arguments))
	plan = strings.Join(lines, "\n")
	for _, found := range rowsOfPlan.FindAllStringSubmatch(plan, -1) {
		n, err := strconv.Atoi(found[1])
		require.NoError(t, err)
		rows = max(rows, n)
	}
	require.NotEmpty(t, rowsOfPlan.FindString(plan), plan)
	return rows, plan
}

// What waits is listed by reading about as much as is listed, also with plans and statistics that
// were made when the tables held something else: the server keeps both, for minutes.
func TestPlans_KeptWhileTheBacklogGrows(t *testing.T) {
	t.Parallel()
	const addImages = `
		INSERT INTO images (camera_id, file_path, size_bytes, mtime, seen_at, state, reason)
		SELECT CASE WHEN n % 2 = 0 THEN 'a' ELSE 'b' END, '/' || $1 || n, 1, now(), now() - n * interval '1 second', $1,
		       CASE WHEN $1 = 'dead_lettered' THEN 'cause' END
		FROM generate_series(1, $2::integer) AS n`
	const addBatches = `
		INSERT INTO batches (camera_id, state, opened_at, last_at, closed_at)
		SELECT 'a', $1, now(), now(), now() - n * interval '1 second' FROM generate_series(1, $2::integer) AS n`
	const many = 5000
	for name, test := range map[string]struct {
		before, after func(t *testing.T, db *store.DB)
	}{
		"a few wait, then many": {
			func(t *testing.T, db *store.DB) {
				t.Helper()
				storetest.Exec(t, db, addImages, "seen", 20)
				storetest.Exec(t, db, addBatches, "closed", 5)
			},
			func(t *testing.T, db *store.DB) {
				t.Helper()
				storetest.Exec(t, db, addImages, "seen", many)
				storetest.Exec(t, db, addBatches, "closed", many)
			},
		},
		"dead letters that are requeued": {
			func(t *testing.T, db *store.DB) {
				t.Helper()
				storetest.Exec(t, db, addImages, "dead_lettered", many)
				storetest.Exec(t, db, addBatches, "dead_lettered", many)
			},
			func(t *testing.T, db *store.DB) {
				t.Helper()
				requeued, err := db.RequeueDeadLetters(t.Context(), store.DeadLetterSelection{}, store.Actor{Name: "test"})
				require.NoError(t, err)
				require.EqualValues(t, many, requeued)
				storetest.Exec(t, db, `UPDATE batches SET state = 'closed'`)
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := openKeepingPlans(t)
			addCamera(t, db, "a", "b")
			test.before(t, db)
			storetest.Exec(t, db, `VACUUM ANALYZE`)
			_, err := db.WaitingImages(t.Context(), 100, time.Minute)
			require.NoError(t, err)
			_, err = db.WaitingBatches(t.Context(), 10, time.Minute)
			require.NoError(t, err)
			test.after(t, db)

			rows, plan := mostRowsRead(t, db, "make_interval(secs => $3) ORDER BY queued_at", "(100, 51, 60)")
			require.LessOrEqual(t, rows, 400, plan)
			rows, plan = mostRowsRead(t, db, "FROM batches%ORDER BY closed_at", "(10, 60)")
			require.LessOrEqual(t, rows, 40, plan)
		})
	}
}
