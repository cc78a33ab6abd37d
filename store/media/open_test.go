package media_test

import (
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"hsi.home.arpa/store/media"
)

// TestOpen_NothingOutsideTheFolder: whatever a row names, only files below the folder are read.
func TestOpen_NothingOutsideTheFolder(t *testing.T) {
	t.Parallel()
	e := setup(t)
	folder := filepath.Join(e.cameras, "front")
	require.NoError(t, os.MkdirAll(filepath.Join(folder, "day"), 0o750))
	outside := filepath.Join(filepath.Dir(e.cameras), "secret.jpg")
	twin := e.cameras + "-old"
	require.NoError(t, os.Mkdir(twin, 0o750))
	for _, path := range []string{
		outside, filepath.Join(twin, "a.jpg"),
		filepath.Join(folder, "a.jpg"), filepath.Join(folder, "day", "ünı\nx.jpg"),
	} {
		require.NoError(t, os.WriteFile(path, []byte(path), 0o600))
	}
	for link, target := range map[string]string{
		"up": "../../..", "secret.jpg": "../../secret.jpg", "absolute.jpg": outside,
		"folder": filepath.Dir(e.cameras), "loop": "loop",
		"inside.jpg": "a.jpg", "dangling.jpg": "nothing.jpg",
	} {
		require.NoError(t, os.Symlink(target, filepath.Join(folder, link)))
	}
	require.NoError(t, unix.Mkfifo(filepath.Join(folder, "pipe.jpg"), 0o600))

	for path, want := range map[string]string{
		"front/a.jpg":                              filepath.Join(folder, "a.jpg"),
		filepath.Join(folder, "a.jpg"):             filepath.Join(folder, "a.jpg"),
		"front/inside.jpg":                         filepath.Join(folder, "a.jpg"),
		filepath.Join(folder, "day", "ünı\nx.jpg"): filepath.Join(folder, "day", "ünı\nx.jpg"),
	} {
		file, err := e.Open(t.Context(), media.Image, path)
		require.NoError(t, err, path)
		content, err := io.ReadAll(file)
		require.NoError(t, err)
		require.NoError(t, file.Close())
		require.Equal(t, want, string(content), path)
	}
	for _, path := range []string{
		"", ".", "..", "/", "../secret.jpg", "front/../../secret.jpg", "front/../front/a.jpg",
		"./front/a.jpg", "front//a.jpg", "front/", outside,
		filepath.Join(twin, "a.jpg"), e.cameras, e.cameras + "/", "/etc/passwd", "/dev/zero",
		"/proc/self/environ", "front/a.jpg\x00.png", "front\x00",
		"front", "front/day", "front/up/secret.jpg", "front/secret.jpg", "front/absolute.jpg",
		"front/folder/secret.jpg", "front/loop",
		"front/pipe.jpg", strings.Repeat("x", 300), ".hsi-media", `front\..\..\secret.jpg/..`,
	} {
		_, err := e.Open(t.Context(), media.Image, path)
		require.ErrorIs(t, err, media.ErrOutside, "%.80q", path)
	}
	for _, path := range []string{
		"front/b.jpg", "back/a.jpg", "front/a.jpg/x.jpg",
		"front/dangling.jpg", filepath.Join(folder, "b.jpg"), `front\a.jpg`,
	} {
		_, err := e.Open(t.Context(), media.Image, path)
		require.ErrorIs(t, err, fs.ErrNotExist, "%q", path)
	}
}

func TestOpen_FolderAway(t *testing.T) {
	t.Parallel()
	e := setup(t)
	_, err := e.Open(t.Context(), media.Image, "front/a.jpg")
	require.ErrorIs(t, err, media.ErrUnavailable,
		"an empty folder is taken for a disk that is not mounted")
	require.NoError(t, os.Remove(e.cameras))
	_, err = e.Open(t.Context(), media.Image, "front/a.jpg")
	require.ErrorIs(t, err, media.ErrUnavailable)

	path := e.write(t, "thumbnail")
	file, err := e.Open(t.Context(), media.Thumbnail, path)
	require.NoError(t, err)
	require.NoError(t, file.Close())
	require.NoError(t, os.Remove(filepath.Join(e.thumbnails, path)))
	_, err = e.Open(t.Context(), media.Thumbnail, path)
	require.ErrorIs(t, err, fs.ErrNotExist, "the marker says that it is the right folder")
	require.NoError(t, os.RemoveAll(e.thumbnails))
	_, err = e.Open(t.Context(), media.Thumbnail, path)
	require.ErrorIs(t, err, media.ErrUnavailable)
}
