package retention

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/lib/pq"
	"github.com/stretchr/testify/require"

	"hsi.home.arpa/store/storetest"
)

// benchRows is how many detections with thumbnails the benchmark deletes. HSI_RETENTION_BENCH_ROWS
// changes it.
func benchRows(b *testing.B) int {
	b.Helper()
	text := os.Getenv("HSI_RETENTION_BENCH_ROWS")
	if text == "" {
		return 20_000
	}
	n, err := strconv.Atoi(text)
	require.NoError(b, err)
	return n
}

// history fills a database and a folder with rows that are due: five detections in an event, a
// thumbnail each.
func history(tb testing.TB, dir string, rows int) *env {
	tb.Helper()
	e, err := newEnv(storetest.New(tb), dir, storetest.Logger(tb))
	require.NoError(tb, err)
	require.NoError(tb, e.media.Available(tb.Context(), false))
	for i := range 256 {
		require.NoError(tb, os.MkdirAll(filepath.Join(e.thumbnails, fmt.Sprintf("%02x", i)), 0o750))
	}
	picture := make([]byte, 4000)
	for i := range rows {
		require.NoError(tb, os.WriteFile(filepath.Join(e.thumbnails, benchPath(i)), picture, 0o600))
	}
	storetest.Exec(tb, e.db, `INSERT INTO cameras (id, name, folder_path) VALUES ('front', 'Front', '/f')`)
	storetest.Exec(tb, e.db, `INSERT INTO events (id, camera_id, started_at) SELECT i, 'front', $2::timestamptz - i * interval '1 s'
		FROM generate_series(1, $1 / 5 + 1) AS i`, rows, old)
	storetest.Exec(tb, e.db, `INSERT INTO detections (camera_id, file_path, detected_at, event_id, thumbnail_path)
		SELECT 'front', '/f/x.jpg', $2::timestamptz - (i / 5) * interval '1 s', i / 5 + 1,
			lpad(to_hex(i % 256), 2, '0') || '/x-' || lpad(to_hex(i % 256), 2, '0') || lpad(to_hex(i), 14, '0') || '.jpg'
		FROM generate_series(0, $1 - 1) AS i`, rows, old)
	storetest.Exec(tb, e.db, `VACUUM ANALYZE`)
	return e
}

// benchDir is a folder on the disk to be measured.
func benchDir(tb testing.TB) string {
	tb.Helper()
	dir := os.Getenv("HSI_RETENTION_BENCH_DIR")           // empty: the temporary folder
	dir, err := os.MkdirTemp(dir, "hsi-retention-bench-") //nolint:usetesting // see above
	require.NoError(tb, err)
	tb.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func benchPath(i int) string { return fmt.Sprintf("%02x/x-%02x%014x.jpg", i%256, i%256, i) }

// BenchmarkCleanup is a real run over history; rows/s counts detections.
func BenchmarkCleanup(b *testing.B) {
	rows := benchRows(b)
	for range b.N {
		b.StopTimer()
		e := history(b, benchDir(b), rows)
		b.StartTimer()
		began := time.Now()
		report, err := e.Cleanup(context.WithoutCancel(b.Context()), false)
		require.NoError(b, err)
		require.Equal(b, int64(rows), report.ThumbnailsDeleted)
		b.ReportMetric(float64(rows)/time.Since(began).Seconds(), "rows/s")
	}
}

// BenchmarkDryRun is a dry run over the same.
func BenchmarkDryRun(b *testing.B) {
	rows := benchRows(b)
	e := history(b, benchDir(b), rows)
	for b.Loop() {
		began := time.Now()
		report, err := e.Cleanup(b.Context(), true)
		require.NoError(b, err)
		require.Equal(b, int64(rows), report.ThumbnailsDeleted)
		b.ReportMetric(float64(rows)/time.Since(began).Seconds(), "rows/s")
	}
}

// BenchmarkBare is what a cleanup can at best come to: the deletes and unlinks alone, without any
// promise.
func BenchmarkBare(b *testing.B) {
	rows := benchRows(b)
	for range b.N {
		b.StopTimer()
		e := history(b, benchDir(b), rows)
		b.StartTimer()
		began := time.Now()
		for first := int64(1); first <= int64(rows)/5+1; first += 200 {
			ids := make([]int64, 0, 200)
			for id := first; id < first+200; id++ {
				ids = append(ids, id)
			}
			paths := storetest.Query[string](b, e.db, `DELETE FROM detections WHERE event_id = ANY ($1) RETURNING thumbnail_path`, pq.Array(ids))
			storetest.Exec(b, e.db, `DELETE FROM events WHERE id = ANY ($1)`, pq.Array(ids))
			for _, path := range paths {
				require.NoError(b, os.Remove(filepath.Join(e.thumbnails, path)))
			}
		}
		b.ReportMetric(float64(rows)/time.Since(began).Seconds(), "rows/s")
	}
}
