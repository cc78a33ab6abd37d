package intake_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"hsi.home.arpa/internal/await"
	"hsi.home.arpa/store/storetest"
)

// ffmpeg says whether there is one.
type ffmpeg struct{ err error }

func (f ffmpeg) Available() error { return f.err }

func TestWatcher_AcceptsVideosWhereThereIsFFmpeg(t *testing.T) {
	t.Parallel()
	bothModes(t, func(t *testing.T, f *fixture) {
		t.Helper()
		f.options.Videos = ffmpeg{}
		f.options.GiveUpTime = 100 * time.Millisecond
		f.write("front/old.MKV", []byte("a video from before the start"))
		f.start()
		for _, name := range []string{"a.mp4", "b.avi", "c.mov"} {
			f.put("front/"+name, []byte("the bytes of "+name))
		}
		f.put("front/empty.mp4", nil)
		// The same bytes are a duplicate of what was recorded before, and of two found at once
		// either may be first.
		f.expect("front front/old.MKV seen", "front front/a.mp4 seen", "front front/b.avi seen", "front front/c.mov seen",
			"front front/empty.mp4 filtered/empty_file")
		f.put("front/again.mp4", []byte("the bytes of a.mp4"))
		f.expect("front front/old.MKV seen", "front front/a.mp4 seen", "front front/b.avi seen", "front front/c.mov seen",
			"front front/empty.mp4 filtered/empty_file", "front front/again.mp4 filtered/duplicate")
		require.Zero(t, storetest.QueryOne[int](t, f.db, `SELECT count(*) FROM images WHERE sha256 IS NULL AND size_bytes > 0`))
	})
}

func TestWatcher_VideosAreFilteredWhileThereIsNoFFmpeg(t *testing.T) {
	t.Parallel()
	bothModes(t, func(t *testing.T, f *fixture) {
		t.Helper()
		f.options.Videos = ffmpeg{err: errors.New("type: apt-get install ffmpeg")}
		f.start()
		f.write("front/a.mp4", []byte("a video"))
		f.expect("front front/a.mp4 filtered/video_unsupported")
	})
}

// Recorders close a video and open it again to go on. Nothing in it says that it is whole.
func TestWatcher_AVideoThatGrowsIsOneImage(t *testing.T) {
	t.Parallel()
	bothModes(t, func(t *testing.T, f *fixture) {
		t.Helper()
		f.options.Videos = ffmpeg{}
		f.options.SettleTime, f.options.GiveUpTime = time.Hour, 24*time.Hour
		f.setClock(0)
		require.NoError(t, os.Mkdir(filepath.Join(f.root, "front"), 0o750))
		f.start()
		await.True(t, func() bool { // then the folder is watched
			cameras, err := f.db.Cameras(t.Context())
			return err == nil && len(cameras) == 1
		})
		path := f.write("front/a.mp4", []byte("begins"))
		for range 8 {
			f.awaitLook(path)
			require.Empty(t, f.rows())
			f.pass(f.options.SettleTime * 2 / 3)
			f.append(path, []byte(" and goes on"))
		}
		await.True(t, func() bool { // since a look, which may still be on its way to the watcher
			f.pass(f.options.SettleTime)
			return len(f.rows()) > 0
		})
		f.expect("front front/a.mp4 seen")
		info, err := os.Stat(path)
		require.NoError(t, err)
		require.Equal(t, info.Size(), storetest.QueryOne[int64](t, f.db, `SELECT size_bytes FROM images`))
	})
}
