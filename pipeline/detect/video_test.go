package detect_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"hsi.home.arpa/pipeline/aitest"
	"hsi.home.arpa/pipeline/detect"
	"hsi.home.arpa/pipeline/latency"
	"hsi.home.arpa/pipeline/video/videotest"
	"hsi.home.arpa/store"
	"hsi.home.arpa/store/storetest"
)

// made is the film, which the first test that asks makes for all.
var made struct {
	sync.Once

	film []byte
}

// film is a video of nine seconds, so of five pictures, on which a white square walks over a gray
// ground.
func film(t *testing.T) []byte {
	t.Helper()
	made.Do(func() { made.film = makeFilm(t) })
	require.NotEmpty(t, made.film, "the first test could not make it")
	return slices.Clone(made.film)
}

func makeFilm(t *testing.T) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "film.mp4")
	videotest.Make(t, path, "-f", "lavfi", "-i", "color=gray:size=320x240:rate=5:duration=9",
		"-f", "lavfi", "-i", "color=white:size=60x100:rate=5:duration=9", "-filter_complex", "overlay=x=20*t:y=70", "-c:v", "libx264", "-pix_fmt", "yuv420p")
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	return data
}

func (f *fixture) addVideo(data []byte) (id int64, path string) {
	f.extension = ".mp4"
	defer func() { f.extension = ".jpg" }()
	return f.add(data)
}

type videoRow struct {
	ImageID   int64  `db:"image_id"`
	FileType  string `db:"file_type"`
	MediaType string `db:"media_type"`
	Thumbnail string `db:"thumbnail_path"`
}

func (f *fixture) videoRows() []videoRow {
	f.t.Helper()
	return storetest.Query[videoRow](f.t, f.ledger.DB, `
		SELECT image_id, file_type, media_type, thumbnail_path FROM detections WHERE file_path LIKE '%.mp4' ORDER BY id`)
}

func TestWorker_AVideoIsOneImage(t *testing.T) {
	t.Parallel()
	for _, atOnce := range []int{1, 32} { // alone, and among images
		t.Run(fmt.Sprint(atOnce), func(t *testing.T) {
			t.Parallel()
			f, detector := setup(t), &recorder{}
			f.atOnce = atOnce
			before, _ := f.add(aitest.Picture(1))
			id, _ := f.addVideo(film(t))
			after, _ := f.add(aitest.Picture(2))
			f.run(detector, 1)
			f.wait(before, store.ImageBatched)
			f.wait(after, store.ImageBatched)
			require.Equal(t, 1, f.wait(id, store.ImageBatched).Attempts)
			rows := f.videoRows()
			require.Len(t, rows, 5)
			for i, r := range rows {
				require.Equal(t, fmt.Sprintf("%d-%d.jpg", id, i), filepath.Base(r.Thumbnail), "the real folder keeps one file for a name")
				require.Equal(t, videoRow{ImageID: id, FileType: "video/mp4", MediaType: "video", Thumbnail: r.Thumbnail}, r)
				require.Positive(t, f.thumbnails.files[r.Thumbnail])
			}
			require.Len(t, f.thumbnails.files, 7, "each has its own")
			require.Subset(t, detector.shownOf("front"), []string{"0002-0.jpg", "0002-2.jpg", "0002-4.jpg", "0002-6.jpg", "0002-8.jpg"})
			require.Equal(t, 7, f.samples.count(latency.Detect), "each picture is a call of the detector")
			require.InDelta(t, 7.0/60, *f.activity.InferenceFPS(), 1e-9)
			require.Equal(t, 3, f.count(`SELECT sum(image_count) FROM batches`))
		})
	}
}

func TestWorker_ABrokenVideoIsGivenUp(t *testing.T) {
	t.Parallel()
	f := setup(t)
	id, path := f.addVideo([]byte("no video"))
	f.run(&recorder{}, 1)
	reason := *f.wait(id, store.ImageDeadLettered).Reason
	require.Contains(t, reason, "broken video")
	require.NotContains(t, reason, filepath.Dir(path))
}

func TestWorker_AVideoWithOtherBytesIsAnotherImage(t *testing.T) {
	t.Parallel()
	f := setup(t)
	data := film(t)
	id, path := f.addVideo(data)
	data[len(data)-1] ^= 1
	require.NoError(t, os.WriteFile(path, data, 0o600))
	f.run(&recorder{}, 1)
	require.Equal(t, store.ReasonReplaced, *f.wait(id, store.ImageFiltered).Reason)
	require.Empty(t, f.videoRows())
}

func TestWorker_AVideoIsStoredWholeOrNotAtAll(t *testing.T) {
	t.Parallel()
	f := setup(t)
	id, _ := f.addVideo(film(t))
	var calls, commits atomic.Int64
	f.run(&recorder{first: func(context.Context, *detect.Image) error {
		if calls.Add(1) == 3 {
			commits.Store(f.ledger.commits.Load())
			return &detect.Unavailable{Err: errors.New("refused")}
		}
		return nil
	}}, 1)
	require.Equal(t, 1, f.wait(id, store.ImageBatched).Attempts, "an outage costs no attempt")
	require.Len(t, f.videoRows(), 5)
	require.EqualValues(t, 3+5, calls.Load())
	require.Zero(t, commits.Load(), "nothing is stored in between")
	require.EqualValues(t, 1, f.ledger.commits.Load(), "one transaction")
}

func TestWorker_MotionInAVideo(t *testing.T) {
	t.Parallel()
	f := setup(t)
	id, _ := f.addVideo(film(t))
	f.run(detect.NewMotion(), 1)
	f.wait(id, store.ImageBatched)
	require.NotEmpty(t, f.videoRows())
	require.Equal(t, 1, f.count(`SELECT count(DISTINCT object_type) FROM detections WHERE object_type = 'motion'`))
}
