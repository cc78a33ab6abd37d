package media_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"hsi.home.arpa/embedded/embeddedtest"
	"hsi.home.arpa/internal/await"
	"hsi.home.arpa/store/media"
	"hsi.home.arpa/store/storetest"
)

// inNamespace tells this test process that it is the one below.
const inNamespace = "HSI_MEDIA_TEST_DATABASE"

// TestDiskReallyFull runs itself again in a mount namespace of its own, where it can mount small
// disks as any user.
func TestDiskReallyFull(t *testing.T) {
	if url := os.Getenv(inNamespace); url != "" {
		diskReallyFull(t, url)
		return
	}
	t.Parallel()
	embeddedtest.PostgresURL(t)
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestDiskReallyFull$", "-test.v")
	cmd.Env = append(os.Environ(), inNamespace+"="+storetest.NewURL(t))
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	if os.Geteuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= unix.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	output, err := cmd.CombinedOutput()
	if errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.ENOSPC) {
		t.Log("this machine allows no mount namespace; TestHealth_FullDisk covers what is left")
		return
	}
	require.NoError(t, err, string(output))
	require.Contains(t, string(output), "--- PASS: TestDiskReallyFull")
}

func diskReallyFull(t *testing.T, databaseURL string) {
	t.Helper()
	require.NoError(t, unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""))
	e := setupIn(t, storetest.Open(t, databaseURL), t.TempDir(), func(o *media.Options) { o.MinFreeBytes = -1 })
	require.NoError(t, os.MkdirAll(e.thumbnails, 0o750))
	t.Cleanup(func() {
		for unix.Unmount(e.thumbnails, unix.MNT_DETACH) == nil {
			t.Log("unmounted a disk that the test left")
		}
	})
	disk := func() { require.NoError(t, unix.Mount("tmpfs", e.thumbnails, "tmpfs", 0, "size=1m")) }
	healthy := func(want bool, part string) {
		t.Helper()
		await.True(t, func() bool {
			ok, message := e.Health()
			return ok == want && contains(message, part)
		})
	}
	disk()
	e.run(t)
	healthy(true, "")
	first := e.write(t, "first")

	// Full: a write fails whole, the state says so, and recovers by itself.
	for _, size := range []int{100 << 10, 4096, 1} {
		var err error
		for err == nil {
			_, err = e.Write(t.Context(), "big.jpg", make([]byte, size))
		}
		require.ErrorIs(t, err, unix.ENOSPC)
	}
	healthy(false, "no space left on device")
	require.FileExists(t, filepath.Join(e.thumbnails, first))
	for path := range tree(t, e.thumbnails) {
		if filepath.Base(path) != ".hsi-media" {
			e.mark(t, media.Mark{Kind: media.Thumbnail, Path: path})
		}
	}
	_, err := e.Sweep(t.Context())
	require.NoError(t, err, "a full disk can be cleaned")
	require.Zero(t, onDisk(t, e.thumbnails))
	healthy(true, "")
	kept := e.write(t, "kept")

	// Read-only.
	require.NoError(t, unix.Mount("", e.thumbnails, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""))
	healthy(false, "read-only")
	_, err = e.Write(t.Context(), "x.jpg", nil)
	require.ErrorIs(t, err, unix.EROFS)
	e.mark(t, media.Mark{Kind: media.Thumbnail, Path: kept})
	_, err = e.Sweep(t.Context())
	require.NoError(t, err)
	require.Equal(t, 1, e.marks(t), "set aside")
	require.NoError(t, unix.Mount("", e.thumbnails, "", unix.MS_REMOUNT, ""))
	healthy(true, "")

	// Nothing of ours keeps the disk from being unmounted for longer than a look at it takes, and
	// what is below the mount point is not taken for it.
	await.True(t, func() bool {
		err := unix.Unmount(e.thumbnails, 0)
		if errors.Is(err, unix.EBUSY) {
			return false
		}
		require.NoError(t, err)
		return true
	})
	healthy(false, "has no marker")
	_, err = e.Write(t.Context(), "x.jpg", nil)
	require.ErrorIs(t, err, media.ErrUnavailable)

	// Another disk in its place.
	disk()
	require.NoError(t, os.WriteFile(filepath.Join(e.thumbnails, ".hsi-media"), []byte("OTHER\n"), 0o600))
	healthy(false, "belongs to another installation")
}
