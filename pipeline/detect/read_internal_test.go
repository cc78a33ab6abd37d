package detect

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"hsi.home.arpa/pipeline/picture"
	"hsi.home.arpa/store"
)

// A cause tells what is the matter with a file and not where the camera folders lie.
func TestReadImage_CausesNameNoFolder(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	path := filepath.Join(root, "front", "loop.jpg")
	require.NoError(t, os.Mkdir(filepath.Dir(path), 0o700))
	require.NoError(t, os.Symlink("loop.jpg", path))
	_, err := readImage(store.Image{FilePath: path, SizeBytes: 1}, root, picture.Limits{})
	require.ErrorIs(t, err, syscall.ELOOP)
	require.NotContains(t, err.Error(), root)
	require.Contains(t, err.Error(), "open image: ")
}
