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
	t.Parallel()
	dir, err := os.MkdirTemp("/tmp", "hsi-kept-") //nolint:usetesting // root's servers cannot enter t.TempDir
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	require.NoError(t, os.Chmod(dir, 0o755))
	identity, kept := child.ChooseIdentity(), filepath.Join(dir, "kept")
	made, copies := 0, 0
	makeData := func(home string) error {
		made++
		if err := identity.MakeDir(child.DataDir(home), 0o755); err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(child.DataDir(home), "PG_VERSION"), []byte(strconv.Itoa(made)), 0o644)
	}
	copyOne := func() (string, error) {
		copies++
		home := filepath.Join(dir, "home"+strconv.Itoa(copies))
		require.NoError(t, identity.MakeDir(home, 0o700))
		if err := copyKept(t.Context(), identity, kept, home, makeData); err != nil {
			return "", err
		}
		content, err := os.ReadFile(filepath.Join(child.DataDir(home), "PG_VERSION"))
		return string(content), err
	}

	for range 2 {
		content, err := copyOne()
		require.NoError(t, err)
		require.Equal(t, "1", content, "made once")
	}
	old := time.Now().Add(-2 * keptFor)
	require.NoError(t, os.Chtimes(filepath.Join(child.DataDir(kept), "PG_VERSION"), old, old))
	content, err := copyOne()
	require.NoError(t, err)
	require.Equal(t, "2", content, "what is old is made anew")

	require.NoError(t, os.Rename(kept, kept+".away"))
	require.NoError(t, os.Symlink(kept+".away", kept))
	_, err = copyOne()
	require.ErrorContains(t, err, "is not a folder of")
}
