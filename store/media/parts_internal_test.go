package media

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"hsi.home.arpa/internal/await"
	"hsi.home.arpa/store/storetest"
)

// plant makes files below a folder. A name that ends with a slash is a folder.
func plant(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, content := range files {
		path := filepath.Join(dir, name)
		if strings.HasSuffix(name, "/") {
			require.NoError(t, os.MkdirAll(path, 0o750))
			continue
		}
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o750))
		require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
	}
}

func openRoot(t *testing.T, dir string) *os.Root {
	t.Helper()
	root, err := os.OpenRoot(dir)
	require.NoError(t, err)
	t.Cleanup(func() { _ = root.Close() })
	return root
}

func TestFolders_Inspect(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	plant(t, dir, map[string]string{"a.jpg": "1", "front/b.jpg": "22", "front/deep/c.jpg": "333", "front/folder/": ""})
	require.NoError(t, os.Symlink("b.jpg", filepath.Join(dir, "front/link.jpg")))
	require.NoError(t, os.Symlink("front", filepath.Join(dir, "linked")))
	r, err := newRoot(Image, dir, false)
	require.NoError(t, err)
	f, err := openFolders(r)
	require.NoError(t, err)
	defer f.close()
	for range 2 { // the second time from what is kept open
		for rel, size := range map[string]int64{"a.jpg": 1, "front/b.jpg": 2, "front/deep/c.jpg": 3} {
			found, err := f.inspect(rel, true)
			require.NoError(t, err, rel)
			require.Equal(t, fileRegular, found.state, rel)
			require.Equal(t, size, found.sizeBytes, rel)
			require.WithinDuration(t, time.Now(), found.modTime, time.Minute)
		}
		for rel, state := range map[string]fileState{
			"none.jpg": fileMissing, "front/none.jpg": fileMissing, "front/folder": fileOther, "front/link.jpg": fileOther,
			"linked/b.jpg": fileOther, "a.jpg/b.jpg": fileOther, "front/" + strings.Repeat("x", 300): fileOther,
			strings.Repeat("x", 300) + "/a.jpg": fileOther,
		} {
			for _, parentMustExist := range []bool{false, true} {
				found, err := f.inspect(rel, parentMustExist)
				require.NoError(t, err, rel)
				require.Equal(t, state, found.state, rel)
			}
		}
		found, err := f.inspect("back/deep/b.jpg", false)
		require.NoError(t, err)
		require.Equal(t, fileMissing, found.state)
		_, err = f.inspect("back/deep/b.jpg", true)
		require.ErrorContains(t, err, `"back/deep" is missing`)
	}
	for i := range maxParents + 10 { // no more than so many are held open
		_, err := f.inspect(fmt.Sprintf("folder%d/a.jpg", i), false)
		require.NoError(t, err)
		require.LessOrEqual(t, len(f.parents), maxParents)
	}
	found, err := f.inspect("front/b.jpg", true)
	require.NoError(t, err)
	require.NoError(t, f.remove(found))
	require.ErrorIs(t, f.remove(found), fs.ErrNotExist)
	require.NoFileExists(t, filepath.Join(dir, "front/b.jpg"))
}

func TestParentState(t *testing.T) {
	t.Parallel()
	for errno, want := range map[syscall.Errno]fileState{
		syscall.ENOENT: fileMissing, syscall.ENOTDIR: fileOther, syscall.ELOOP: fileOther, syscall.ENAMETOOLONG: fileOther,
	} {
		state, reason := parentState(errno)
		require.Equal(t, want, state, errno)
		require.NoError(t, reason, errno)
	}
	_, reason := parentState(syscall.EACCES)
	require.ErrorIs(t, reason, syscall.EACCES, "what cannot be seen is not missing")
	calls := 0
	require.ErrorIs(t, retrying(func() error {
		if calls++; calls < 3 {
			return syscall.EINTR
		}
		return syscall.EIO
	}), syscall.EIO)
	require.Equal(t, 3, calls)
}

func TestOpenKinds_AsksOnce(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cameras, err := newRoot(Image, filepath.Join(dir, "cameras"), false)
	require.NoError(t, err)
	kinds := openKinds{store: &Store{cameras: cameras}}
	_, err = kinds.get(t.Context(), Image)
	require.ErrorIs(t, err, ErrUnavailable)
	require.NoError(t, os.Mkdir(cameras.path, 0o750))
	_, again := kinds.get(t.Context(), Image)
	require.Equal(t, err, again, "one piece of work sees one state")
	kinds.close()
	opened, err := kinds.get(t.Context(), Image)
	require.NoError(t, err)
	same, err := kinds.get(t.Context(), Image)
	require.NoError(t, err)
	require.Same(t, opened, same)
	kinds.close()
	require.Empty(t, kinds.open)
}

func TestWalker(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	plant(t, dir, map[string]string{"a.jpg": "1", "front/b.jpg": "22", "front/deep/c.jpg": "333", "skipped/d.jpg": "4", "empty/": ""})
	require.NoError(t, os.Symlink("front", filepath.Join(dir, "linked")))
	require.NoError(t, os.Symlink("a.jpg", filepath.Join(dir, "link.jpg")))
	var visited []string
	paced := 0
	w := walker{
		dir: openRoot(t, dir),
		visit: func(rel string, info fs.FileInfo) error {
			visited = append(visited, fmt.Sprint(rel, " ", info.Size()))
			return nil
		},
		enter: func(rel string, _ fs.FileInfo) bool { return rel != "skipped" },
		pace:  func(entries int) error { paced += entries; return nil },
	}
	require.NoError(t, w.walk(t.Context(), "."))
	require.ElementsMatch(t, []string{"a.jpg 1", "front/b.jpg 2", "front/deep/c.jpg 3"}, visited)
	require.Equal(t, 9, paced, "what is passed over costs time too")
	require.Zero(t, w.unreadable.count)

	visited, w.enter, w.pace = nil, nil, nil
	require.NoError(t, w.walk(t.Context(), "front"))
	require.ElementsMatch(t, []string{"front/b.jpg 2", "front/deep/c.jpg 3"}, visited)
	require.ErrorIs(t, w.walk(t.Context(), "none"), fs.ErrNotExist, "the start must be there")

	odd := errors.New("odd")
	w.enter = func(rel string, _ fs.FileInfo) bool { // gone between the listing and the visit
		require.NoError(t, os.RemoveAll(filepath.Join(dir, rel)))
		return true
	}
	require.NoError(t, w.walk(t.Context(), "front"))
	require.Zero(t, w.unreadable.count)
	w.pace = func(int) error { return odd }
	require.ErrorIs(t, w.walk(t.Context(), "."), odd)
	w.pace, w.visit = nil, func(string, fs.FileInfo) error { return odd }
	require.ErrorIs(t, w.walk(t.Context(), "."), odd)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, w.walk(ended, "empty"), fs.ErrNotExist, "removed above")
	plant(t, dir, map[string]string{"empty/": ""})
	require.ErrorIs(t, w.walk(ended, "empty"), context.Canceled)
}

func TestPacer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		rate := pacer{perSecond: 1000}
		began := time.Now()
		wait := rate.wait(ctx)
		require.NoError(t, wait(1))
		require.Zero(t, time.Since(began), "not for a millisecond")
		require.NoError(t, wait(499))
		require.Equal(t, 500*time.Millisecond, time.Since(began))
		<-time.After(time.Second)
		require.NoError(t, wait(1000))
		require.Equal(t, 1500*time.Millisecond, time.Since(began), "what is behind need not wait")
		cancel()
		require.ErrorIs(t, wait(1000), context.Canceled)
	})
}

func TestMarker(t *testing.T) {
	t.Parallel()
	read := func(content string) (string, error) {
		dir := t.TempDir()
		plant(t, dir, map[string]string{markerName: content})
		return readMarker(openRoot(t, dir))
	}
	id, err := read(" id \n")
	require.NoError(t, err)
	require.Equal(t, "id", id)
	id, err = read(strings.Repeat("x", maxMarkerBytes))
	require.NoError(t, err)
	require.Len(t, id, maxMarkerBytes)
	for _, content := range []string{"", " \n", strings.Repeat("x", maxMarkerBytes+1)} {
		_, err := read(content)
		require.Error(t, err, "%d bytes", len(content))
	}
	dir := t.TempDir()
	root := openRoot(t, dir)
	_, err = readMarker(root)
	require.ErrorIs(t, err, fs.ErrNotExist)
	plant(t, dir, map[string]string{markerName + ".tmp": "left by a crash", markerName: "damaged"})
	require.NoError(t, writeMarker(root, "new"))
	id, err = readMarker(root)
	require.NoError(t, err)
	require.Equal(t, "new", id)
	require.NoFileExists(t, filepath.Join(dir, markerName+".tmp"))
	require.NoError(t, os.Remove(filepath.Join(dir, markerName)))
	plant(t, dir, map[string]string{markerName + "/": ""})
	_, err = readMarker(root)
	require.ErrorContains(t, err, "not a small regular file")
	require.Error(t, writeMarker(root, "new"))
}

func TestEnsureShard(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	root := openRoot(t, dir)
	require.NoError(t, ensureShard(root, "ab"))
	require.NoError(t, ensureShard(root, "ab"))
	require.DirExists(t, filepath.Join(dir, "ab"))
	plant(t, dir, map[string]string{"cd": "a file"})
	require.ErrorContains(t, ensureShard(root, "cd"), "not a folder")
	require.Error(t, ensureShard(root, strings.Repeat("x", 300)))
	require.NoError(t, writeFileDurably(root, "ab/new", []byte("x")))
	require.ErrorIs(t, writeFileDurably(root, "ab/new", []byte("y")), fs.ErrExist)
	content, err := root.ReadFile("ab/new")
	require.NoError(t, err)
	require.True(t, bytes.Equal([]byte("x"), content))
	require.Error(t, syncDir(root, "none"))
}

func TestTally(t *testing.T) {
	t.Parallel()
	const shards = shardCount + 1
	at := time.Unix(1000, 0)
	tally := newTally()
	require.True(t, tally.needsCount())
	_, known := tally.figure()
	require.False(t, known)
	tally.start(Figure{FileCount: 7, SizeBytes: 70, AsOf: at})
	figure, known := tally.figure()
	require.True(t, known)
	require.Equal(t, Figure{FileCount: 7, SizeBytes: 70, AsOf: at}, figure, "what an earlier process knew")

	count := func(files, bytes int64, err error) func() (int64, int64, error) {
		return func() (int64, int64, error) { return files, bytes, err }
	}
	odd := errors.New("odd")
	for name := range tally.shards {
		require.ErrorIs(t, tally.recount(t.Context(), name, count(9, 9, odd)), odd)
		require.NoError(t, tally.recount(t.Context(), name, count(2, 20, nil)))
		require.NoError(t, tally.recount(t.Context(), name, count(1, 10, nil)), "twice is not double")
	}
	figure, _ = tally.figure()
	require.EqualValues(t, 7, figure.FileCount, "not before it is known to be whole")
	tally.counted(at.Add(time.Second))
	require.False(t, tally.needsCount())
	whole := Figure{FileCount: shards, SizeBytes: 10 * shards, AsOf: at.Add(time.Second)}
	figure, _ = tally.figure()
	require.Equal(t, whole, figure)

	require.ErrorIs(t, tally.change(t.Context(), "ab", func() error { return odd }, 1, 5), odd)
	figure, _ = tally.figure()
	require.Equal(t, whole, figure, "what failed is not counted")
	require.NoError(t, tally.change(t.Context(), "ab", func() error { return nil }, 1, 5))
	require.NoError(t, tally.recount(t.Context(), "ab", count(2, 15, nil)), "what came is found, not added")
	figure, _ = tally.figure()
	require.Equal(t, Figure{FileCount: shards + 1, SizeBytes: 10*shards + 5, AsOf: whole.AsOf}, figure)

	tally.seen(at.Add(2*time.Second), true)
	tally.seen(at.Add(3*time.Second), false)
	tally.seen(at.Add(4*time.Second), true)
	figure, _ = tally.figure()
	require.Equal(t, at.Add(2*time.Second), figure.AsOf, "after an absence it is counted first")
	require.True(t, tally.needsCount())

	ended, cancel := context.WithCancel(t.Context())
	cancel()
	require.NoError(t, tally.shards["ab"].lock.acquire(t.Context()))
	require.ErrorIs(t, tally.change(ended, "ab", func() error { return nil }, 1, 5), context.Canceled)
	require.ErrorIs(t, tally.recount(ended, "ab", count(0, 0, nil)), context.Canceled)

	for rel, want := range map[string]string{
		"ab/x.jpg": "ab", "ab": "", "front/ab/x.jpg": "", "AB/x.jpg": "", "ab/cd/x.jpg": "ab", "/ab/x.jpg": "",
	} {
		require.Equal(t, want, tally.shardOf(rel), rel)
	}
}

func TestHealth_HowLongALookCounts(t *testing.T) {
	t.Parallel()
	at := time.Unix(1000, 0)
	now := at
	s := &Store{now: func() time.Time { return now }, options: Options{CheckInterval: time.Second}}
	ok, message := s.Health()
	require.False(t, ok)
	require.Contains(t, message, "not looked at yet")
	s.condition.Store(&condition{at: at})
	now = at.Add(6 * time.Second)
	ok, _ = s.Health()
	require.True(t, ok)
	_, err := s.Storage()
	require.ErrorContains(t, err, "size of the disk")
	now = now.Add(1)
	ok, message = s.Health()
	require.False(t, ok)
	require.Contains(t, message, "do not answer since 1970-01-01T00:16:40Z")
	_, err = s.Storage()
	require.ErrorContains(t, err, "no answer since")
	require.ErrorIs(t, err, ErrUnavailable)
}

// A disk may hang before it ever answered. The end does not wait for it.
func TestWatchCondition_EndsWhileTheFirstLookHangs(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, err := New(Options{DB: storetest.New(t), Thumbnails: filepath.Join(dir, "thumbnails"), Clips: filepath.Join(dir, "clips"), Cameras: dir})
	require.NoError(t, err)
	s.images.mu.Lock() // a look needs it and hangs, as on a disk that does not answer
	defer s.images.mu.Unlock()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	done := make(chan error, 1)
	go func() { done <- s.watchCondition(ctx) }()
	require.NoError(t, await.Value(t, done, "it waits for the look"))
	require.Nil(t, s.condition.Load())
}

func TestWriteState(t *testing.T) {
	t.Parallel()
	var w writeState
	_, failed := w.problem(Thumbnail)
	require.False(t, failed)
	w.note(Thumbnail, errors.New("odd"))
	_, failed = w.problem(Thumbnail)
	require.False(t, failed, "not the disk's fault")
	w.note(Thumbnail, fmt.Errorf("write: %w", syscall.ENOSPC))
	w.note(Clip, fmt.Errorf("write: %w", syscall.EROFS))
	why, failed := w.problem(Thumbnail)
	require.True(t, failed)
	require.Equal(t, "no space left on device", why)
	w.note(Thumbnail, nil)
	_, failed = w.problem(Thumbnail)
	require.False(t, failed)
	_, failed = w.problem(Clip)
	require.True(t, failed)
}

func TestPercent(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		part, total int64
		want        float64
	}{{0, 0, 0}, {1, -1, 0}, {1, 3, 33.33}, {2, 3, 66.67}, {5, 5, 100}, {0, 5, 0}} {
		require.InDelta(t, test.want, percent(test.part, test.total), 0)
	}
}

func TestRelative(t *testing.T) {
	t.Parallel()
	r, err := newRoot(Thumbnail, "/media/thumbs", true)
	require.NoError(t, err)
	for path, want := range map[string]string{
		"ab/x.jpg": "ab/x.jpg", "/media/thumbs/ab/x.jpg": "ab/x.jpg", "x.jpg": "x.jpg",
		"": "", ".": "", "..": "", "../x.jpg": "", "ab/../x.jpg": "", "ab//x.jpg": "", "./x.jpg": "", "/media/thumbs": "", "/media/thumbs/": "",
		"/media/thumbsx/x.jpg": "", "/other/x.jpg": "", ownPrefix + "x": "", "ab/x\x00.jpg": "", "/media/thumbs/../x.jpg": "", "ab/": "",
	} {
		rel, ok := r.relative(path)
		require.Equal(t, want, rel, "%q", path)
		require.Equal(t, want != "", ok, "%q", path)
	}
}

func TestParts_NamesTheFirst(t *testing.T) {
	t.Parallel()
	var p parts
	for i, want := range []string{
		`"0": odd`, `"0": odd, "1": odd`, `"0": odd, "1": odd, "2": odd`, `"0": odd, "1": odd, "2": odd and 1 more`,
		`"0": odd, "1": odd, "2": odd and 2 more`,
	} {
		p.add(fmt.Sprint(i), &fs.PathError{Op: "open", Path: "/private", Err: errors.New("odd")})
		require.Equal(t, want, p.String())
	}
}
