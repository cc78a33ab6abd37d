package media_test

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"hsi.home.arpa/internal/await"
	"hsi.home.arpa/internal/logtest"
	"hsi.home.arpa/store/media"
	"hsi.home.arpa/store/storetest"
)

func logTo(log *logtest.Output) func(*media.Options) {
	return func(o *media.Options) { o.Log = slog.New(slog.NewTextHandler(log, nil)) }
}

// A sweep names twenty files that it cannot remove, and says how many more there were.
func TestSweep_NamesSomeOfManyFailures(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ failures, more int }{{20, 0}, {22, 1}} {
		var log logtest.Output
		e := setup(t, logTo(&log))
		first := e.write(t, "x")
		for i := range test.failures {
			rel := fmt.Sprintf("%s/front-%d.jpg", filepath.Dir(first), i+100)
			require.NoError(t, os.MkdirAll(filepath.Join(e.thumbnails, rel), 0o750))
			e.mark(t, media.Mark{Kind: media.Thumbnail, Path: rel})
		}
		removed, err := e.Sweep(t.Context())
		require.NoError(t, err)
		require.Equal(t, int64(test.failures), removed.Failed)
		require.Equal(t, min(test.failures, 20), log.Count("not a regular file"))
		require.Equal(t, test.more, log.Count(`msg="more media files not removed, will try again" count=2`))
		require.Equal(t, test.more, log.Count("more media files"))
	}
}

func TestRun_LogsOnlyLeftoversThatItRemoved(t *testing.T) {
	t.Parallel()
	for _, left := range []int{0, 1} {
		var log logtest.Output
		e := setup(t, logTo(&log))
		if left > 0 {
			e.mark(t, media.Mark{Kind: media.Thumbnail, Path: e.write(t, "left over")})
		}
		// What is gone already is marked too: its mark goes, and nothing was removed.
		e.mark(t, media.Mark{Kind: media.Thumbnail, Path: "00/gone-1.jpg"})
		stop := e.run(t)
		await.True(t, func() bool { return e.marks(t) == 0 })
		stop()
		require.Equal(t, left, log.Count("removed media files that were left over"))
	}
}

func TestMarkOrphans_FolderIsGone(t *testing.T) {
	t.Parallel()
	e := setup(t, func(o *media.Options) { o.OrphanAge = time.Nanosecond })
	e.write(t, "x")
	require.NoError(t, os.Rename(e.thumbnails, e.thumbnails+"-away"))
	_, err := e.MarkOrphans(t.Context())
	require.ErrorIs(t, err, media.ErrUnavailable)
	_, err = e.FindOrphans(t.Context())
	require.ErrorIs(t, err, media.ErrUnavailable)
}

func TestNew_NeedsEachFolderAndADatabase(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	whole := media.Options{DB: db, Thumbnails: "/t", Clips: "/c", Cameras: "/i"}
	_, err := media.New(whole)
	require.NoError(t, err)
	for kind, change := range map[string]func(o *media.Options){
		"thumbnail": func(o *media.Options) { o.Thumbnails = "" },
		"clip":      func(o *media.Options) { o.Clips = "" },
		"image":     func(o *media.Options) { o.Cameras = "" },
		"database":  func(o *media.Options) { o.DB = nil },
	} {
		options := whole
		change(&options)
		_, err := media.New(options)
		require.ErrorContains(t, err, kind)
	}
}

// When the database cannot tell which files have a row, none is taken for one without.
func TestMarkOrphans_DatabaseCannotTell(t *testing.T) {
	t.Parallel()
	e := setup(t, func(o *media.Options) { o.OrphanAge = time.Nanosecond })
	path := e.write(t, "x")
	storetest.Exec(t, e.db, `ALTER TABLE media_deletions RENAME TO away`)
	found, err := e.MarkOrphans(t.Context())
	require.Error(t, err)
	require.Zero(t, found)
	require.FileExists(t, filepath.Join(e.thumbnails, path))
}
