package media_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"hsi.home.arpa/store/media"
	"hsi.home.arpa/store/storetest"
)

// An empty camera folder is taken for a disk that is not mounted, but only where original images
// are to be deleted.
func TestAvailable(t *testing.T) {
	t.Parallel()
	e := setup(t)
	require.NoError(t, e.Available(t.Context(), false))
	require.ErrorIs(t, e.Available(t.Context(), true), media.ErrUnavailable)
	require.NoError(t, os.Mkdir(filepath.Join(e.cameras, "front"), 0o750))
	require.NoError(t, e.Available(t.Context(), true))
	require.NoError(t, os.RemoveAll(e.cameras))
	require.NoError(t, e.Available(t.Context(), false))
	require.ErrorIs(t, e.Available(t.Context(), true), media.ErrUnavailable)
	require.NoError(t, os.WriteFile(e.cameras, nil, 0o600))
	require.ErrorIs(t, e.Available(t.Context(), true), media.ErrUnavailable)
	require.NoError(t, os.Rename(e.clips, e.clips+"-away"))
	require.ErrorIs(t, e.Available(t.Context(), false), media.ErrUnavailable)
}

// When the database cannot tell whether a row still names a marked file, the file stays.
func TestSweep_DatabaseCannotTell(t *testing.T) {
	t.Parallel()
	e := setup(t)
	path := e.write(t, "x")
	e.name(t, path)
	e.mark(t, media.Mark{Kind: media.Thumbnail, Path: path})
	storetest.Exec(t, e.db, `ALTER TABLE detections RENAME TO away`)
	removed, err := e.Sweep(t.Context())
	require.Error(t, err)
	require.Zero(t, removed)
	require.FileExists(t, filepath.Join(e.thumbnails, path))
	require.Equal(t, 1, e.marks(t))
}
