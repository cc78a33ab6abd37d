package intake_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// TestWatcher_NoticesAnExchangedCameraFolder: a file system that is mounted on a folder hides what
// is watched, and the kernel does not tell. Where this process may not mount, folders are exchanged
// by renaming alone.
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

// TestWatcher_AFileThatGetsItsNameLast: a file without a name is written and closed, or not, before
// the folder has it.
func TestWatcher_AFileThatGetsItsNameLast(t *testing.T) {
	t.Parallel()
	f := setup(t, false)
	f.start()
	f.write("front/a.jpg", picture(t, 1))
	f.expect("front front/a.jpg seen")
	data := picture(t, 2)
	fd, err := unix.Open(filepath.Join(f.root, "front"), unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
	require.NoError(t, err)
	file := os.NewFile(uintptr(fd), "nameless")
	defer func() { require.NoError(t, file.Close()) }()
	_, err = file.Write(data)
	require.NoError(t, err)
	require.NoError(t, unix.Linkat(unix.AT_FDCWD, fmt.Sprintf("/proc/self/fd/%d", fd), unix.AT_FDCWD,
		filepath.Join(f.root, "front", "b.jpg"), unix.AT_SYMLINK_FOLLOW))
	f.expect("front front/a.jpg seen", "front front/b.jpg seen")
}

// TestWatcher_DoesNotTakeAFileThatIsBeingWritten: bytes may follow what looks like a whole image.
func TestWatcher_DoesNotTakeAFileThatIsBeingWritten(t *testing.T) {
	t.Parallel()
	f := setup(t, false)
	f.options.SettleTime, f.options.GiveUpTime = time.Hour, 24*time.Hour
	f.setClock(-59 * time.Minute)
	f.start()
	f.write("front/a.jpg", picture(t, 1))
	f.expect("front front/a.jpg seen")
	file, err := os.Create(filepath.Join(f.root, "front", "b.jpg"))
	require.NoError(t, err)
	_, err = file.Write(picture(t, 2))
	require.NoError(t, err)
	f.write("front/c.jpg", picture(t, 3)) // what happens later is heard of later
	f.expect("front front/a.jpg seen", "front front/c.jpg seen")
	// By the watcher's clock an hour has passed since it heard of the file, and a minute or two
	// since the file was changed.
	f.pass(61 * time.Minute)
	f.awaitLook(file.Name())
	require.Equal(t, []string{"front front/a.jpg seen", "front front/c.jpg seen"}, f.rows())
	_, err = file.WriteString("more")
	require.NoError(t, err)
	require.NoError(t, file.Close())
	f.expect("front front/a.jpg seen", "front front/b.jpg seen", "front front/c.jpg seen")
}
