package intake_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/metrics"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"hsi.home.arpa/embedded/embeddedtest"
	"hsi.home.arpa/internal/nightly"
	"hsi.home.arpa/pipeline/intake"
	"hsi.home.arpa/store"
	"hsi.home.arpa/store/storetest"
)

// The scan at the start looks at every file of the camera folders. Most are in the ledger already.
//
//	HSI_SCAN_FILES=1000000 go test -run TestScan_OfRecordedFiles -v ./pipeline/intake
//
//nolint:paralleltest // measures the memory of the process
func TestScan_OfRecordedFiles(t *testing.T) {
	files := nightly.Pick(11_000, 1_000_000) // of ten cameras, each of them with more than one folder
	if text := os.Getenv("HSI_SCAN_FILES"); text != "" {
		var err error
		files, err = strconv.Atoi(text)
		require.NoError(t, err)
	}
	root, db := recordedFiles(t, files)
	ended := make(chan scanned, 1)
	watcher := intake.New(intake.Options{
		Root: root, Ledger: db, Log: slog.New(scanEnds(ended)), Recorded: func() { t.Error("a file was recorded again") },
	})
	memory := watchMemory(t)
	cpu, databaseCPU := cpuTime(t), databaseTime(t, db)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	stopped := make(chan error, 1)
	go func() { stopped <- watcher.Run(ctx, &alive{}) }()
	end := <-ended
	grown := memory()
	t.Logf("%d files in %d ms, %d ms of our processor time, %d ms of the database's, %.1f MB more memory", end.files, end.took.Milliseconds(),
		(cpuTime(t) - cpu).Milliseconds(), (databaseTime(t, db) - databaseCPU).Milliseconds(), float64(grown)/1e6)
	require.Less(t, grown, min(50_000_000, 2500*int64(files)))
	require.EqualValues(t, files, end.files)
	require.Zero(t, end.fresh)
	cancel()
	require.NoError(t, <-stopped)
}

// recordedFiles makes empty files in ten camera folders, a thousand to a folder, and their rows.
func recordedFiles(t *testing.T, count int) (root string, db *store.DB) {
	t.Helper()
	root, db = embeddedtest.TempDir(t), storetest.New(t)
	const cameras, perFolder = 10, 1000
	startedAt := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for n := range count {
		dir := filepath.Join(root, fmt.Sprintf("cam%d", n%cameras), fmt.Sprintf("%04d", n/cameras/perFolder))
		if n/cameras%perFolder == 0 {
			require.NoError(t, os.MkdirAll(dir, 0o750))
		}
		path := filepath.Join(dir, fmt.Sprintf("MDAlarm_%08d.jpg", n))
		file, err := os.Create(path)
		require.NoError(t, err)
		require.NoError(t, file.Close())
		modTime := startedAt.Add(time.Duration(n) * 1017 * time.Millisecond)
		require.NoError(t, os.Chtimes(path, modTime, modTime))
	}
	for n := range cameras {
		require.NoError(t, db.EnsureCamera(t.Context(), store.Camera{ID: fmt.Sprintf("cam%d", n), Name: "cam", FolderPath: root}))
	}
	const part = 100_000
	for first := 0; first < count; first += part {
		storetest.Exec(t, db, `
		INSERT INTO images (camera_id, file_path, size_bytes, mtime, sha256, state, reason)
		SELECT 'cam' || n % 10, format('%s/cam%s/%s/MDAlarm_%s.jpg', $1::text, n % 10, lpad((n / 10 / 1000)::text, 4, '0'), lpad(n::text, 8, '0')),
		       0, $2::timestamptz + n * interval '1017 milliseconds', md5(n::text) || md5((n + 1)::text), 'filtered', 'no_detections'
		FROM generate_series($3::bigint, $4::bigint) AS n`, root, startedAt, first, min(count, first+part)-1)
	}
	storetest.Exec(t, db, `VACUUM ANALYZE images`)
	return root, db
}

// scanned is what the watcher logs of a scan.
type scanned struct {
	files, fresh int64
	took         time.Duration
}

// scanEnds is a log handler that hears of scans.
type scanEnds chan<- scanned

func (scanEnds) Enabled(context.Context, slog.Level) bool { return true }
func (h scanEnds) WithAttrs([]slog.Attr) slog.Handler     { return h }
func (h scanEnds) WithGroup(string) slog.Handler          { return h }
func (h scanEnds) Handle(_ context.Context, record slog.Record) error {
	if record.Message != "camera folders scanned" {
		return nil
	}
	var end scanned
	record.Attrs(func(a slog.Attr) bool {
		switch a.Key {
		case "files":
			end.files = a.Value.Int64()
		case "new":
			end.fresh = a.Value.Int64()
		case "took":
			end.took = a.Value.Duration()
		}
		return true
	})
	select {
	case h <- end:
	default:
	}
	return nil
}

// watchMemory returns a function that ends the watch and returns by how many bytes the memory of
// the process has grown at most.
func watchMemory(t *testing.T) func() int64 {
	t.Helper()
	samples := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	used := func() int64 {
		metrics.Read(samples)
		return int64(samples[0].Value.Uint64() - samples[1].Value.Uint64())
	}
	before := used()
	stop, most := make(chan struct{}), make(chan int64)
	go func() {
		highest := before
		ticker := time.NewTicker(10 * time.Millisecond)
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
				highest = max(highest, used())
			case <-stop:
				most <- highest - before
				return
			}
		}
	}()
	return func() int64 {
		close(stop)
		return <-most
	}
}

// cpuTime is how much processor time this process has used.
func cpuTime(tb testing.TB) time.Duration {
	tb.Helper()
	var usage syscall.Rusage
	require.NoError(tb, syscall.Getrusage(syscall.RUSAGE_SELF, &usage))
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// databaseTime is how much processor time the database's processes have used that serve db.
func databaseTime(tb testing.TB, db *store.DB) time.Duration {
	tb.Helper()
	const tick = 10 * time.Millisecond // of the kernel's accounts
	var sum time.Duration
	for _, pid := range storetest.Query[int](tb, db, `SELECT pid FROM pg_stat_activity WHERE datname = current_database()`) {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			continue // ended
		}
		fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
		for _, field := range fields[11:13] { // user and system
			ticks, err := strconv.Atoi(field)
			require.NoError(tb, err)
			sum += time.Duration(ticks) * tick
		}
	}
	return sum
}
