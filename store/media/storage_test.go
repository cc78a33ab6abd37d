package media_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"hsi.home.arpa/internal/await"
	"hsi.home.arpa/store/media"
	"hsi.home.arpa/store/storetest"
)

// onDisk counts the files of a folder by hand.
func onDisk(t *testing.T, dir string) media.Figure {
	t.Helper()
	var figure media.Figure
	require.NoError(t, filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() || strings.HasPrefix(entry.Name(), ".") {
			return err
		}
		info, err := entry.Info()
		figure.FileCount++
		figure.SizeBytes += info.Size()
		return err
	}))
	return figure
}

func withoutTime(figure media.Figure) media.Figure {
	figure.AsOf = time.Time{}
	return figure
}

func (e *env) awaitCounted(t *testing.T) {
	t.Helper()
	await.Value(t, e.Counted(), "nothing was counted")
}

func TestStorage_ExactWhileFilesComeAndGo(t *testing.T) {
	t.Parallel()
	e := setup(t)
	for i := range 50 {
		e.write(t, fmt.Sprint("before the count ", i))
	}
	require.NoError(t, os.WriteFile(filepath.Join(e.thumbnails, "12_thumb.jpg"), []byte("not ours"), 0o600))
	require.NoError(t, os.MkdirAll(filepath.Join(e.thumbnails, "ab"), 0o750))
	require.NoError(t, os.WriteFile(filepath.Join(e.thumbnails, "ab", ".tmp-ab00000000000000"), []byte("being written"), 0o600))
	e.run(t)

	var writers sync.WaitGroup
	for writer := range 4 {
		writers.Go(func() {
			random := rand.New(rand.NewPCG(1, uint64(writer)))
			for range 60 {
				path, err := e.Write(t.Context(), "x.jpg", make([]byte, random.IntN(2000)))
				if err != nil {
					t.Errorf("write: %v", err)
					return
				}
				if random.IntN(2) == 0 {
					e.mark(t, media.Mark{Kind: media.Thumbnail, Path: path})
				}
				if random.IntN(10) == 0 {
					if _, err := e.Sweep(t.Context()); err != nil {
						t.Errorf("sweep: %v", err)
					}
				}
			}
		})
	}
	writers.Wait()
	_, err := e.Sweep(t.Context())
	require.NoError(t, err)
	e.awaitCounted(t)

	report, err := e.Storage()
	require.NoError(t, err)
	require.Equal(t, onDisk(t, e.thumbnails), withoutTime(report.Thumbnails))
	require.Equal(t, onDisk(t, e.clips), withoutTime(report.Clips))
	require.NotZero(t, report.Thumbnails.FileCount)
}

func TestStorage_DiskAndTime(t *testing.T) {
	t.Parallel()
	e := setup(t)
	_, err := e.Storage()
	require.ErrorIs(t, err, media.ErrUnavailable, "nothing was looked at yet")
	began := time.Now()
	e.run(t)
	e.awaitCounted(t)

	var report media.Report
	await.True(t, func() bool { // others use the disk too: the figures agree in a moment in which nobody writes
		var err error
		report, err = e.Storage()
		require.NoError(t, err)
		var stat unix.Statfs_t
		require.NoError(t, unix.Statfs(e.thumbnails, &stat))
		require.Equal(t, int64(stat.Blocks)*stat.Frsize, report.DiskTotalBytes)
		return report.DiskFreeBytes == int64(stat.Bavail)*stat.Frsize &&
			report.DiskUsedBytes == int64(stat.Blocks-stat.Bfree)*stat.Frsize
	})
	require.InDelta(t, float64(report.DiskUsedBytes)/float64(report.DiskTotalBytes)*100, report.DiskUsagePercent, 0.005001)
	for _, figure := range []media.Figure{report.Thumbnails, report.Clips, report.Images} {
		require.False(t, figure.AsOf.Before(report.At), "At is the oldest part")
	}
	require.False(t, report.At.Before(began))
}

func TestStorage_ImagesAreCountedByAWalk(t *testing.T) {
	t.Parallel()
	e := setup(t, func(o *media.Options) {
		o.Thumbnails = filepath.Join(o.Cameras, "thumbnails") // a folder of ours below the cameras'
	})
	put := func(name, content string) {
		path := filepath.Join(e.cameras, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o750))
		require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
	}
	put("front/a.jpg", "12")
	put("front/2026/11/23/b.jpg", "345")
	put("back/\xff\xfe.jpg", "6")
	outside := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(outside, "huge.jpg"), make([]byte, 1000), 0o600))
	require.NoError(t, os.Symlink(outside, filepath.Join(e.cameras, "front", "link")))
	require.NoError(t, os.Symlink(filepath.Join(outside, "huge.jpg"), filepath.Join(e.cameras, "front", "link.jpg")))
	require.NoError(t, os.Symlink("..", filepath.Join(e.cameras, "front", "loop")))
	require.NoError(t, unix.Mkfifo(filepath.Join(e.cameras, "front", "pipe"), 0o600))
	_, err := e.Write(t.Context(), "thumbnail.jpg", make([]byte, 5000))
	require.NoError(t, err)
	e.run(t)
	e.awaitCounted(t)

	report, err := e.Storage()
	require.NoError(t, err)
	require.Equal(t, media.Figure{FileCount: 3, SizeBytes: 6}, withoutTime(report.Images))

	put("front/c.jpg", "7890")
	await.True(t, func() bool {
		report, err := e.Storage()
		return err == nil && withoutTime(report.Images) == media.Figure{FileCount: 4, SizeBytes: 10}
	})

	// A vanished folder is unknown, not empty: the last figure stays with its time, and the state
	// says so.
	last, err := e.Storage()
	require.NoError(t, err)
	require.NoError(t, os.Rename(filepath.Join(e.cameras, "thumbnails"), filepath.Join(outside, "thumbnails")))
	require.NoError(t, os.Rename(e.cameras, e.cameras+".away"))
	await.True(t, func() bool {
		ok, message := e.Health()
		return !ok && contains(message, "the image folder is missing") && !contains(message, e.cameras)
	})
	report, err = e.Storage()
	if err == nil { // the disk of the thumbnails is gone too, as soon as that was noticed
		require.Equal(t, withoutTime(last.Images), withoutTime(report.Images))
	}
}

func TestStorage_FigureKeepsItsTimeWhileTheFolderIsAway(t *testing.T) {
	t.Parallel()
	e := setup(t)
	e.write(t, "one")
	_, err := e.WriteClip(t.Context(), "c.mp4", []byte("clip"))
	require.NoError(t, err)
	e.run(t)
	e.awaitCounted(t)
	require.NoError(t, os.Rename(e.clips, e.clips+".away"))
	await.True(t, func() bool { ok, _ := e.Health(); return !ok })
	first, err := e.Storage()
	require.NoError(t, err)
	await.True(t, func() bool {
		later, err := e.Storage()
		return err == nil && later.Thumbnails.AsOf.After(first.Thumbnails.AsOf)
	})
	later, err := e.Storage()
	require.NoError(t, err)
	require.Equal(t, first.Clips, later.Clips)
	require.False(t, later.At.After(first.Clips.AsOf))

	// Files that came while it was away are found when it is back.
	require.NoError(t, os.WriteFile(filepath.Join(e.clips+".away", "new.mp4"), []byte("12345"), 0o600))
	require.NoError(t, os.Rename(e.clips+".away", e.clips))
	await.True(t, func() bool {
		report, err := e.Storage()
		return err == nil && withoutTime(report.Clips) == media.Figure{FileCount: 2, SizeBytes: 9}
	})
}

func TestStorage_NextStartAnswersFromKeptFigures(t *testing.T) {
	t.Parallel()
	e := setup(t)
	e.write(t, "123")
	require.NoError(t, os.WriteFile(filepath.Join(e.cameras, "a.jpg"), []byte("45"), 0o600))
	stop := e.run(t)
	e.awaitCounted(t)
	e.write(t, "6789")
	stop()
	kept := storetest.QueryOne[int64](t, e.db, `SELECT size_bytes FROM media_folders WHERE kind = 'thumbnail'`)
	require.Equal(t, int64(7), kept, "also what came after the count")
	// Old figures that are wrong by now, to tell them from fresh ones.
	storetest.Exec(t, e.db, `UPDATE media_folders SET size_bytes = 1000, counted_at = '2026-01-01 00:00Z'`)

	next := setupIn(t, e.db, filepath.Dir(e.thumbnails), func(o *media.Options) { o.ImagesPerSecond = 1 })
	require.NoError(t, os.WriteFile(filepath.Join(e.cameras, "b.jpg"), []byte("x"), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(e.cameras, "c.jpg"), []byte("x"), 0o600))
	next.run(t)
	await.True(t, func() bool {
		report, err := next.Storage()
		return err == nil && withoutTime(report.Thumbnails).SizeBytes == 7
	})
	report, err := next.Storage()
	require.NoError(t, err)
	if report.Images.SizeBytes == 1000 { // the gentle walk takes seconds
		require.Equal(t, time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), report.At)
	}
}

// What was counted in one camera folder says nothing about another one.
func TestStorage_KeptFigureOfAnotherCameraFolderIsNotShown(t *testing.T) {
	t.Parallel()
	e := setup(t)
	stop := e.run(t)
	e.awaitCounted(t)
	stop()
	other := filepath.Join(filepath.Dir(e.cameras), "not mounted")
	next := setupIn(t, e.db, filepath.Dir(e.thumbnails), func(o *media.Options) { o.Cameras = other })
	next.run(t)
	await.True(t, func() bool {
		ok, message := next.Health()
		return !ok && contains(message, "the image folder is missing")
	})
	_, err := next.Storage()
	require.ErrorIs(t, err, media.ErrUnavailable)
}

func TestHealth_FullDisk(t *testing.T) {
	t.Parallel()
	e := setup(t, func(o *media.Options) { o.MinFreeBytes = 1 << 62 })
	e.write(t, "the disk is not really full")
	e.run(t)
	await.True(t, func() bool {
		ok, message := e.Health()
		return !ok && contains(message, "full disk")
	})
	e.awaitCounted(t)
	_, err := e.Storage()
	require.NoError(t, err, "a full disk can be counted")
}

func TestHealth_SaysWhenNobodyLooks(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	offset := time.Duration(0)
	e := setup(t, func(o *media.Options) {
		o.Now = func() time.Time { mu.Lock(); defer mu.Unlock(); return time.Now().Add(offset) }
	})
	stop := e.run(t)
	await.True(t, func() bool { ok, _ := e.Health(); return ok })
	stop()
	mu.Lock()
	offset = time.Minute
	mu.Unlock()
	ok, message := e.Health()
	require.False(t, ok)
	require.Contains(t, message, "do not answer")
	_, err := e.Storage()
	require.ErrorIs(t, err, media.ErrUnavailable)
}

func TestRun_Twice(t *testing.T) {
	t.Parallel()
	e := setup(t)
	e.run(t)
	await.True(t, func() bool { ok, _ := e.Health(); return ok })
	require.Error(t, e.Run(t.Context()))
}
