package intake_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// TestWatcher_NoticesAnExchangedCameraFolder: a file system that is mounted on a folder hides what is watched, and the kernel
// does not tell. Where this process may not mount, folders are exchanged by renaming alone.
func TestWatcher_NoticesAnExchangedCameraFolder(t *testing.T) {
	t.Parallel()
	t.Run("renamed", func(t *testing.T) {
		t.Parallel()
		f := setup(t, false)
		f.write("front/day/a.jpg", picture(t, 1))
		f.start()
		f.expect("front front/day/a.jpg seen")
		front, other := filepath.Join(f.root, "front"), filepath.Join(f.root, ".other")
		require.NoError(t, os.MkdirAll(filepath.Join(other, "day"), 0o750))
		require.NoError(t, unix.Renameat2(unix.AT_FDCWD, front, unix.AT_FDCWD, other, unix.RENAME_EXCHANGE))
		f.write("front/day/b.jpg", picture(t, 2))
		f.expect("front front/day/a.jpg seen", "front front/day/b.jpg seen")
	})
	t.Run("mounted", func(t *testing.T) {
		t.Parallel()
		f := setup(t, false)
		f.write("front/day/a.jpg", picture(t, 1))
		f.start()
		f.expect("front front/day/a.jpg seen")
		front := filepath.Join(f.root, "front")
		err := unix.Mount("tmpfs", front, "tmpfs", 0, "size=1m")
		if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) {
			t.Log("this process may not mount: only renaming is tried")
			return
		}
		require.NoError(t, err)
		unmount := func() error { return unix.Unmount(front, unix.MNT_DETACH) }
		mounted := true
		t.Cleanup(func() {
			if mounted {
				_ = unmount()
			}
		})
		f.write("front/b.jpg", picture(t, 2))
		f.expect("front front/day/a.jpg seen", "front front/b.jpg seen")
		f.write("front/night/c.jpg", picture(t, 3)) // heard of by now
		f.expect("front front/day/a.jpg seen", "front front/b.jpg seen", "front front/night/c.jpg seen")
		require.NoError(t, unmount())
		mounted = false
		f.write("front/day/d.jpg", picture(t, 4))
		f.write("front/e.jpg", picture(t, 5))
		f.expect("front front/day/a.jpg seen", "front front/b.jpg seen", "front front/night/c.jpg seen",
			"front front/day/d.jpg seen", "front front/e.jpg seen")
	})
}
