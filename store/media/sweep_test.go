package media_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/stretchr/testify/require"

	"hsi.home.arpa/internal/await"
	"hsi.home.arpa/store/media"
	"hsi.home.arpa/store/storetest"
)

func TestSweep_OnlyAfterACommittedMark(t *testing.T) {
	t.Parallel()
	e := setup(t)
	path := e.write(t, "x")
	refused := errors.New("changed my mind")
	err := e.db.InTx(t.Context(), "mark", func(ctx context.Context, tx *sqlx.Tx) error {
		return errors.Join(e.Mark(ctx, tx, []media.Mark{{Kind: media.Thumbnail, Path: path}}), refused)
	})
	require.ErrorIs(t, err, refused)

	removed, err := e.Sweep(t.Context())
	require.NoError(t, err)
	require.Zero(t, removed)
	require.FileExists(t, filepath.Join(e.thumbnails, path))
}

func TestSweep_RemovesWhatIsOursAndNothingElse(t *testing.T) {
	t.Parallel()
	e := setup(t)
	marked, absolute, named, namedAbsolute, gone := e.write(t, "12345"), e.write(t, "67"), e.write(t, "n"), e.write(t, "a"), e.write(t, "g")
	require.NoError(t, os.Remove(filepath.Join(e.thumbnails, gone)))
	e.name(t, named)
	e.name(t, filepath.Join(e.thumbnails, namedAbsolute))
	clip, err := e.WriteClip(t.Context(), "c.mp4", []byte("clip"))
	require.NoError(t, err)
	outside := filepath.Join(filepath.Dir(e.thumbnails), "outside.jpg")
	require.NoError(t, os.WriteFile(outside, []byte("outside"), 0o600))
	require.NoError(t, os.Symlink(outside, filepath.Join(e.thumbnails, "link.jpg")))
	require.NoError(t, os.Symlink(filepath.Dir(outside), filepath.Join(e.thumbnails, "folderlink")))
	inside := filepath.Join(e.thumbnails, "real")
	require.NoError(t, os.MkdirAll(inside, 0o750))
	require.NoError(t, os.WriteFile(filepath.Join(inside, "a.jpg"), []byte("a"), 0o600))
	require.NoError(t, os.Symlink("real", filepath.Join(e.thumbnails, "alias")))
	for _, path := range []string{
		marked, filepath.Join(e.thumbnails, absolute), named, namedAbsolute, gone, gone, "no/such/file.jpg",
		outside, "../outside.jpg", "./" + named, "a/../" + named, "", ".", "/", "/etc/hostname", ".hsi-media", strings.Repeat("x", 5000),
		"real", "link.jpg", "folderlink/outside.jpg", "alias/a.jpg",
	} {
		e.mark(t, media.Mark{Kind: media.Thumbnail, Path: path})
	}
	e.mark(t, media.Mark{Kind: media.Clip, Path: clip})
	before := tree(t, filepath.Dir(e.thumbnails))

	removed, err := e.Sweep(t.Context())

	require.NoError(t, err)
	require.Equal(t, media.Removed{Thumbnails: 2, Clips: 1, Bytes: 5 + 2 + 4, Failed: 5}, removed)
	for _, path := range []string{filepath.Join(e.thumbnails, marked), filepath.Join(e.thumbnails, absolute), filepath.Join(e.clips, clip)} {
		delete(before, path)
	}
	require.Equal(t, before, tree(t, filepath.Dir(e.thumbnails)))
	type failure struct {
		Path     string `db:"path"`
		Attempts int    `db:"attempts"`
		Reason   string `db:"last_error"`
	}
	left := storetest.Query[failure](t, e.db, `SELECT left(path, 20) AS path, attempts, last_error FROM media_deletions WHERE not_before > now() ORDER BY path COLLATE "C"`)
	require.Equal(t, []failure{
		{"alias/a.jpg", 1, "not a regular file"},
		{"folderlink/outside.j", 1, "not a regular file"},
		{"link.jpg", 1, "not a regular file"},
		{"real", 1, "not a regular file"},
		{strings.Repeat("x", 20), 1, "not a regular file"},
	}, left)
	require.Equal(t, len(left), e.marks(t))
}

func TestSweep_OriginalsOnlyWhileTheyAreTheOnesInTheLedger(t *testing.T) {
	t.Parallel()
	e := setup(t)
	type file struct {
		state            string
		change           func(path string) error
		removed, rowGone bool
	}
	files := map[string]file{
		"expired.jpg":    {state: "expired", removed: true, rowGone: true},
		"analyzed.jpg":   {state: "analyzed"},
		"larger.jpg":     {state: "expired", rowGone: true, change: func(path string) error { return os.WriteFile(path, []byte("larger"), 0o600) }},
		"newer.jpg":      {state: "expired", rowGone: true, change: func(path string) error { return os.Chtimes(path, time.Time{}, time.Now()) }},
		"gone.jpg":       {state: "expired", rowGone: true, change: os.Remove},
		"unmounted/.jpg": {state: "expired", change: func(path string) error { return os.RemoveAll(filepath.Dir(path)) }},
	}
	for name, f := range files {
		path := filepath.Join(e.cameras, "front", name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o750))
		require.NoError(t, os.WriteFile(path, []byte("abc"), 0o600))
		taken := time.Now().Add(-time.Hour).Truncate(time.Microsecond).Add(500 * time.Nanosecond)
		require.NoError(t, os.Chtimes(path, taken, taken))
		id := storetest.QueryOne[int64](t, e.db, `INSERT INTO images (camera_id, file_path, size_bytes, mtime, state)
			VALUES ('front', $1, 3, $2, $3) RETURNING id`, path, taken.UTC().Truncate(time.Microsecond), f.state)
		if f.change != nil {
			require.NoError(t, f.change(path))
		}
		e.mark(t, media.Mark{Kind: media.Image, Path: path, ImageID: id})
	}
	e.mark(t, media.Mark{Kind: media.Image, Path: filepath.Join(e.cameras, "front", "analyzed.jpg")}) // without a ledger row

	removed, err := e.Sweep(t.Context())

	require.NoError(t, err)
	require.Equal(t, media.Removed{Images: 1, Bytes: 3, Failed: 1}, removed)
	rows := storetest.Query[string](t, e.db, `SELECT file_path FROM images`)
	for name, f := range files {
		path := filepath.Join(e.cameras, "front", name)
		require.Equal(t, !f.rowGone, len(filter(rows, path)) == 1, name)
		if f.change == nil {
			require.Equal(t, f.removed, len(filter(keys(tree(t, e.cameras)), path)) == 0, name)
		}
	}
}

func TestMarkOrphans_FindsWhatACrashLeft(t *testing.T) {
	t.Parallel()
	clock := time.Now().Add(3 * time.Hour)
	e := setup(t, func(o *media.Options) { o.Now = func() time.Time { return clock } })
	orphan, named, marked := e.write(t, "orphan"), e.write(t, "named"), e.write(t, "marked")
	e.name(t, named)
	e.mark(t, media.Mark{Kind: media.Thumbnail, Path: marked})
	clip, err := e.WriteClip(t.Context(), "c.mp4", []byte("orphan"))
	require.NoError(t, err)
	put := func(name string, age time.Duration) string {
		path := filepath.Join(e.thumbnails, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o750))
		require.NoError(t, os.WriteFile(path, []byte("x"), 0o600))
		require.NoError(t, os.Chtimes(path, clock.Add(-age), clock.Add(-age)))
		return path
	}
	temporary := put("ab/.tmp-ab00000000000000", 2*time.Hour)
	kept := []string{
		put("ab/.tmp-ab00000000000001", time.Minute), // being written
		put("ab/young-ab00000000000000.jpg", time.Minute),
		put("12_thumb.jpg", 100*time.Hour),                // the server this one replaces
		put("ab/mine.jpg", 100*time.Hour),                 // somebody's file
		put("ab/x-cd00000000000000.jpg", 100*time.Hour),   // its digits do not fit the folder
		put("zz/x-zz00000000000000.jpg", 100*time.Hour),   // not a folder of ours
		put("ab/c/x-ab00000000000000.jpg", 100*time.Hour), // too deep
		filepath.Join(e.thumbnails, named),
	}

	seen, err := e.FindOrphans(t.Context())
	require.NoError(t, err)
	require.FileExists(t, temporary, "only looked at")
	found, err := e.MarkOrphans(t.Context())
	require.Equal(t, seen, found)
	require.NoError(t, err)
	require.Equal(t, [2]int64{2, 1}, [2]int64{found.Marked, found.Temporary})
	require.Len(t, found.Examples, 3)
	require.Contains(t, found.Examples, "thumbnail "+orphan)
	require.NoFileExists(t, temporary)
	again, err := e.MarkOrphans(t.Context())
	require.NoError(t, err)
	require.Zero(t, again, "already marked")

	removed, err := e.Sweep(t.Context())
	require.NoError(t, err)
	require.Equal(t, media.Removed{Thumbnails: 1, Bytes: 6}, removed, "an orphan stays a little, the marked file goes")
	late := e.write(t, "a transaction commits late")
	e.mark(t, media.Mark{Kind: media.Thumbnail, Path: late, Wait: time.Minute})
	e.name(t, late)
	clock = clock.Add(time.Hour)
	removed, err = e.Sweep(t.Context())
	require.NoError(t, err)
	require.Equal(t, media.Removed{Thumbnails: 1, Clips: 1, Bytes: 12}, removed)
	require.NoFileExists(t, filepath.Join(e.thumbnails, orphan))
	require.NoFileExists(t, filepath.Join(e.clips, clip))
	require.FileExists(t, filepath.Join(e.thumbnails, late))
	for _, path := range kept {
		require.FileExists(t, path)
	}
	require.Zero(t, e.marks(t))
}

func TestRun_FinishesWhatACrashLeft(t *testing.T) {
	t.Parallel()
	e := setup(t, func(o *media.Options) { o.OrphanAge = time.Nanosecond })
	marked, orphan := e.write(t, "marked"), e.write(t, "orphan")
	e.mark(t, media.Mark{Kind: media.Thumbnail, Path: marked})
	stop := e.run(t)
	await.True(t, func() bool {
		left := storetest.Query[string](t, e.db, `SELECT path FROM media_deletions`)
		return len(left) == 1 && left[0] == orphan // it waits until nothing can name it any more
	})
	stop()
	require.NoFileExists(t, filepath.Join(e.thumbnails, marked))
}

func TestSweeper_OneAtATime(t *testing.T) {
	t.Parallel()
	e := setup(t)
	path := e.write(t, "x")
	e.mark(t, media.Mark{Kind: media.Thumbnail, Path: path})
	sweeper, err := e.Sweeper(t.Context())
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err = e.Sweep(ctx)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.FileExists(t, filepath.Join(e.thumbnails, path))
	require.NoError(t, sweeper.Close(t.Context()))
	removed, err := e.Sweep(t.Context())
	require.NoError(t, err)
	require.Equal(t, int64(1), removed.Thumbnails)
}

func filter(all []string, want string) (found []string) {
	for _, one := range all {
		if one == want {
			found = append(found, one)
		}
	}
	return found
}

func keys(m map[string]string) (names []string) {
	for name := range m {
		names = append(names, name)
	}
	return names
}
