package intake_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"hsi.home.arpa/internal/await"
)

// One folder that cannot be read, also one that comes while the others are watched, is left out and
// named, and stops nothing. Once it can be read what is in it is found, and what comes is heard of.
func TestWatcher_LeavesOutAFolderThatCannotBeRead(t *testing.T) {
	t.Parallel()
	bothModes(t, func(t *testing.T, f *fixture) {
		t.Helper()
		var locked atomic.Bool
		locked.Store(true)
		f.open = func(path string, flags int, mode os.FileMode) (*os.File, error) {
			if locked.Load() && strings.Contains(path, "locked") {
				return nil, &fs.PathError{Op: "open", Path: path, Err: fs.ErrPermission}
			}
			return os.OpenFile(path, flags, mode)
		}
		says := func(want string) {
			t.Helper()
			await.True(t, func() bool { return f.alive.says() == want }, "says %q", f.alive.says())
		}
		f.write("locked/a.jpg", picture(t, 1)) // there before the start
		f.write("front/b.jpg", picture(t, 2))
		f.start()
		f.expect("front front/b.jpg seen")
		says("locked cannot be read and is left out until it can")

		f.write("locked too/c.jpg", picture(t, 3)) // a new camera, and a new folder of one
		f.write("front/locked/d.jpg", picture(t, 4))
		f.write("front/e.jpg", picture(t, 5))
		f.expect("front front/b.jpg seen", "front front/e.jpg seen")
		await.True(t, func() bool { return strings.HasSuffix(f.alive.says(), "(and 2 more)") })

		require.NoError(t, os.RemoveAll(filepath.Join(f.root, "locked too")))
		locked.Store(false)
		f.expect("front front/b.jpg seen", "front front/e.jpg seen", "front front/locked/d.jpg seen", "locked locked/a.jpg seen")
		says("")
		f.write("locked/f.jpg", picture(t, 6))
		f.expect("front front/b.jpg seen", "front front/e.jpg seen", "front front/locked/d.jpg seen", "locked locked/a.jpg seen",
			"locked locked/f.jpg seen")
	})
}

// A folder that cannot be read when it comes, as one whose owner is set a moment later, but can be
// when it is scanned: what comes below it later is heard of all the same.
func TestWatcher_AFolderThatCanBeReadAMomentLater(t *testing.T) {
	t.Parallel()
	f := setup(t, false)
	var refused atomic.Bool
	f.open = func(path string, flags int, mode os.FileMode) (*os.File, error) {
		if filepath.Base(path) == "late" && refused.CompareAndSwap(false, true) {
			return nil, &fs.PathError{Op: "open", Path: path, Err: fs.ErrPermission}
		}
		return os.OpenFile(path, flags, mode)
	}
	f.write("front/a.jpg", picture(t, 1))
	f.write(".coming/day/b.jpg", picture(t, 2))
	f.start()
	f.expect("front front/a.jpg seen")
	require.NoError(t, os.Rename(filepath.Join(f.root, ".coming"), filepath.Join(f.root, "late")))
	f.expect("front front/a.jpg seen", "late late/day/b.jpg seen")
	require.True(t, refused.Load())
	f.write("late/day/c.jpg", picture(t, 3))
	f.expect("front front/a.jpg seen", "late late/day/b.jpg seen", "late late/day/c.jpg seen")
}
