package intake_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"hsi.home.arpa/pipeline/intake"
)

// TestMakeFolder: a folder is made directly below the root or not at all.
func TestMakeFolder(t *testing.T) {
	t.Parallel()
	root := filepath.Join(t.TempDir(), "cameras")
	require.NoError(t, os.Mkdir(root, 0o750))
	require.NoError(t, os.WriteFile(filepath.Join(root, "file"), nil, 0o600))
	require.NoError(t, os.Symlink(t.TempDir(), filepath.Join(root, "link")))
	for i, asked := range []string{"Front Door", "Front Door", "./shed/", filepath.Join(root, "garden"), "ä"} {
		path, isNew, err := intake.MakeFolder(root, asked)
		require.NoError(t, err, asked)
		require.Equal(t, i != 1, isNew, asked)
		require.DirExists(t, path)
		require.Equal(t, root, filepath.Dir(path))
		require.Equal(t, filepath.Base(filepath.Clean(asked)), filepath.Base(path))
	}
	for _, asked := range []string{
		"..", ".", "/", "../x", "a/b", "/etc", root, root + "/a/b", root + "/../x", ".hidden", "@eaDir", "file", "link",
		strings.Repeat("x", 300),
	} {
		_, _, err := intake.MakeFolder(root, asked)
		require.ErrorIs(t, err, intake.ErrNoCameraFolder, asked)
	}
	require.NoDirExists(t, filepath.Join(filepath.Dir(root), "x"))
	_, _, err := intake.MakeFolder(filepath.Join(root, "missing"), "a")
	require.Error(t, err)
	require.NotErrorIs(t, err, intake.ErrNoCameraFolder)
}
