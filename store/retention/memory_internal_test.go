package retention

import (
	"context"
	"math"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"hsi.home.arpa/embedded/embeddedtest"
	"hsi.home.arpa/internal/nightly"
	"hsi.home.arpa/store/storetest"
)

// TestCleanup_MemoryDoesNotGrowWithRows measures what is alive on the heap at each step of a run,
// for a history and for one eight or sixteen times as long: first in events of five detections,
// then all in one event. What happens to be in flight at the worst moment differs by a megabyte
// from run to run, and it can only add, so the smallest of a few runs counts.
func TestCleanup_MemoryDoesNotGrowWithRows(t *testing.T) { //nolint:paralleltest // other tests would be in the figures
	const (
		few        = 1_000
		slackBytes = 1 << 20 // 70 bytes for each row in the long form
		attempts   = 3
	)
	many := nightly.Pick(8_000, 16_000)
	for name, oneEvent := range map[string]bool{"ManyEvents": false, "OneLargeEvent": true} {
		t.Run(name, func(t *testing.T) {
			small, smallRows := peak(t, few, oneEvent)
			large := uint64(math.MaxUint64)
			for range attempts {
				bytes, largeRows := peak(t, many, oneEvent)
				require.LessOrEqual(t, largeRows, int64(110), "BatchSize is 100, and a last event may go over it")
				t.Logf("peak of the live heap: %d kB for %d rows, %d kB for %d; most rows in a transaction: %d, %d",
					small>>10, few, bytes>>10, many, smallRows, largeRows)
				if large = min(large, bytes); large < small+slackBytes {
					break
				}
			}
			require.Less(t, large, small+slackBytes)
		})
	}
}

// peak runs a cleanup of so many detections and returns the largest live heap seen in bytes, beyond
// what was alive before, and the most detections that one transaction deleted.
func peak(t *testing.T, rows int, oneEvent bool) (peakBytes uint64, mostRows int64) {
	t.Helper()
	e := history(t, embeddedtest.TempDir(t), rows)
	e.options.BatchSize = 100
	e.Service.options.BatchSize = 100
	if oneEvent {
		storetest.Exec(t, e.db, `UPDATE detections SET event_id = 1`)
	}
	before := liveBytes()
	peakBytes = before
	left := int64(rows)
	e.step = func(_ context.Context, name string) {
		if name == "before commit" || name == "before sweep" {
			peakBytes = max(peakBytes, liveBytes())
		}
		if name == "after commit" {
			now := storetest.Query[int64](t, e.db, `SELECT count(*) FROM detections`)[0] //nolint:contextcheck // the test has one
			mostRows = max(mostRows, left-now)
			left = now
		}
	}
	report, err := e.Cleanup(t.Context(), false)
	require.NoError(t, err)
	require.Equal(t, int64(rows), report.DetectionsDeleted)
	require.Equal(t, int64(rows), report.ThumbnailsDeleted)
	require.Zero(t, storetest.Query[int64](t, e.db, `SELECT count(*) FROM detections`)[0])
	require.Zero(t, storetest.Query[int64](t, e.db, `SELECT count(*) FROM events`)[0])
	return peakBytes - before, mostRows
}

func liveBytes() uint64 {
	runtime.GC()
	runtime.GC() // what is kept in pools, or has a finalizer, goes with the second one
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.HeapAlloc
}
