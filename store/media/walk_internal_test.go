package media

import (
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"hsi.home.arpa/internal/program"
)

const unreadableFolder = "HSI_MEDIA_TEST_FOLDER"

// TestWalkImages_NamesWhatItCannotRead runs itself again as a user whom permissions stop.
func TestWalkImages_NamesWhatItCannotRead(t *testing.T) {
	if dir := os.Getenv(unreadableFolder); dir != "" {
		walkUnreadable(t, dir)
		return
	}
	t.Parallel()
	dir, err := os.MkdirTemp(shortTemp(t), "hsi-walk-") //nolint:usetesting // every user must reach it
	require.NoError(t, err)
	t.Cleanup(func() {
		_ = os.Chmod(filepath.Join(dir, "private"), 0o700)
		_ = os.RemoveAll(dir)
	})
	require.NoError(t, os.Chmod(dir, 0o755))
	for _, name := range []string{"front/a.jpg", "private/b.jpg"} {
		path := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte("x"), 0o644))
	}
	require.NoError(t, os.Chmod(filepath.Join(dir, "private"), 0))
	bin, err := os.MkdirTemp(shortTemp(t), "hsi-walk-bin-") //nolint:usetesting // every user must reach it
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(bin) })
	require.NoError(t, os.Chmod(bin, 0o755))
	copied := filepath.Join(bin, "test.bin")
	content, err := os.ReadFile(os.Args[0])
	require.NoError(t, err)
	program.Write(t, copied, content, 0o755)
	cmd := exec.CommandContext(t.Context(), copied, "-test.run=^TestWalkImages_NamesWhatItCannotRead$", "-test.v")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), unreadableFolder+"="+dir)
	if os.Geteuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	}
	output, err := cmd.CombinedOutput()
	require.NoError(t, err, string(output))
	require.Contains(t, string(output), "--- PASS: TestWalkImages_NamesWhatItCannotRead")
}

// shortTemp is a folder that every user can reach.
func shortTemp(t *testing.T) string {
	t.Helper()
	for _, dir := range []string{"/dev/shm", "/tmp", "/var/tmp"} {
		if info, err := os.Stat(dir); err == nil && info.Mode().Perm()&0o1 != 0 {
			return dir
		}
	}
	t.Fatal("no folder that every user can reach")
	return ""
}

func walkUnreadable(t *testing.T, dir string) {
	t.Helper()
	cameras, err := newRoot(Image, dir, false)
	require.NoError(t, err)
	other, err := newRoot(Thumbnail, filepath.Join(dir, "none"), true)
	require.NoError(t, err)
	s := &Store{cameras: cameras, thumbnails: other, clips: other, now: time.Now, log: slog.New(slog.DiscardHandler)}
	require.NoError(t, s.walkImages(t.Context()))
	figure, known := s.images.get()
	require.True(t, known)
	require.Equal(t, int64(1), figure.FileCount)
	require.Contains(t, s.images.problem().Error(), `"private": permission denied`)
}
