//go:build e2e

package main

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// PostgreSQL cuts connections, becomes read-only, runs out of disk and holds a table locked for a
// minute, with images flowing. Nothing is lost or doubled, liveness answers at once all the time,
// and it goes on by itself afterwards.
func TestFault_Postgres(t *testing.T) {
	t.Parallel()
	dir := reachableDir(t)
	full := filepath.Join(dir, "full")
	library := filepath.Join(dir, "diskfull.so")
	compile(t, "diskfull.c", library, `-DFULL="`+full+`"`, "-ldl")
	w := prepareOwnWorld(t, library)
	w.Env = append(w.Env, "LOG_LEVEL=DEBUG", fmt.Sprint("DATABASE_URL=", w.postgres.URL(), "&lock_timeout=",
		inForm(2_000, 20_000)))
	w.start()
	w.eventually("all is well", w.isWell)
	refuses := func(why string) func(outlook) bool {
		return func(seen outlook) bool {
			return seen.services["database"].Status == "unhealthy" &&
				strings.Contains(seen.services["database"].Message, why)
		}
	}
	w.within("connections cut", w.cutConnections)
	w.within("read-only", func() {
		w.play(failure{
			name: "postgres_read_only", promise: "unhealthy, not ready; files wait on disk",
			begin: func() { require.NoError(w.tb, w.SetReadOnly(t.Context(), true)) },
			end:   func() { require.NoError(w.tb, w.SetReadOnly(t.Context(), false)) },
			shows: refuses("read-only, nothing can be stored"), overall: "unhealthy", readiness: "not_ready",
			meanwhile: func() {
				for path, want := range map[string]int{
					"/api/system/config": 200,
					"/api/system/stats":  200,
				} {
					status, body := w.get(path)
					require.Equal(w.tb, want, status, "%s: %s", path, body)
				}
				status, body := w.request(http.MethodPatch, "/api/system/config", asJSON,
					[]byte(`{"retention_days":7}`))
				require.Equal(w.tb, http.StatusServiceUnavailable, status, "%s", body)
			},
		})
	})
	w.within("disk full", func() {
		w.feed(40, usual)
		w.play(failure{
			name: "postgres_disk_full", promise: "unhealthy, not ready; files wait on disk",
			begin: func() {
				require.NoError(w.tb, os.WriteFile(full, nil, 0o644))
				w.feed(60, usual) // until the pages that are there are full
			},
			end:   func() { require.NoError(w.tb, os.Remove(full)) },
			shows: refuses("disk full"), overall: "unhealthy", readiness: "not_ready",
		})
	})
	w.within("lock held", w.holdLock)
	w.waitFinished()
	w.finish(60)
}

// cutConnections cuts all connections of the server each time that it has some again, while images
// flow.
func (w *world) cutConnections() {
	w.tb.Helper()
	const connected = `FROM pg_stat_activity WHERE application_name = 'hsi'`
	cut, times := int64(0), inForm(8, 40)
	for range times {
		w.feed(4, usual)
		w.eventually("connected again",
			func() bool { return w.count("SELECT count(*) "+connected) > 1 })
		cut += w.count("SELECT count(*) FILTER (WHERE pg_terminate_backend(pid)) " + connected)
		status, _ := w.get("/health")
		require.Equal(w.tb, 200, status)
	}
	begun := time.Now()
	w.eventually("well again", w.isWell)
	recovered := time.Since(begun)
	w.waitFinished()
	measured(w.tb, "postgres_cuts_connections", "nothing is lost or doubled", never, recovered)
	w.tb.Logf("%d connections cut in %d cuts; all worked off %v after the last", cut, times,
		time.Since(begun).Round(time.Millisecond))
}

// holdLock locks the ledger until a statement of the server has given up waiting for it, or, in
// the long form, for a minute: longer than any of them waits.
func (w *world) holdLock() {
	w.tb.Helper()
	held := time.Duration(inForm(0, 60)) * time.Second
	w.feed(8, usual)
	struck := func() int { return strings.Count(w.output.String(), "due to lock timeout") }
	before, begin := w.look().workers, struck()
	release, err := w.HoldLock(w.tb.Context(), "images")
	require.NoError(w.tb, err)
	defer release()
	begun := time.Now()
	w.feed(20, usual)
	var took []time.Duration
	told := map[string]time.Duration{}
	w.eventually("a statement has waited for too long", func() bool {
		asked := time.Now()
		seen := w.look()
		took = append(took, time.Since(asked))
		require.Equal(w.tb, 200, seen.alive)
		for worker, message := range seen.workers {
			if _, known := told[worker]; !known && message != "" && message != before[worker] {
				told[worker] = time.Since(begun)
				w.tb.Logf("%s after %v: %s", worker, told[worker].Round(time.Millisecond), message)
			}
		}
		return struck() > begin && time.Since(begun) > held
	})
	release()
	begun = time.Now()
	w.eventually("well again", w.isWell)
	recovered := time.Since(begun)
	w.waitFinished()
	slices.Sort(took)
	measured(w.tb, "postgres_lock_held", "images wait, liveness answers", never, recovered)
	w.tb.Logf("%d statements gave up; all worked off %v after the lock; three probes together p50 %v, p99 %v, slowest %v",
		struck()-begin, time.Since(begun).Round(time.Millisecond),
		took[len(took)/2], took[len(took)*99/100], took[len(took)-1])
}
