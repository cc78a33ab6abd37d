//go:build e2e

package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"image"
	"image/jpeg"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"hsi.home.arpa/pipeline/aitest"
)

// Very many images of one camera wait, many more come at once, and the detector is slow. The
// server's memory stays bounded, the probes answer as ever, and the image of another camera does
// not wait for the flood.
func TestFault_Flood(t *testing.T) {
	t.Parallel()
	waiting, files := inForm(5_000, 100_000), inForm(500, 20_000)
	w := newWorld(t)
	prepared := filepath.Join(reachableDir(t), "noisy")
	writeSmallImages(t, prepared, files)
	w.feed(8, usual)
	w.waitFinished()
	before := w.peakMiB()
	w.Detector.SetBehaviour(aitest.Delay(100 * time.Millisecond))
	// What waits is one file again and again, each time as another upload: nobody looks at the
	// time of a file that is recorded.
	result, err := w.Database.ExecContext(t.Context(), `
		INSERT INTO images (camera_id, file_path, size_bytes, mtime, sha256)
		SELECT camera_id, file_path, size_bytes, mtime - n * interval '1 second', sha256
		FROM images, generate_series(1, $1) AS n WHERE id = (SELECT min(id) FROM images WHERE camera_id = 'garage')`, waiting)
	require.NoError(t, err)
	inserted, err := result.RowsAffected()
	require.NoError(t, err)
	require.EqualValues(t, waiting, inserted)
	require.NoError(t, os.Rename(prepared, filepath.Join(w.Cameras.Root, "noisy")))

	begun := time.Now()
	var took []time.Duration
	probe := func() {
		asked := time.Now()
		seen := w.look()
		took = append(took, time.Since(asked))
		require.Equal(t, 200, seen.alive)
		require.Equal(t, "ready", seen.readiness, "%+v", seen)
	}
	recorded := func() int { return int(w.count("SELECT count(*) FROM images WHERE camera_id = 'noisy'")) }
	w.eventually("some are recorded", func() bool { probe(); return recorded() >= files/10 })
	require.GreaterOrEqual(t, w.queues()[0], int64(waiting/2), "images wait")
	// Each of the other cameras brings one image now.
	const detected = "SELECT count(*) FROM detections WHERE camera_id = 'front_door'"
	old := w.count(detected)
	w.feed(len(runCameras), person)
	quiet := w.eventually("the front door's image is detected",
		func() bool { probe(); return w.count(detected) > old })
	require.Positive(t, w.queues()[0], "the flood has not gone before")
	for soFar := recorded(); soFar < files; soFar = recorded() {
		w.eventually("more are recorded",
			func() bool { probe(); return recorded() >= min(files, soFar+1000) })
	}
	after := time.Since(begun)
	slices.Sort(took)
	measured(t, "flood", "memory bounded, probes as ever, other cameras not starved", never, quiet)
	t.Logf("%d images waited and %d came, all recorded after %v; peak memory %d MiB, %d before; %d times three probes p50 %v, p99 %v, slowest %v",
		waiting, files, after.Round(time.Millisecond), w.peakMiB(), before, len(took), took[len(took)/2], took[len(took)*99/100], took[len(took)-1])
	require.Less(t, w.peakMiB()-before, 200, "MiB more than before")
	w.stop()
}

// writeSmallImages writes images of some hundred bytes each into a new folder, no two alike.
func writeSmallImages(tb testing.TB, folder string, count int) {
	tb.Helper()
	require.NoError(tb, os.MkdirAll(folder, 0o755))
	var small bytes.Buffer
	require.NoError(tb, jpeg.Encode(&small, image.NewGray(image.Rect(0, 0, 16, 16)), nil))
	// A comment with a number behind the start of the file makes it another image.
	file := slices.Concat(small.Bytes()[:2], []byte{0xff, 0xfe, 0, 10, 0, 0, 0, 0, 0, 0, 0, 0},
		small.Bytes()[2:])
	for i := range count {
		binary.BigEndian.PutUint64(file[6:], uint64(i))
		require.NoError(tb, os.WriteFile(filepath.Join(folder, fmt.Sprintf("IMG_%06d.jpg", i)),
			file, 0o644))
	}
}
