//go:build e2e

package main

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"hsi.home.arpa/internal/e2e"
	"hsi.home.arpa/pipeline/aitest"
)

// clockFile makes the file of a clock that is right, and what sets it.
func clockFile(tb testing.TB) (path string, set func(off time.Duration)) {
	tb.Helper()
	path = filepath.Join(tb.TempDir(), "clock")
	file, err := os.Create(path)
	require.NoError(tb, err)
	tb.Cleanup(func() { _ = file.Close() })
	set = func(off time.Duration) {
		_, err := file.WriteAt(binary.NativeEndian.AppendUint64(nil, uint64(off/time.Second)), 0)
		require.NoError(tb, err)
	}
	set(0)
	return path, set
}

// stepDatabaseClock lets the database's own clock be off from now on. Its functions are hidden by
// others of the same name, which is arranged before the first start of the server.
func (w *world) stepDatabaseClock(off time.Duration) {
	w.tb.Helper()
	for name, volatility := range map[string]string{
		"clock_timestamp": "VOLATILE",
		"now":             "STABLE",
	} {
		_, err := w.Database.ExecContext(w.tb.Context(), fmt.Sprintf(
			`CREATE OR REPLACE FUNCTION public.%s() RETURNS timestamptz LANGUAGE sql %s AS 'SELECT pg_catalog.%s() + interval ''%d seconds'''`,
			name, volatility, name, off/time.Second))
		require.NoError(w.tb, err)
	}
}

// hideDatabaseClock prepares a fresh database for stepDatabaseClock.
func (w *world) hideDatabaseClock() {
	w.tb.Helper()
	require.NoError(w.tb, w.Order(w.tb.Context(), `
		DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET search_path = public, pg_catalog', current_database()); END $$`))
	w.stepDatabaseClock(0)
}

// The clocks of the server and of the database are set an hour and a day forward and back,
// together as on one machine and each alone as on two, while images wait for another try, are in
// work and lie in open batches.
func TestFault_ClockSteps(t *testing.T) {
	t.Parallel()
	clock, setServerClock := clockFile(t)
	w := prepareWorld(t, clockVariable+"="+clock)
	w.hurried = false // what a set clock does to pauses is what is looked at
	w.hideDatabaseClock()
	w.start()
	w.eventually("all is well", w.isWell)
	steps := []struct {
		name             string
		server, database time.Duration
	}{
		{"both an hour forward", time.Hour, time.Hour},
		{"both an hour back", 0, 0},
		{"both a day forward", 24 * time.Hour, 24 * time.Hour},
		{"both a day back", 0, 0},
		{"server an hour forward", time.Hour, 0},
		{"server two hours back", -time.Hour, 0},
		{"server right, database a day forward", 0, 24 * time.Hour},
		{"database two days back", 0, -24 * time.Hour},
		{"database right", 0, 0},
	}
	off := time.Duration(0)
	for _, step := range steps {
		w.within(step.name, func() {
			w.feedAt(off, 4)
			w.waitRecorded()
			calls := len(w.Detector.Calls())
			w.Detector.SetBehaviour(aitest.Loading())
			w.feedAt(off, 3)
			w.Detector.Wait("two images were refused",
				func(c []aitest.DetectCall) bool { return len(c) >= calls+2 })
			w.stepDatabaseClock(step.database)
			setServerClock(step.server)
			off = step.server
			begun := time.Now()
			w.feedAt(off, 4)
			w.Detector.SetBehaviour(aitest.Behaviour{})
			w.waitFinished()
			recovered := time.Since(begun)
			require.True(w.tb, w.isWell(), "%+v", w.look())
			w.requireClocks(step.server, step.database)
			var stats struct {
				Uptime float64 `json:"uptime_seconds"`
			}
			w.getJSON("/api/system/stats", &stats)
			require.Less(w.tb, stats.Uptime, time.Since(w.begun).Seconds(),
				"time that has passed is no matter of the clock")
			measured(w.tb, "clock: "+step.name, "nothing stays behind, is lost or doubled", never,
				recovered)
		})
	}
	// A lease that a step forward ends costs the thumbnails of the image that was in work.
	w.finish(24, func(r *e2e.Run) { r.ClockSet = true })
}

// requireClocks wants that the server and the database go by the clocks that were set, which
// differ by an hour at least.
func (w *world) requireClocks(server, database time.Duration) {
	w.tb.Helper()
	var health struct{ Timestamp time.Time }
	w.getJSON("/api/system/health", &health)
	require.WithinDuration(w.tb, time.Now().Add(server), health.Timestamp, 20*time.Minute)
	newest := w.times("SELECT created_at FROM events ORDER BY id DESC LIMIT 1")
	require.WithinDuration(w.tb, time.Now().Add(database), newest[0], 20*time.Minute)
}

// feedAt writes images whose files are dated by a clock that is off.
func (w *world) feedAt(off time.Duration, count int) {
	w.tb.Helper()
	for range count {
		i := len(w.Cameras.Shots())
		data := aitest.Picture(uint64(i), usual(i)...)
		s := w.plan(i, fmt.Sprintf("IMG_%05d.jpg", i), data, "")
		require.NoError(w.tb, e2e.WriteRenamed(s.Path, data, time.Now().Add(off)))
	}
}
