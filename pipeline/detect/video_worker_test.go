package detect_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"hsi.home.arpa/internal/await"
	"hsi.home.arpa/pipeline/aitest"
	"hsi.home.arpa/pipeline/detect"
	"hsi.home.arpa/pipeline/video"
	"hsi.home.arpa/store"
)

// isFrame tells the pictures of the test's videos from images.
func isFrame(img *detect.Image) bool { return strings.Contains(img.Name, "-") }

// While a video is in work the images of all cameras go on, its own camera's too; other videos wait
// for it.
func TestVideoWorker_HoldsUpNoImages(t *testing.T) {
	t.Parallel()
	for _, atOnce := range []int{1, 32} {
		t.Run(fmt.Sprint(atOnce), func(t *testing.T) {
			t.Parallel()
			f := setup(t)
			f.apart, f.atOnce, f.limit = true, atOnce, time.Minute
			data := film(t)
			first, path := f.addVideo(data)
			second, _ := f.addVideo(append(data, "other bytes"...))
			images := f.addSeveral(6)
			begun, goOn := make(chan string, 10), make(chan struct{})
			var atWork, together atomic.Int64
			f.run(&recorder{first: func(ctx context.Context, img *detect.Image) error {
				if !isFrame(img) {
					return nil
				}
				if atWork.Add(1) > 1 {
					together.Add(1)
				}
				defer atWork.Add(-1)
				begun <- img.Name
				select {
				case <-ctx.Done():
				case <-goOn:
				}
				return ctx.Err()
			}}, 1)
			require.Equal(t, "0001-0.jpg", <-begun, path)
			for _, id := range images {
				require.Equal(t, 1, f.wait(id, store.ImageBatched).Attempts)
			}
			require.Equal(t, 2, f.count(`SELECT count(*) FROM images WHERE file_path LIKE '%.mp4' AND batched_at IS NULL`))
			close(goOn)
			for _, id := range []int64{first, second} {
				require.Equal(t, 1, f.wait(id, store.ImageBatched).Attempts)
			}
			require.Len(t, f.videoRows(), 10)
			require.Zero(t, together.Load(), "one video at a time")
		})
	}
}

// A stop in the middle of a video costs it no attempt, and an outage gives it back; the next start
// works on it from its beginning.
func TestVideoWorker_GivesBackWhatItDoesNotFinish(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.apart, f.limit = true, time.Minute
	id, _ := f.addVideo(film(t))
	begun := make(chan struct{})
	stop := f.run(&recorder{first: func(ctx context.Context, _ *detect.Image) error {
		close(begun)
		<-ctx.Done()
		return ctx.Err()
	}}, 1)
	<-begun
	stop()
	img := f.wait(id, store.ImageSeen)
	require.Zero(t, img.Attempts)
	require.Empty(t, f.videoRows())

	var calls atomic.Int64
	f.run(&recorder{first: func(context.Context, *detect.Image) error {
		switch calls.Add(1) {
		case 2:
			return &detect.Unavailable{Err: errors.New("refused")}
		case 4:
			f.ledger.refuse.Store(true) // the database is away when the video is to be stored
		}
		return nil
	}}, 1)
	require.Equal(t, 1, f.wait(id, store.ImageBatched).Attempts)
	require.Len(t, f.videoRows(), 5)
	require.EqualValues(t, 2+5, calls.Load(), "what was found is kept while the database is away")
	require.EqualValues(t, 2, f.ledger.commits.Load())
}

// More videos than the worker remembers come again by their rows.
func TestVideoWorker_MoreThanItHasRoomFor(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.apart, f.atOnce = true, 32
	// An ffmpeg that refuses all is quick.
	f.videos = video.New(video.Options{Find: func() (string, []string, error) { return "/bin/false", nil, nil }})
	data := []byte("no video")
	ids := make([]int64, 0, 70)
	for n := range cap(ids) {
		id, _ := f.addVideo(append(data, byte(n)))
		ids = append(ids, id)
	}
	after, _ := f.add(aitest.Picture(1))
	f.run(&recorder{}, 1)
	f.wait(after, store.ImageBatched)
	for _, id := range ids {
		await.True(t, func() bool {
			img, err := f.ledger.Image(t.Context(), id)
			return err == nil && img.State == store.ImageDeadLettered && img.Attempts == 1
		})
	}
}
