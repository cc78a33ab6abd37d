package media_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"hsi.home.arpa/internal/await"
	"hsi.home.arpa/store/media"
	"hsi.home.arpa/store/storetest"
)

func TestGuard_NothingIsWrittenOrDeletedWithoutTheRightFolder(t *testing.T) {
	t.Parallel()
	// Each fault comes with what undoes it.
	faults := map[string]struct {
		begin, end func(e *env) error
		message    string
	}{
		"Missing": {
			begin:   func(e *env) error { return os.Rename(e.thumbnails, e.thumbnails+".away") },
			end:     func(e *env) error { return os.Rename(e.thumbnails+".away", e.thumbnails) },
			message: "is missing",
		},
		"EmptyMountPoint": {
			begin: func(e *env) error {
				return errors.Join(os.Rename(e.thumbnails, e.thumbnails+".away"), os.Mkdir(e.thumbnails, 0o750))
			},
			end:     putBack,
			message: "has no marker",
		},
		"Swapped": {
			begin:   swap,
			end:     swap,
			message: "belongs to another installation",
		},
		"AFile": {
			begin: func(e *env) error {
				return errors.Join(os.Rename(e.thumbnails, e.thumbnails+".away"), os.WriteFile(e.thumbnails, nil, 0o600))
			},
			end:     putBack,
			message: "is not a folder",
		},
		"MarkerUnreadable": {
			begin: func(e *env) error {
				return errors.Join(os.Rename(e.marker(), e.thumbnails+".marker"), os.Mkdir(e.marker(), 0o750))
			},
			end: func(e *env) error {
				return errors.Join(os.Remove(e.marker()), os.Rename(e.thumbnails+".marker", e.marker()))
			},
			message: "unreadable marker",
		},
		"MarkerEmpty": {
			begin: func(e *env) error {
				return errors.Join(os.Rename(e.marker(), e.thumbnails+".marker"), os.WriteFile(e.marker(), nil, 0o600))
			},
			end:     func(e *env) error { return os.Rename(e.thumbnails+".marker", e.marker()) },
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
			require.NoError(t, fault.begin(e))
			before := tree(t, filepath.Dir(e.thumbnails))
			e.run(t)

			await.True(t, func() bool {
				ok, message := e.Health()
				return !ok && contains(message, fault.message)
			})
			_, message := e.Health()
			require.NotContains(t, message, filepath.Dir(e.thumbnails), "for everybody: no place")
			require.NotContains(t, message, "echo", "and no mark")
			_, err := e.Storage()
			require.ErrorIs(t, err, media.ErrUnavailable, "the size would be that of another disk")
			require.ErrorContains(t, err, "size of the disk")
			_, err = e.Write(t.Context(), "new.jpg", []byte("new"))
			require.ErrorIs(t, err, media.ErrUnavailable)
			require.ErrorContains(t, err, fault.message)
			if name == "EmptyMountPoint" {
				require.ErrorContains(t, err, " > '"+e.marker()+"'", "the command is for the log")
			}
			removed, err := e.Sweep(t.Context())
			require.ErrorIs(t, err, media.ErrUnavailable)
			require.Zero(t, removed)
			_, err = e.MarkOrphans(t.Context())
			require.ErrorIs(t, err, media.ErrUnavailable)
			require.ErrorIs(t, e.Available(t.Context(), false), media.ErrUnavailable)
			next, err := media.New(e.options) // a restart does not take what it finds for a new folder
			require.NoError(t, err)
			_, err = next.Write(t.Context(), "new.jpg", []byte("new"))
			require.ErrorIs(t, err, media.ErrUnavailable)
			require.Equal(t, before, tree(t, filepath.Dir(e.thumbnails)))
			require.Equal(t, 1, e.marks(t))

			require.NoError(t, fault.end(e))
			require.NoError(t, e.Available(t.Context(), false))
			await.True(t, func() bool { ok, _ := e.Health(); return ok })
			_, err = e.Sweep(t.Context()) // unless the background was faster
			require.NoError(t, err)
			require.NoFileExists(t, filepath.Join(e.thumbnails, path))
			require.Zero(t, e.marks(t))
		})
	}
}

func (e *env) marker() string { return filepath.Join(e.thumbnails, ".hsi-media") }

func putBack(e *env) error {
	return errors.Join(os.Remove(e.thumbnails), os.Rename(e.thumbnails+".away", e.thumbnails))
}

func swap(e *env) error {
	return errors.Join(
		os.Rename(e.thumbnails, e.thumbnails+".away"), os.Rename(e.clips, e.thumbnails), os.Rename(e.thumbnails+".away", e.clips))
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
	await.True(t, func() bool {
		_, message := second.Health()
		return contains(message, "belongs to another installation")
	})
	require.FileExists(t, filepath.Join(first.thumbnails, path))
}

func TestGuard_TakingAFolderIntoUseSurvivesACrash(t *testing.T) {
	t.Parallel()
	for name, after := range map[string]func(e *env) error{
		"BeforeTheMarker": func(e *env) error { return os.RemoveAll(e.thumbnails) },
		"AfterTheMarker":  func(*env) error { return nil },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := setup(t)
			require.NoError(t, e.Available(t.Context(), false))
			storetest.Exec(t, e.db, `UPDATE media_folders SET in_use = false`)
			require.NoError(t, after(e))
			next, err := media.New(e.options)
			require.NoError(t, err)
			_, err = next.Write(t.Context(), "a.jpg", []byte("a"))
			require.NoError(t, err)
		})
	}
}
