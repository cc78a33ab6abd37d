package retention

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"hsi.home.arpa/embedded/embeddedtest"
	"hsi.home.arpa/internal/nightly"
	"hsi.home.arpa/store"
	"hsi.home.arpa/store/storetest"
)

// die lets a process run a cleanup of a world and returns whether it was killed before it had
// finished. A step below 0 means that the process goes on until ctx ends.
func die(t *testing.T, ctx context.Context, w *world, url string, step int64) (killed bool) { //nolint:revive // t comes first
	t.Helper()
	cmd := exec.CommandContext(ctx, os.Args[0])
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d|%d|%t|%s|%s", killAt, step, w.days, w.deleteImages, w.e.dir, url))
	output, err := cmd.CombinedOutput()
	if err == nil {
		return false
	}
	if cmd.ProcessState == nil || cmd.ProcessState.Success() {
		return true // before it began, or just when it was done
	}
	status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus)
	require.True(t, ok && status.Signal() == syscall.SIGKILL, "%v: %s", err, output)
	return true
}

// prepared loads a world and takes the folders into use.
func prepared(t *testing.T, db *store.DB, dir string, seed uint64) *world {
	t.Helper()
	e := setupIn(t, db, dir)
	w := newWorld(e, seed)
	w.deleteImages = true
	e.plan(w)
	w.load(t)
	require.NoError(t, e.media.Available(t.Context(), false))
	return w
}

// finish is the next start.
func finish(t *testing.T, w *world) {
	t.Helper()
	e := setupIn(t, w.e.db, w.e.dir)
	e.plan(w)
	e.cleanupWhenFree(t)
	w.check(t, w.expect())
}

// TestCleanup_KilledAtEveryStep lets a process run a cleanup and kills it with SIGKILL at each step
// in turn, in the short form at every third; the next start must finish what it left.
func TestCleanup_KilledAtEveryStep(t *testing.T) {
	t.Parallel()
	const workers = 2
	every := nightly.Pick[int64](3, 1)
	var next, kills atomic.Int64
	var done atomic.Bool
	t.Cleanup(func() { require.Greater(t, kills.Load()*every, int64(20), "the run has more steps than that") })
	for worker := range workers {
		t.Run(fmt.Sprint("Worker", worker), func(t *testing.T) {
			t.Parallel()
			url := storetest.NewURL(t)
			db, dir := storetest.Open(t, url), embeddedtest.TempDir(t)
			for !done.Load() && !t.Failed() {
				step := next.Add(every) - every
				w := prepared(t, db, dir, 42) // the same state each time, killed one step later
				if die(t, t.Context(), w, url, step) {
					kills.Add(1)
				} else {
					done.Store(true) // it had no such step
				}
				finish(t, w)
				if t.Failed() {
					t.Logf("killed at step %d", step)
				}
			}
		})
	}
}

// TestCleanup_KilledAnywhere kills at random moments, also in the middle of a sweep.
func TestCleanup_KilledAnywhere(t *testing.T) {
	t.Parallel()
	url := storetest.NewURL(t)
	db, dir := storetest.Open(t, url), embeddedtest.TempDir(t)
	random := rand.New(rand.NewPCG(7, 7))
	for seed := range nightly.Pick[uint64](5, 15) {
		w := prepared(t, db, dir, seed)
		began := time.Now()
		require.False(t, die(t, t.Context(), w, url, -1))
		whole := time.Since(began)
		finish(t, w)

		w = prepared(t, db, dir, seed)
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(random.Int64N(int64(whole))))
		die(t, ctx, w, url, -1)
		cancel()
		finish(t, w)
	}
}
