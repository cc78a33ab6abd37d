package retention

import (
	"context"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"hsi.home.arpa/internal/await"
	"hsi.home.arpa/store/storetest"
)

// start keeps the schedule going until the test, or stop, ends it.
func (e *env) start(t *testing.T) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- e.Run(ctx) }()
	stopped := false
	stop = func() {
		if !stopped {
			stopped = true
			cancel()
			require.NoError(t, <-done)
		}
	}
	t.Cleanup(stop)
	return stop
}

func TestRun_FirstStartWaitsADay(t *testing.T) {
	t.Parallel()
	var days atomic.Int64 // since the first start
	e := setup(t, func(o *Options) {
		o.Now = func() time.Time { return moment.Add(time.Duration(days.Load()) * 24 * time.Hour) }
	})
	e.fill(t, 2)
	schedule, err := e.Schedule(t.Context())
	require.NoError(t, err)
	require.Equal(t, Schedule{}, schedule)
	stop := e.start(t)
	await.True(t, func() bool {
		schedule, err := e.Schedule(t.Context())
		return err == nil && schedule.NextRun != nil && schedule.NextRun.Equal(moment.Add(24*time.Hour))
	})
	stop()
	require.Equal(t, [4]int64{3, 6, 3, 3}, e.counts(t))

	// At a start when it is overdue, it runs at once.
	days.Store(1)
	next := setupIn(t, e.db, e.dir, func(o *Options) { o.Now = e.now })
	stop = next.start(t)
	await.True(t, func() bool {
		schedule, err := next.Schedule(t.Context())
		return err == nil && schedule.LastSuccess != nil && schedule.LastSuccess.Equal(moment.Add(24*time.Hour)) &&
			schedule.NextRun.Equal(moment.Add(48*time.Hour)) && schedule.LastError == nil
	})
	stop()
	require.Equal(t, [4]int64{1, 2, 1, 1}, e.counts(t))
}

func TestRun_FailureIsKeptAndTheScheduleStays(t *testing.T) {
	t.Parallel()
	e := setup(t)
	e.fill(t, 2)
	storetest.Exec(t, e.db, `INSERT INTO jobs (name, next_run) VALUES ('cleanup', '2026-01-01Z')`)
	require.NoError(t, os.Rename(e.thumbnails, e.thumbnails+".away"))
	_, err := e.turn(t.Context())
	require.ErrorIs(t, err, ErrMediaUnavailable)
	require.NoError(t, os.Rename(e.thumbnails+".away", e.thumbnails))
	schedule, err := e.Schedule(t.Context())
	require.NoError(t, err)
	require.Nil(t, schedule.LastSuccess)
	require.Contains(t, *schedule.LastError, "is missing")
	require.True(t, schedule.NextRun.Before(moment), "still overdue")
	wait, err := e.turn(t.Context())
	require.NoError(t, err)
	require.Equal(t, 24*time.Hour, wait)
}

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	for failures, want := range map[int]time.Duration{1: time.Minute, 2: 2 * time.Minute, 6: 32 * time.Minute, 7: time.Hour, 1000: time.Hour} {
		require.Equal(t, want, retryAfter(failures))
	}
}

func TestRun_Twice(t *testing.T) {
	t.Parallel()
	e := setup(t)
	e.start(t)
	await.True(t, e.running.Load)
	require.Error(t, e.Run(t.Context()))
}

func TestForget_OnlyFinishedRowsWhoseFileIsCertainlyGone(t *testing.T) {
	t.Parallel()
	e := setup(t)
	storetest.Exec(t, e.db, `INSERT INTO cameras (id, name, folder_path) VALUES ('front', 'Front', '/f')`)
	present := filepath.Join(e.pictures, "front", "present.jpg")
	require.NoError(t, os.WriteFile(present, nil, 0o600))
	gone := filepath.Join(e.pictures, "front", "gone.jpg")
	unmounted := filepath.Join(e.pictures, "usb", "gone.jpg")
	for _, row := range []struct {
		path, state string
		seen        time.Time
	}{
		{gone, "expired", old},
		{gone, "filtered", old},
		{gone, "dead_lettered", old},
		{gone, "expired", young},
		{gone, "seen", old},
		{gone, "analyzed", old},
		{present, "expired", old},
		{unmounted, "expired", old},
		{"/elsewhere.jpg", "expired", old},
	} {
		storetest.Exec(t, e.db, `INSERT INTO images (camera_id, file_path, size_bytes, mtime, state, reason, seen_at)
			VALUES ('front', $1, (SELECT count(*) FROM images), now(), $2, 'x', $3)`, row.path, row.state, row.seen)
	}
	require.NoError(t, e.forget(t.Context(), moment.Add(-30*24*time.Hour)))
	left := storetest.Query[string](t, e.db, `SELECT state || CASE WHEN seen_at < $1 THEN ' old ' ELSE ' young ' END || file_path FROM images`,
		moment.Add(-30*24*time.Hour))
	require.ElementsMatch(t, []string{
		"expired young " + gone, "seen old " + gone, "analyzed old " + gone, "expired old " + present, "expired old " + unmounted, "expired old /elsewhere.jpg",
	}, left)
}

func TestTurn_ForgetsAllThatIsOlderThanTheRetention(t *testing.T) {
	t.Parallel()
	e := setup(t)
	storetest.Exec(t, e.db, `INSERT INTO cameras (id, name, folder_path) VALUES ('front', 'Front', '/f')`)
	storetest.Exec(t, e.db, `INSERT INTO jobs (name, next_run) VALUES ($1, $2)`, jobName, moment)
	require.NoError(t, os.WriteFile(filepath.Join(e.pictures, "front", "present.jpg"), nil, 0o600)) // the folder is not empty
	// More than a page on either side.
	storetest.Exec(t, e.db, `INSERT INTO images (camera_id, file_path, size_bytes, mtime, state, seen_at)
		SELECT 'front', $1 || i || '.jpg', 1, now(), 'expired', CASE WHEN i % 2 = 0 THEN $2::timestamptz ELSE $3 END FROM generate_series(1, $4::int) AS i`,
		filepath.Join(e.pictures, "front")+"/", old, young, 4*forgetPage)
	wait, err := e.turn(t.Context())
	require.NoError(t, err)
	require.Equal(t, e.Service.options.Interval, wait)
	require.Equal(t, int64(2*forgetPage), storetest.QueryOne[int64](t, e.db, `SELECT count(*) FROM images WHERE seen_at = $1`, young))
	require.Zero(t, storetest.QueryOne[int64](t, e.db, `SELECT count(*) FROM images WHERE seen_at = $1`, old))
}
