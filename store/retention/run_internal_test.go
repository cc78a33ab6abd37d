package retention

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"hsi.home.arpa/embedded/embeddedtest"
	"hsi.home.arpa/store"
	"hsi.home.arpa/store/storetest"
)

// old and young are on either side of a cut-off of 30 days.
var old, young = moment.Add(-31 * 24 * time.Hour), moment.Add(-29 * 24 * time.Hour)

// fill stores n old rows of each kind, with thumbnails of one byte, and one young row of each.
func (e *env) fill(t *testing.T, n int) {
	t.Helper()
	require.NoError(t, e.media.Available(t.Context(), false))
	storetest.Exec(t, e.db, `INSERT INTO cameras (id, name, folder_path) VALUES ('front', 'Front', '/f') ON CONFLICT DO NOTHING`)
	for i := range n + 1 {
		at := old
		if i == n {
			at = young
		}
		path := fmt.Sprintf("%02x/x-%02x%014x.jpg", i%256, i%256, i)
		file := filepath.Join(e.thumbnails, path)
		require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o750))
		require.NoError(t, os.WriteFile(file, []byte("x"), 0o600))
		id := i + 1
		storetest.Exec(t, e.db, `INSERT INTO events (id, camera_id, started_at) VALUES ($1, 'front', $2)`, id, at)
		storetest.Exec(t, e.db, `INSERT INTO detections (id, camera_id, file_path, detected_at, event_id, thumbnail_path)
			VALUES ($1, 'front', '/x', $2, $1, $3), ($1 + 100000, 'front', '/x', $2, NULL, NULL)`, id, at, path)
		storetest.Exec(t, e.db, `INSERT INTO gpu_stats (id, recorded_at) VALUES ($1, $2)`, id, at)
		storetest.Exec(t, e.db, `INSERT INTO logs (id, timestamp, level, component, message) VALUES ($1, $2, 'INFO', 'c', 'm')`, id, at)
	}
}

// counts are the numbers of rows that are left, in the order of the report.
func (e *env) counts(t *testing.T) [4]int64 {
	t.Helper()
	var counts [4]int64
	for i, table := range []string{"events", "detections", "gpu_stats", "logs"} {
		counts[i] = storetest.QueryOne[int64](t, e.db, `SELECT count(*) FROM `+table)
	}
	return counts
}

func TestCleanup_SecondRunIsRefused(t *testing.T) {
	t.Parallel()
	e := setup(t)
	e.fill(t, 3)
	other := setupIn(t, e.db, e.dir) // another process
	reached, proceed := make(chan struct{}), make(chan struct{})
	first := true
	e.step = func(_ context.Context, name string) {
		if name == "before commit" && first {
			first = false
			close(reached)
			<-proceed
		}
	}
	done := make(chan error, 1)
	go func() {
		_, err := e.Cleanup(t.Context(), false)
		done <- err
	}()
	<-reached

	for _, s := range []*env{e, other} {
		_, err := s.Cleanup(t.Context(), false)
		require.ErrorIs(t, err, ErrRunning, "refused although the other does not end before")
		_, err = s.Cleanup(t.Context(), true)
		require.NoError(t, err, "a dry run does not mind")
	}
	counts, err := e.db.Counts(t.Context())
	require.NoError(t, err, "reads are answered meanwhile")
	require.Equal(t, int64(4), counts.Events)

	close(proceed)
	require.NoError(t, <-done)
	report, err := other.Cleanup(t.Context(), false)
	require.NoError(t, err)
	require.Zero(t, report.EventsDeleted)
}

func TestCleanup_WithoutTheMediaFolderNothingIsDeleted(t *testing.T) {
	t.Parallel()
	e := setup(t)
	e.fill(t, 3)
	rows, files := e.counts(t), e.disk(t)
	require.NoError(t, os.Rename(e.thumbnails, e.thumbnails+".away"))
	for _, dryRun := range []bool{true, false} {
		report, err := e.Cleanup(t.Context(), dryRun)
		require.ErrorIs(t, err, ErrMediaUnavailable)
		require.Equal(t, Report{RetentionDays: 30, At: moment, DryRun: dryRun}, report)
	}
	require.Equal(t, rows, e.counts(t))
	require.NoError(t, os.Rename(e.thumbnails+".away", e.thumbnails))
	require.Equal(t, files, e.disk(t))

	// The cameras' folder counts only when originals are deleted.
	require.NoError(t, os.RemoveAll(e.pictures))
	e.Service.options.DeleteImages = true
	_, err := e.Cleanup(t.Context(), false)
	require.ErrorIs(t, err, ErrMediaUnavailable)
	require.NoError(t, os.Mkdir(e.pictures, 0o750))
	_, err = e.Cleanup(t.Context(), false)
	require.ErrorIs(t, err, ErrMediaUnavailable, "an empty folder is a disk that is not mounted")
	require.Equal(t, rows, e.counts(t))
	e.Service.options.DeleteImages = false
	_, err = e.Cleanup(t.Context(), false)
	require.NoError(t, err)
	require.Equal(t, [4]int64{1, 2, 1, 1}, e.counts(t))
}

func TestCleanup_MediaFolderVanishesMeanwhile(t *testing.T) {
	t.Parallel()
	e := setup(t, func(o *Options) { o.BatchSize = 2 })
	e.fill(t, 30)
	commits := 0
	e.step = func(_ context.Context, name string) {
		if name == "after commit" {
			if commits++; commits == 5 {
				require.NoError(t, os.Rename(e.thumbnails, e.thumbnails+".away"))
			}
		}
	}
	report, err := e.Cleanup(t.Context(), false)
	require.ErrorIs(t, err, ErrMediaUnavailable)
	require.Equal(t, int64(5), report.EventsDeleted, "what was committed until then")
	require.Equal(t, [4]int64{26, 57, 31, 31}, e.counts(t), "and nothing after")
	job := storetest.QueryOne[*string](t, e.db, `SELECT last_error FROM jobs WHERE name = 'cleanup' AND last_run IS NULL`)
	require.Contains(t, *job, "is missing")

	require.NoError(t, os.Rename(e.thumbnails+".away", e.thumbnails))
	e.step = func(context.Context, string) {}
	report, err = e.Cleanup(t.Context(), false)
	require.NoError(t, err)
	require.Equal(t, int64(25), report.EventsDeleted)
	require.Equal(t, int64(30), report.ThumbnailsDeleted, "also those of the run before")
	require.Len(t, e.disk(t), 1)
}

func TestCleanup_PoisonedRowsAndFilesAreSetAside(t *testing.T) {
	t.Parallel()
	e := setup(t, func(o *Options) { o.BatchSize = 8 })
	e.fill(t, 50)
	storetest.Exec(t, e.db, `
		CREATE FUNCTION poison() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
			IF OLD.id IN (7, 8, 100009) THEN RAISE EXCEPTION 'poisoned'; END IF;
			RETURN OLD;
		END $$;
		CREATE TRIGGER poison BEFORE DELETE ON events FOR EACH ROW EXECUTE FUNCTION poison();
		CREATE TRIGGER poison BEFORE DELETE ON detections FOR EACH ROW WHEN (OLD.id = 100009) EXECUTE FUNCTION poison();
		CREATE TRIGGER poison BEFORE DELETE ON gpu_stats FOR EACH ROW EXECUTE FUNCTION poison();
		CREATE TABLE somebodys_notes (log_id bigint REFERENCES logs, note text);
		INSERT INTO somebodys_notes VALUES (21, 'keep')`)
	blocked := filepath.Join(e.thumbnails, "0a/x-0a0000000000000a.jpg") // a folder where a file should be
	require.NoError(t, os.Remove(blocked))
	require.NoError(t, os.MkdirAll(filepath.Join(blocked, "full"), 0o750))

	report, err := e.Cleanup(t.Context(), false)

	require.NoError(t, err)
	require.Equal(t, Report{
		EventsDeleted: 48, DetectionsDeleted: 48 + 49, GPUStatsDeleted: 48, LogsDeleted: 49, ThumbnailsDeleted: 47, SpaceReclaimedBytes: 47,
		RetentionDays: 30, At: moment, SetAside: 6, FilesFailed: 1,
	}, report)
	require.DirExists(t, blocked)
	storetest.Exec(t, e.db, `DROP TABLE somebodys_notes; DROP FUNCTION poison CASCADE`)
	report, err = e.Cleanup(t.Context(), false)
	require.NoError(t, err)
	require.Equal(t, int64(2), report.EventsDeleted)
	require.Equal(t, [4]int64{1, 2, 1, 1}, e.counts(t))
}

func TestCleanup_LockedRowIsSetAside(t *testing.T) {
	t.Parallel()
	e := setup(t)
	e.fill(t, 2)
	tx, err := e.db.SQL().BeginTxx(t.Context(), nil)
	require.NoError(t, err)
	_, err = tx.ExecContext(t.Context(), `SELECT FROM logs WHERE id = 1 FOR UPDATE`)
	require.NoError(t, err)
	report, err := e.Cleanup(t.Context(), false)
	require.NoError(t, err)
	require.NoError(t, tx.Rollback())
	require.Equal(t, int64(1), report.SetAside)
	require.Equal(t, int64(1), report.LogsDeleted)
}

func TestCleanup_ALargeEventIsDeletedInParts(t *testing.T) {
	t.Parallel()
	const size int64 = 5
	e := setup(t, func(o *Options) { o.BatchSize = int(size) })
	e.fill(t, 1)
	storetest.Exec(t, e.db, `INSERT INTO detections (camera_id, file_path, detected_at, event_id)
		SELECT 'front', '/x', $1, 1 FROM generate_series(1, $2::int)`, old, 5*size)
	// What each transaction deleted, seen at its end.
	left := func() int64 { return storetest.QueryOne[int64](t, e.db, `SELECT count(*) FROM detections`) }
	before := left()
	e.step = func(_ context.Context, name string) {
		if name != "after commit" {
			return
		}
		now := left()
		require.LessOrEqual(t, before-now, size)
		before = now
	}
	report, err := e.Cleanup(t.Context(), false)
	require.NoError(t, err)
	require.Equal(t, int64(1), report.EventsDeleted)
	require.Equal(t, 5*size+2, report.DetectionsDeleted)
}

func TestCleanup_ALargePoisonedEventIsSetAside(t *testing.T) {
	t.Parallel()
	e := setup(t, func(o *Options) { o.BatchSize = 5 })
	e.fill(t, 2)
	storetest.Exec(t, e.db, `
		INSERT INTO detections (id, camera_id, file_path, detected_at, event_id) SELECT i, 'front', '/x', now(), 1 FROM generate_series(50, 70) AS i;
		CREATE FUNCTION poison() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'poisoned'; END $$;
		CREATE TRIGGER poison BEFORE DELETE ON detections FOR EACH ROW WHEN (OLD.id = 60) EXECUTE FUNCTION poison()`)
	report, err := e.Cleanup(t.Context(), false)
	require.NoError(t, err)
	require.Equal(t, int64(1), report.EventsDeleted, "the other one")
	require.Equal(t, int64(1), report.SetAside)
	storetest.Exec(t, e.db, `DROP FUNCTION poison CASCADE`)
	report, err = e.Cleanup(t.Context(), false)
	require.NoError(t, err)
	require.Equal(t, int64(1), report.EventsDeleted)
}

func TestCleanup_DeadlineEndsARun(t *testing.T) {
	t.Parallel()
	e := setup(t, func(o *Options) { o.BatchSize = 1 })
	e.fill(t, 4)
	commits := 0
	ctx, end := context.WithCancelCause(t.Context())
	e.step = func(_ context.Context, name string) {
		if name == "after commit" {
			if commits++; commits == 2 {
				end(ErrOutOfTime) // as the deadline does
			}
		}
	}
	report, err := e.Cleanup(ctx, false)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorIs(t, err, ErrOutOfTime)
	require.NotErrorIs(t, err, store.ErrUnavailable, "the database is not to blame")
	require.Equal(t, int64(2), report.EventsDeleted, "what was committed is said")
	e.step = func(context.Context, string) {}
	report = e.cleanupWhenFree(t)
	require.Equal(t, int64(2), report.EventsDeleted)
}

func TestCleanup_OneDryRunAtATime(t *testing.T) {
	t.Parallel()
	e := setup(t)
	e.fill(t, 2)
	e.previewing <- struct{}{} // one is at work
	e.Service.options.Deadline = time.Millisecond
	_, err := e.Cleanup(t.Context(), true)
	require.ErrorIs(t, err, ErrOutOfTime, "it waits for its turn")
	e.Service.options.Deadline = time.Hour
	<-e.previewing
	for range 2 { // and the turn is given back
		report, err := e.Cleanup(t.Context(), true)
		require.NoError(t, err)
		require.Equal(t, int64(2), report.EventsDeleted)
	}
}

func TestCleanup_PeriodIsReadForEachRun(t *testing.T) {
	t.Parallel()
	days := 60
	e := setup(t, func(o *Options) { o.RetentionDays = func(context.Context) (int, error) { return days, nil } })
	e.fill(t, 3)
	report, err := e.Cleanup(t.Context(), false)
	require.NoError(t, err)
	require.Equal(t, Report{RetentionDays: 60, At: moment}, report)
	days = 30
	report, err = e.Cleanup(t.Context(), false)
	require.NoError(t, err)
	require.Equal(t, int64(3), report.EventsDeleted)
	days = 0
	_, err = e.Cleanup(t.Context(), false)
	require.Error(t, err)
}

func TestCleanup_DatabaseGone(t *testing.T) {
	t.Parallel()
	e := setup(t, func(o *Options) {
		o.RetentionDays = func(context.Context) (int, error) { return 0, fmt.Errorf("read config: %w", os.ErrDeadlineExceeded) }
	})
	_, err := e.Cleanup(t.Context(), false)
	require.ErrorIs(t, err, os.ErrDeadlineExceeded, "an unknown period deletes nothing")
}

func TestCleanup_BeforeTheDatabaseIsMigrated(t *testing.T) {
	t.Parallel()
	db, err := store.Open(store.Config{URL: "postgres://hsi@127.0.0.1:1/hsi", Log: storetest.Logger(t)})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	e := setupIn(t, db, embeddedtest.TempDir(t))
	for _, dryRun := range []bool{true, false} {
		report, err := e.Cleanup(t.Context(), dryRun)
		require.ErrorIs(t, err, store.ErrUnavailable)
		require.Equal(t, Report{}, report)
	}
}
