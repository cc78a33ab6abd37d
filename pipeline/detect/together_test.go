package detect_test

import (
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"hsi.home.arpa/internal/await"
	"hsi.home.arpa/internal/nightly"
	"hsi.home.arpa/pipeline/aitest"
	"hsi.home.arpa/pipeline/detect"
	"hsi.home.arpa/pipeline/latency"
	"hsi.home.arpa/store"
	"hsi.home.arpa/store/storetest"
)

// recorder is a detector that notes what it is shown and finds a person in each image.
type recorder struct {
	mu    sync.Mutex
	shown []string // camera/name
	// first is called for each image before it is answered; may be nil.
	first func(ctx context.Context, img *detect.Image) error
}

func (*recorder) Name() string { return "recorder" }

func (r *recorder) Detect(ctx context.Context, img *detect.Image) ([]detect.Detection, error) {
	r.mu.Lock()
	r.shown = append(r.shown, img.CameraID+"/"+img.Name)
	r.mu.Unlock()
	if r.first != nil {
		if err := r.first(ctx, img); err != nil {
			return nil, err
		}
	}
	return []detect.Detection{{ObjectType: "person", Confidence: 0.9, Box: img.Bounds()}}, nil
}

func (r *recorder) shownOf(camera string) (names []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, path := range r.shown {
		if name, of := strings.CutPrefix(path, camera+"/"); of {
			names = append(names, name)
		}
	}
	return names
}

// addSeveral adds images, the cameras taking turns, and returns their ids.
func (f *fixture) addSeveral(n int) (ids []int64) {
	f.t.Helper()
	require.NoError(f.t, os.MkdirAll(filepath.Join(f.root, "back"), 0o750))
	data := aitest.Picture(1)
	for i := range n {
		f.camera = []string{"front", "back"}[i%2]
		id, _ := f.add(slices.Concat(data[:2], []byte{0xFF, 0xFE, 0, 4, byte(i >> 8), byte(i)}, data[2:])) // a comment makes it another image
		ids = append(ids, id)
	}
	return ids
}

func (f *fixture) count(query string, args ...any) int {
	f.t.Helper()
	return storetest.QueryOne[int](f.t, f.ledger.DB, query, args...)
}

func TestWorker_SeveralTogether(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.atOnce = 32
	const n = 100
	ids := f.addSeveral(n)
	var atOnce, most atomic.Int64
	meet := make(chan struct{})
	detector := &recorder{first: func(ctx context.Context, _ *detect.Image) error {
		if now := atOnce.Add(1); now == 2 && most.CompareAndSwap(0, 2) {
			close(meet) // the other camera's image is being detected too
		}
		defer atOnce.Add(-1)
		select {
		case <-meet:
		case <-ctx.Done():
		}
		return nil
	}}
	f.limit = 20 * time.Second
	f.run(detector, 1)
	for _, id := range ids {
		require.Equal(t, 1, f.wait(id, store.ImageBatched).Attempts)
	}
	require.EqualValues(t, 2, most.Load(), "two cameras at the same time")
	for _, camera := range []string{"front", "back"} {
		shown := detector.shownOf(camera)
		require.Len(t, shown, n/2)
		require.True(t, slices.IsSorted(shown), "in order: %v", shown)
	}
	require.Equal(t, n, f.count(`SELECT count(*) FROM detections AS d JOIN images AS i ON i.id = d.image_id AND i.file_path = d.file_path AND i.batch_id = d.batch_id`))
	require.Less(t, f.ledger.commits.Load(), int64(n/4), "stored together")
	require.Equal(t, n, f.samples.count(latency.Detect))
	require.InDelta(t, float64(n)/60, *f.activity.InferenceFPS(), 1e-9)
}

func TestWorker_ADatabaseThatBreaksOffTheCommitOfSeveral(t *testing.T) {
	t.Parallel()
	for name, prepare := range map[string]func(*faultyLedger){
		"before it": func(l *faultyLedger) { l.refuse.Store(true) },
		"after it":  func(l *faultyLedger) { l.loseAnswer.Store(true) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := setup(t)
			f.atOnce = 32
			ids := f.addSeveral(20)
			prepare(f.ledger)
			detector := &recorder{}
			f.run(detector, 1)
			for _, id := range ids {
				require.Equal(t, 1, f.wait(id, store.ImageBatched).Attempts)
			}
			require.Len(t, detector.shownOf("front"), 10, "what was seen is not shown again")
			require.Equal(t, 20, f.count(`SELECT count(*) FROM detections`))
			require.Len(t, f.thumbnails.files, 20)
		})
	}
}

// One image that goes wrong, in whatever way, takes none of the others with it.
func TestWorker_OneOfSeveralGoesWrong(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.atOnce = 32
	ids := f.addSeveral(20)
	path := func(i int) string {
		return storetest.QueryOne[string](t, f.ledger.DB, `SELECT file_path FROM images WHERE id = $1`, ids[i])
	}
	require.NoError(t, os.Remove(path(3)))
	require.NoError(t, os.WriteFile(path(4), []byte("replaced"), 0o600))
	nan, refused, gibberish := filepath.Base(path(5)), filepath.Base(path(6)), filepath.Base(path(7))
	f.run(scripted(func(_ context.Context, img *detect.Image) ([]detect.Detection, error) {
		found := []detect.Detection{{ObjectType: "person", Confidence: 0.9, Box: img.Bounds()}}
		switch img.Name {
		case nan:
			found[0].Confidence = 1.5 // is found out by the store only
		case refused:
			return nil, &detect.Unusable{Err: fmt.Errorf("refused")}
		case gibberish:
			return nil, &detect.BadReply{Err: fmt.Errorf("gibberish")}
		}
		return found, nil
	}), 1)
	for i, id := range ids {
		switch i {
		case 3:
			require.Equal(t, store.ReasonFileGone, *f.wait(id, store.ImageFiltered).Reason)
		case 4:
			require.Equal(t, store.ReasonReplaced, *f.wait(id, store.ImageFiltered).Reason)
		case 5:
			require.Contains(t, *f.wait(id, store.ImageDeadLettered).Reason, "confidence 1.5")
		case 6:
			require.Contains(t, *f.wait(id, store.ImageDeadLettered).Reason, "refused")
		case 7:
			await.True(t, func() bool {
				return f.count(`SELECT count(*) FROM images WHERE id = $1 AND state = 'seen' AND attempts = 1 AND next_attempt_at > now()`, id) == 1
			})
		default:
			require.Equal(t, 1, f.wait(id, store.ImageBatched).Attempts)
		}
	}
	require.Equal(t, 15, f.count(`SELECT count(*) FROM detections`))
	require.False(t, math.IsNaN(*f.activity.InferenceFPS()))
}

// Something that dies over one image costs its neighbours at most one attempt: what was tried
// before is claimed alone.
func TestWorker_APanicOverOneOfSeveral(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.atOnce = 32
	ids := f.addSeveral(8)
	poison := filepath.Base(storetest.QueryOne[string](t, f.ledger.DB, `SELECT file_path FROM images WHERE id = $1`, ids[2]))
	detector := &recorder{first: func(_ context.Context, img *detect.Image) error {
		if img.Name == poison {
			panic("the decoder fell over")
		}
		return nil
	}}
	for range 7 { // the supervisor starts the worker again
		stop, panicked := f.runOnce(detector)
		await.True(t, func() bool {
			select {
			case value := <-panicked:
				require.Contains(t, value, "the decoder fell over")
				return true
			default:
				return f.count(`SELECT count(*) FROM images WHERE state IN ('seen', 'queued', 'detecting')`) == 0
			}
		})
		stop()
		storetest.Exec(t, f.ledger.DB, `UPDATE images SET claimed_until = now() - interval '1 s' WHERE state = 'detecting'`)
	}
	for i, id := range ids {
		if i == 2 {
			require.Equal(t, "not finished after 5 attempts", *f.wait(id, store.ImageDeadLettered).Reason)
			continue
		}
		require.LessOrEqual(t, f.wait(id, store.ImageBatched).Attempts, 2)
	}
}

func TestWorker_HandsSeveralBackWhenStopped(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.atOnce = 32
	ids := f.addSeveral(10)
	working := make(chan struct{}, 100)
	stop := f.run(scripted(func(ctx context.Context, _ *detect.Image) ([]detect.Detection, error) {
		working <- struct{}{}
		<-ctx.Done()
		return nil, ctx.Err()
	}), 1)
	<-working
	stop()
	for _, id := range ids {
		require.Zero(t, f.wait(id, store.ImageSeen).Attempts)
	}
	f.run(&recorder{}, 1)
	for _, id := range ids {
		f.wait(id, store.ImageBatched)
	}
}

// When images take long the first ones are stored while the others are still being worked on, and
// the claims of these go on.
func TestWorker_SeveralThatTakeLong(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.atOnce, f.limit = 32, 30*time.Second
	f.roundTime = time.Nanosecond // any image takes longer
	ids := f.addSeveral(6)
	shown, answer := make(chan struct{}, 10), make(chan struct{}, 10)
	detector := &recorder{first: func(ctx context.Context, _ *detect.Image) error {
		shown <- struct{}{}
		select {
		case <-answer:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}}
	f.run(detector, 1)
	<-shown
	<-shown // one of each camera
	answer <- struct{}{}
	answer <- struct{}{}
	f.wait(ids[0], store.ImageBatched)
	f.wait(ids[1], store.ImageBatched)
	<-shown
	<-shown
	for _, id := range ids[2:] {
		require.Equal(t, store.ImageDetecting, f.wait(id, store.ImageDetecting).State)
	}
	close(answer)
	for _, id := range ids {
		require.Equal(t, 1, f.wait(id, store.ImageBatched).Attempts)
	}
	require.True(t, slices.IsSorted(detector.shownOf("front")))
	require.Len(t, detector.shownOf("back"), 3)
}

// addBacklog adds many images, which all have the same file.
func (f *fixture) addBacklog(n int) {
	f.t.Helper()
	id, _ := f.add(aitest.Picture(8))
	storetest.Exec(f.t, f.ledger.DB, `
		INSERT INTO images (camera_id, file_path, size_bytes, mtime, sha256, seen_at)
		SELECT camera_id, file_path, size_bytes, mtime - n * interval '1 s', sha256, seen_at - n * interval '1 ms'
		FROM images, generate_series(1, $2) AS n WHERE id = $1`, id, n)
	storetest.Exec(f.t, f.ledger.DB, `ANALYZE images`)
}

// 100,000 images at once, or 20,000 in the short form, neither fill the memory nor keep the probes
// and the telemetry waiting.
func TestWorker_AHundredThousandAtOnce(t *testing.T) {
	t.Parallel()
	backlog := nightly.Pick[int64](20_000, 100_000)
	f := setup(t)
	f.atOnce = 32
	f.addBacklog(int(backlog))
	before := heapBytes()
	var detected atomic.Int64
	f.run(scripted(func(context.Context, *detect.Image) ([]detect.Detection, error) {
		detected.Add(1)
		return nil, nil
	}), 1)
	var most int64
	for detected.Load() < 1000 {
		require.NoError(t, f.ledger.Ping(t.Context()))
		depths, err := f.ledger.QueueDepths(t.Context())
		require.NoError(t, err)
		require.Greater(t, depths.Detection, backlog/2)
		most = max(most, heapBytes()-before)
	}
	t.Logf("%d waiting: %d kB more heap", backlog, most/1000)
	require.Less(t, most, int64(128<<20))
}

// heapBytes is how much memory is in use or not yet collected, in the whole test process.
func heapBytes() int64 {
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc)
}

// A camera with a long backlog holds the others up by no more than what is in the stream and in
// work.
func TestWorker_OneCameraDoesNotHoldUpTheOthers(t *testing.T) {
	t.Parallel()
	for name, atOnce := range map[string]int{"one at a time": 1, "several together": 32} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const backlog = 10_000
			f := setup(t)
			f.atOnce = atOnce
			f.addSeveral(2) // both cameras have a picture
			f.camera = "front"
			f.addBacklog(backlog)
			ticker := time.NewTicker(10 * time.Millisecond) // what this detector takes for an image
			t.Cleanup(ticker.Stop)
			var fronts atomic.Int64
			backAt := make(chan int64, 10)
			f.run(scripted(func(ctx context.Context, img *detect.Image) ([]detect.Detection, error) {
				select {
				case <-ticker.C:
				case <-ctx.Done():
					return nil, ctx.Err()
				}
				if img.CameraID == "back" {
					backAt <- fronts.Load()
				} else {
					fronts.Add(1)
				}
				return nil, nil
			}), 1)
			next := func() int64 { return await.Value(t, backAt, "the other camera's image is not detected") }
			// What is in the stream and in work is at most 160. A busy machine holds the dispatcher
			// up beside that.
			const most = backlog / 10
			require.Less(t, next(), int64(most), "the one from the beginning")
			await.True(t, func() bool { return fronts.Load() > 100 }, "it runs at its pace")
			f.camera = "back"
			f.add(aitest.Picture(9))
			before := fronts.Load() // it waits from now on
			after := next()
			t.Logf("%d of %d waiting images came first", after-before, backlog)
			require.Less(t, after-before, int64(most))
		})
	}
}
