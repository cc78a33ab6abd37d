//go:build e2e

package main

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"hsi.home.arpa/internal/e2e"
)

// The disk of the thumbnails really runs full, is taken away and comes back, under a server that
// works. Where this user may mount nothing the same is done without a mount, as in the failure
// table.
func TestFault_MediaDisk(t *testing.T) {
	t.Parallel()
	w := prepareWorld(t)
	thumbnails := w.thumbnails
	require.NoError(t, os.MkdirAll(thumbnails, 0o755))
	disks := w.ownNamespace("80m", thumbnails)
	w.start()
	w.eventually("all is well", w.isWell)
	full, free := func() { w.limitFileSize(0) }, func() { w.limitFileSize(1 << 62) }
	away, back := func() {
		takeAway(w.tb, thumbnails,
			thumbnails+".aside")
	}, func() { bringBack(w.tb, thumbnails, thumbnails+".aside") }
	if disks != nil {
		w.thumbnails = disks.inside(thumbnails)
		filler := filepath.Join(w.thumbnails, "filler")
		full, free = func() { fill(w.tb, filler) }, func() { require.NoError(w.tb, os.Remove(filler)) }
		// An empty disk hides the one below it, as an empty folder stands where a disk was mounted.
		away = func() { disks.mount("1m", thumbnails) }
		back = func() {
			require.Empty(w.tb, w.filesBelow(), "written beside the disk")
			disks.unmount(thumbnails)
		}
	}
	w.feed(8, usual)
	w.waitFinished()

	storage := func(seen outlook) bool { return seen.services["storage"].Status == "degraded" }
	w.within("full", func() {
		w.play(failure{
			name: "media_disk_full", promise: "degraded, ready; no row without its file, images wait",
			begin: full, end: free, shows: storage, overall: "degraded", readiness: "ready",
		})
	})
	w.within("images wait", func() {
		w.waitFinished()
		full()
		defer free()
		before := w.stored()
		w.feed(12, person)
		w.waitRecorded()
		w.eventually("images wait for the disk", func() bool {
			return w.look().workers["detection_worker"] == "waiting for the thumbnail folder"
		})
		require.Equal(w.tb, before, w.stored(), "stored without thumbnails")
	})
	w.within("unmounted", func() {
		w.play(failure{
			name: "media_disk_unmounted", promise: "degraded, ready; nothing is written or deleted beside the disk",
			begin: away, end: back, shows: storage, overall: "degraded", readiness: "ready",
		})
	})
	w.waitFinished()
	w.requireAccounted(20)
	w.stop()
}

// filesBelow lists what lies in the thumbnail folder.
func (w *world) filesBelow() []string {
	w.tb.Helper()
	paths, err := e2e.FilesBelow(w.thumbnails)
	require.NoError(w.tb, err)
	return paths
}

// fill writes a file until the disk takes no more.
func fill(tb testing.TB, path string) {
	tb.Helper()
	file, err := os.Create(path)
	require.NoError(tb, err)
	defer file.Close()
	block := make([]byte, 1<<20)
	for size := len(block); size > 0; {
		if _, err = file.Write(block[:size]); err != nil {
			size /= 16
		}
	}
	require.ErrorIs(tb, err, syscall.ENOSPC)
}
