package retention

import (
	"fmt"
	"os"
	"os/exec"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"hsi.home.arpa/store/storetest"
)

// TestCleanup_KilledAtEveryStep lets a process run a cleanup and kills it with SIGKILL at each step in turn; the next start must
// finish what it left.
func TestCleanup_KilledAtEveryStep(t *testing.T) {
	t.Parallel()
	const workers = 2
	var next, kills atomic.Int64
	var done atomic.Bool
	t.Cleanup(func() { require.Greater(t, kills.Load(), int64(20), "the run has more steps than that") })
	for worker := range workers {
		t.Run(fmt.Sprint("Worker", worker), func(t *testing.T) {
			t.Parallel()
			url := storetest.NewURL(t)
			db := storetest.Open(t, url)
			dir := fastTemp(t)
			for !done.Load() && !t.Failed() {
				step := next.Add(1) - 1
				e := setupIn(t, db, dir)
				w := newWorld(e, 42) // the same state each time, killed one step later
				w.deleteImages = true
				e.plan(w)
				w.load(t)
				want := w.expect()
				_, err := e.Cleanup(t.Context(), true) // takes the folders into use
				require.NoError(t, err)

				cmd := exec.CommandContext(t.Context(), os.Args[0])
				cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d|%d|%t|%s|%s", killAt, step, w.days, w.deleteImages, dir, url))
				output, err := cmd.CombinedOutput()
				if err == nil {
					done.Store(true) // it had no such step
				} else {
					status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus)
					require.True(t, ok && status.Signal() == syscall.SIGKILL, "%v: %s", err, output)
					kills.Add(1)
				}

				e = setupIn(t, db, dir) // the next start
				e.plan(w)
				e.cleanupWhenFree(t)
				w.check(t, want)
				if t.Failed() {
					t.Logf("killed at step %d", step)
				}
			}
		})
	}
}
