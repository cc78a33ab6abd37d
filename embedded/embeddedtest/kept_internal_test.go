package embeddedtest

import (
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"hsi.home.arpa/embedded/internal/child"
)

func TestCopyKept_CopiesWhatIsYoungAndOurs(t *testing.T) {
	temporary, err := os.MkdirTemp("/tmp", "hsi-kept-") //nolint:usetesting // root's servers cannot enter t.TempDir
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(temporary)) })
	require.NoError(t, os.Chmod(temporary, 0o755))
	t.Setenv("TMPDIR", temporary)

	identity := child.ChooseIdentity()
	installation, err := child.NewFinder(identity, depsDirs()).Postgres(0)
	require.NoError(t, err)
	copies := 0
	copyOne := func() (string, error) {
		copies++
		home := filepath.Join(temporary, "home"+strconv.Itoa(copies))
		require.NoError(t, identity.MakeDir(home, 0o700))
		cluster := child.Cluster{User: superuser, Scratch: true}
		return child.DataDir(home), copyKept(t.Context(), identity, installation, cluster, home)
	}

	data, err := copyOne()
	require.NoError(t, err)
	require.FileExists(t, filepath.Join(data, "PG_VERSION"))
	found, err := filepath.Glob(filepath.Join(temporary, "hsi-initdb-*"))
	require.NoError(t, err)
	require.Len(t, found, 1)
	kept := found[0]
	require.NoError(t, os.WriteFile(filepath.Join(child.DataDir(kept), "mark"), nil, 0o644))

	data, err = copyOne()
	require.NoError(t, err)
	require.FileExists(t, filepath.Join(data, "mark"), "a copy")

	old := time.Now().Add(-2 * keptFor)
	require.NoError(t, os.Chtimes(filepath.Join(child.DataDir(kept), "PG_VERSION"), old, old))
	data, err = copyOne()
	require.NoError(t, err)
	require.FileExists(t, filepath.Join(data, "PG_VERSION"))
	require.NoFileExists(t, filepath.Join(data, "mark"), "made anew")

	require.NoError(t, os.Rename(kept, kept+".away"))
	require.NoError(t, os.Symlink(kept+".away", kept))
	_, err = copyOne()
	require.ErrorContains(t, err, "is not a folder of")
}
