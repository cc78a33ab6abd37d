package media_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"hsi.home.arpa/store/media"
	"hsi.home.arpa/store/storetest"
)

func TestGuard_NothingIsWrittenOrDeletedWithoutTheRightFolder(t *testing.T) {
	t.Parallel()
	move := func(t *testing.T, from, to string) {
		t.Helper()
		require.NoError(t, os.Rename(from, to))
	}
	// Each fault comes with what undoes it.
	faults := map[string]struct {
		begin, end func(t *testing.T, e *env)
		message    string
	}{
		"Missing": {
			begin:   func(t *testing.T, e *env) { move(t, e.thumbnails, e.thumbnails+".away") },
			end:     func(t *testing.T, e *env) { move(t, e.thumbnails+".away", e.thumbnails) },
			message: "is missing",
		},
		"EmptyMountPoint": {
			begin: func(t *testing.T, e *env) {
				move(t, e.thumbnails, e.thumbnails+".away")
				require.NoError(t, os.Mkdir(e.thumbnails, 0o750))
			},
			end: func(t *testing.T, e *env) {
				require.NoError(t, os.Remove(e.thumbnails))
				move(t, e.thumbnails+".away", e.thumbnails)
			},
			message: "has no marker",
		},
		"Swapped": {
			begin: func(t *testing.T, e *env) {
				move(t, e.thumbnails, e.thumbnails+".away")
				move(t, e.clips, e.thumbnails)
				move(t, e.thumbnails+".away", e.clips)
			},
			end: func(t *testing.T, e *env) {
				move(t, e.clips, e.thumbnails+".away")
				move(t, e.thumbnails, e.clips)
				move(t, e.thumbnails+".away", e.thumbnails)
			},
			message: "belongs to another installation",
		},
		"AFile": {
			begin: func(t *testing.T, e *env) {
				move(t, e.thumbnails, e.thumbnails+".away")
				require.NoError(t, os.WriteFile(e.thumbnails, nil, 0o600))
			},
			end: func(t *testing.T, e *env) {
				require.NoError(t, os.Remove(e.thumbnails))
				move(t, e.thumbnails+".away", e.thumbnails)
			},
			message: "is not a folder",
		},
		"MarkerUnreadable": {
			begin: func(t *testing.T, e *env) {
				move(t, filepath.Join(e.thumbnails, ".hsi-media"), e.thumbnails+".marker")
				require.NoError(t, os.Mkdir(filepath.Join(e.thumbnails, ".hsi-media"), 0o750))
			},
			end: func(t *testing.T, e *env) {
				require.NoError(t, os.Remove(filepath.Join(e.thumbnails, ".hsi-media")))
				move(t, e.thumbnails+".marker", filepath.Join(e.thumbnails, ".hsi-media"))
			},
			message: "unreadable marker",
		},
		"MarkerEmpty": {
			begin: func(t *testing.T, e *env) {
				move(t, filepath.Join(e.thumbnails, ".hsi-media"), e.thumbnails+".marker")
				require.NoError(t, os.WriteFile(filepath.Join(e.thumbnails, ".hsi-media"), nil, 0o600))
			},
			end: func(t *testing.T, e *env) {
				move(t, e.thumbnails+".marker", filepath.Join(e.thumbnails, ".hsi-media"))
			},
			message: "unreadable marker",
		},
	}
	for name, fault := range faults {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := setup(t)
			path := e.write(t, "kept")
			require.NoError(t, e.Available(t.Context(), false)) // makes the clips' folder too
			e.mark(t, media.Mark{Kind: media.Thumbnail, Path: path})
			fault.begin(t, e)
			before := tree(t, filepath.Dir(e.thumbnails))
			e.run(t)

			require.Eventually(t, func() bool {
				ok, message := e.Health()
				return !ok && contains(message, fault.message)
			}, waitFor, tick)
			_, err := e.Write(t.Context(), "new.jpg", []byte("new"))
			require.ErrorIs(t, err, media.ErrUnavailable)
			require.ErrorContains(t, err, fault.message)
			removed, err := e.Sweep(t.Context())
			require.ErrorIs(t, err, media.ErrUnavailable)
			require.Zero(t, removed)
			_, err = e.MarkOrphans(t.Context())
			require.ErrorIs(t, err, media.ErrUnavailable)
			require.ErrorIs(t, e.Available(t.Context(), false), media.ErrUnavailable)
			require.Equal(t, before, tree(t, filepath.Dir(e.thumbnails)))
			require.Equal(t, 1, e.marks(t))

			fault.end(t, e)
			require.NoError(t, e.Available(t.Context(), false))
			require.Eventually(t, func() bool { ok, _ := e.Health(); return ok }, waitFor, tick)
			_, err = e.Sweep(t.Context()) // unless the background was faster
			require.NoError(t, err)
			require.NoFileExists(t, filepath.Join(e.thumbnails, path))
			require.Zero(t, e.marks(t))
		})
	}
}

func TestGuard_FolderOfAnotherInstallationIsNotAdopted(t *testing.T) {
	t.Parallel()
	first := setup(t)
	path := first.write(t, "theirs")
	second := setupIn(t, storetest.New(t), filepath.Dir(first.thumbnails))
	second.run(t)

	_, err := second.Write(t.Context(), "ours.jpg", []byte("ours"))
	require.ErrorIs(t, err, media.ErrUnavailable)
	require.ErrorContains(t, err, "belongs to another installation")
	require.Eventually(t, func() bool {
		_, message := second.Health()
		return contains(message, "belongs to another installation")
	}, waitFor, tick)
	require.FileExists(t, filepath.Join(first.thumbnails, path))
}

func TestGuard_TakingAFolderIntoUseSurvivesACrash(t *testing.T) {
	t.Parallel()
	for name, after := range map[string]func(t *testing.T, e *env){
		"BeforeTheMarker": func(t *testing.T, e *env) { require.NoError(t, os.RemoveAll(e.thumbnails)) },
		"AfterTheMarker":  func(*testing.T, *env) {},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := setup(t)
			require.NoError(t, e.Available(t.Context(), false))
			storetest.Exec(t, e.db, `UPDATE media_folders SET in_use = false`)
			after(t, e)
			next, err := media.New(e.options)
			require.NoError(t, err)
			_, err = next.Write(t.Context(), "a.jpg", []byte("a"))
			require.NoError(t, err)
		})
	}
}
