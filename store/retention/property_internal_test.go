package retention

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"hsi.home.arpa/embedded/embeddedtest"
	"hsi.home.arpa/internal/await"
	"hsi.home.arpa/internal/nightly"
	"hsi.home.arpa/store/storetest"
)

// seeds is how many random states are tried; HSI_RETENTION_SEEDS says another number.
func seeds(t *testing.T) uint64 {
	t.Helper()
	text := os.Getenv("HSI_RETENTION_SEEDS")
	if text == "" {
		return nightly.Pick[uint64](50, 1000)
	}
	n, err := strconv.ParseUint(text, 10, 64)
	require.NoError(t, err)
	return n
}

// TestCleanup_RandomStates compares the dry run, the real run and a model of both over random
// states.
func TestCleanup_RandomStates(t *testing.T) {
	t.Parallel()
	const workers = 2
	var next atomic.Uint64
	last := seeds(t)
	for worker := range workers {
		t.Run(fmt.Sprint("Worker", worker), func(t *testing.T) {
			t.Parallel()
			db := storetest.New(t)
			dir := embeddedtest.TempDir(t)
			for seed := next.Add(1); seed <= last && !t.Failed(); seed = next.Add(1) {
				e := setupIn(t, db, dir)
				w := newWorld(e, seed)
				e.plan(w)
				w.load(t)
				tryWorld(t, w, seed)
			}
		})
	}
}

// plan sets the service up for a world.
func (e *env) plan(w *world) {
	e.Service.options.RetentionDays = func(context.Context) (int, error) { return w.days, nil }
	e.Service.options.DeleteImages = w.deleteImages
	e.Service.options.BatchSize = 100
	if w.one(4) {
		e.Service.options.BatchSize = 1 + w.random.IntN(6)
	}
}

func tryWorld(t *testing.T, w *world, seed uint64) {
	t.Helper()
	want := w.expect()
	before := w.e.disk(t)

	dry, err := w.e.Cleanup(t.Context(), true)
	require.NoError(t, err, "seed %d", seed)
	wantDry := want.report
	wantDry.DryRun = true
	require.Equal(t, wantDry, dry, "seed %d", seed)
	require.Equal(t, before, w.e.disk(t), "a dry run touches nothing, seed %d", seed)

	if seed%4 == 0 { // interrupted somewhere, and then done again
		interrupt(t, w.e, w.random)
		w.e.cleanupWhenFree(t)
	} else {
		report, err := w.e.Cleanup(t.Context(), false)
		require.NoError(t, err, "seed %d", seed)
		require.Equal(t, want.report, report, "seed %d", seed)
	}
	w.check(t, want)
	if t.Failed() {
		t.Logf("seed %d", seed)
	}

	if seed%4 != 1 {
		return
	}
	again, err := w.e.Cleanup(t.Context(), false)
	require.NoError(t, err, "seed %d", seed)
	require.Equal(t, Report{RetentionDays: w.days, At: moment}, again, "nothing is left to do, seed %d", seed)
}

// interrupt ends a run at a random step.
func interrupt(t *testing.T, e *env, random *rand.Rand) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	left := random.IntN(20)
	e.step = func(context.Context, string) {
		if left == 0 {
			cancel()
		}
		left--
	}
	if _, err := e.Cleanup(ctx, false); err != nil {
		require.ErrorIs(t, err, context.Canceled)
	}
	e.step = func(context.Context, string) {}
}

// cleanupWhenFree runs a cleanup as soon as the server has noticed that the one before it is dead.
func (e *env) cleanupWhenFree(t *testing.T) (report Report) {
	t.Helper()
	await.True(t, func() bool {
		var err error
		report, err = e.Cleanup(t.Context(), false)
		if errors.Is(err, ErrRunning) {
			return false
		}
		require.NoError(t, err)
		return true
	})
	return report
}
