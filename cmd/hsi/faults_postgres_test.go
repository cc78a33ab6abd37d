package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"hsi.home.arpa/embedded/embeddedtest"
)

// PostgreSQL cuts connections, becomes read-only, runs out of disk and holds a table locked for a minute, with images flowing. Nothing
// is lost or doubled, liveness answers at once all the time, and it goes on by itself afterwards.
func TestFault_Postgres(t *testing.T) {
	t.Parallel()
	dir := reachableDir(t)
	full := filepath.Join(dir, "full")
	library := filepath.Join(dir, "diskfull.so")
	compile(t, "diskfull.c", library, `-DFULL="`+full+`"`, "-ldl")
	w := &faultWorld{postgres: embeddedtest.NewPostgresWith(t, library), redis: embeddedtest.NewRedis(t)}
	w.world = prepareWorld(t, w.postgres.URL(), w.redis.URL())
	w.start()
	w.eventually("all is well", w.isWell)
	refuses := func(why string) func(outlook) bool {
		return func(seen outlook) bool {
			return seen.services["database"].Status == "unhealthy" && strings.Contains(seen.services["database"].Message, why)
		}
	}
	w.within("connections cut", w.cutConnections)
	w.within("read-only", func() {
		w.play(failure{
			name: "postgres_read_only", promise: "unhealthy, not ready; files wait on disk", within: 3 * time.Second,
			begin: func() { w.setReadOnly(true) }, end: func() { w.setReadOnly(false) },
			shows: refuses("read-only"), overall: "unhealthy", readiness: "not_ready",
		})
	})
	w.within("disk full", func() {
		w.feed(40, time.Millisecond, usual)
		w.play(failure{
			name: "postgres_disk_full", promise: "unhealthy, not ready; files wait on disk", within: 0,
			begin: func() {
				require.NoError(w.tb, os.WriteFile(full, nil, 0o644))
				w.feed(60, time.Millisecond, usual) // until the pages that are there are full
			},
			end:   func() { require.NoError(w.tb, os.Remove(full)) },
			shows: refuses("disk full"), overall: "unhealthy", readiness: "not_ready",
		})
	})
	w.within("lock held", w.holdLock)
	w.waitFinished()
	l := w.requireAccounted(false)
	w.requireThumbnails(l, 60)
	w.requireNoFindings()
	w.stop()
}

// cutConnections cuts all connections of the server ten times a second while images flow.
func (w *faultWorld) cutConnections() {
	w.tb.Helper()
	cut := int64(0)
	for range 20 {
		w.feed(4, 25*time.Millisecond, usual)
		cut += w.count(`SELECT count(*) FILTER (WHERE pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'hsi'`)
		status, _ := w.get("/health")
		require.Equal(w.tb, 200, status)
	}
	begun := time.Now()
	w.eventually("well again", w.isWell)
	recovered := time.Since(begun)
	w.waitFinished()
	measured(w.tb, "postgres_cuts_connections", "nothing is lost or doubled", never, recovered)
	w.tb.Logf("%d connections cut in %d images' time; all worked off %v after the last cut", cut, 80, time.Since(begun).Round(time.Millisecond))
}

func (w *faultWorld) setReadOnly(on bool) {
	w.tb.Helper()
	for _, statement := range []string{
		"SET default_transaction_read_only = off", "ALTER SYSTEM SET default_transaction_read_only = " + map[bool]string{true: "on", false: "off"}[on],
		"SELECT pg_reload_conf()",
	} {
		_, err := w.database.ExecContext(w.tb.Context(), statement)
		require.NoError(w.tb, err)
	}
}

// holdLock locks the ledger for a minute: longer than any statement of the server waits.
func (w *faultWorld) holdLock() {
	w.tb.Helper()
	const held = 60 * time.Second
	w.feed(8, 5*time.Millisecond, usual)
	tx, err := w.database.BeginTxx(w.tb.Context(), nil)
	require.NoError(w.tb, err)
	defer func() { _ = tx.Rollback() }()
	_, err = tx.ExecContext(w.tb.Context(), "LOCK TABLE images IN ACCESS EXCLUSIVE MODE")
	require.NoError(w.tb, err)
	begun := time.Now()
	w.feed(20, 5*time.Millisecond, usual)
	var took []time.Duration
	told := map[string]time.Duration{}
	w.eventually("a minute passes", func() bool {
		asked := time.Now()
		seen := w.look()
		took = append(took, time.Since(asked))
		require.Equal(w.tb, 200, seen.alive)
		for worker, message := range seen.workers {
			if _, known := told[worker]; !known && message != "" {
				told[worker] = time.Since(begun)
				w.tb.Logf("%s after %v: %s", worker, told[worker].Round(time.Millisecond), message)
			}
		}
		return time.Since(begun) > held
	})
	require.NoError(w.tb, tx.Rollback())
	begun = time.Now()
	w.eventually("well again", w.isWell)
	recovered := time.Since(begun)
	w.waitFinished()
	slices.Sort(took)
	measured(w.tb, "postgres_lock_held_60s", "images wait, liveness answers at once", never, recovered)
	w.tb.Logf("all worked off %v after the lock; three probes together p50 %v, p99 %v, slowest %v", time.Since(begun).Round(time.Millisecond),
		took[len(took)/2], took[len(took)*99/100], took[len(took)-1])
}
