package detect_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"hsi.home.arpa/embedded/embeddedtest"
	"hsi.home.arpa/internal/await"
	"hsi.home.arpa/pipeline/aitest"
	"hsi.home.arpa/pipeline/detect"
	"hsi.home.arpa/pipeline/latency"
	"hsi.home.arpa/pipeline/picture"
	"hsi.home.arpa/pipeline/queue"
	"hsi.home.arpa/pipeline/redis"
	"hsi.home.arpa/pipeline/video"
	"hsi.home.arpa/pipeline/video/videotest"
	"hsi.home.arpa/store"
	"hsi.home.arpa/store/storetest"
)

type samples struct {
	mu     sync.Mutex
	counts map[latency.Stage]int
}

func (s *samples) Observe(stage latency.Stage, _ time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counts[stage]++
}

func (s *samples) count(stage latency.Stage) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.counts[stage]
}

type alive struct {
	mu      sync.Mutex
	message string
}

func (*alive) Beat()                     {}
func (*alive) Step(time.Duration) func() { return func() {} }
func (a *alive) Say(message string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.message = message
}

func (a *alive) says() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.message
}

type config struct{}

func (config) Latest() store.SystemConfig {
	return store.SystemConfig{BatchWindow: time.Hour, BatchIdleTimeout: time.Hour, DetectionConfidenceThreshold: 0.5}
}

// folder keeps thumbnails in memory; a test can make it full.
type folder struct {
	mu    sync.Mutex
	files map[string]int
	full  bool
}

func (f *folder) Write(_ context.Context, name string, jpeg []byte) (string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.full {
		return "", errors.New("no space left on device")
	}
	path := fmt.Sprintf("%d/%s", len(f.files), name)
	f.files[path] = len(jpeg)
	return path, nil
}

func (f *folder) setFull(full bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.full = full
}

// faultyLedger is the real store, which a test can make lose the answer to a commit, or the
// database.
type faultyLedger struct {
	*store.DB
	commits    atomic.Int64
	loseAnswer atomic.Bool // the commit succeeds, its answer is lost
	refuse     atomic.Bool // the commit does not reach the database
}

func (l *faultyLedger) CommitDetections(ctx context.Context, token string, detected []store.Detected, join store.Join) ([]store.Committed, error) {
	l.commits.Add(1)
	if l.refuse.Swap(false) {
		return nil, fmt.Errorf("cut: %w", store.ErrUnavailable)
	}
	committed, err := l.DB.CommitDetections(ctx, token, detected, join)
	if err == nil && l.loseAnswer.Swap(false) {
		return nil, fmt.Errorf("cut: %w", store.ErrUnavailable)
	}
	return committed, err
}

// scripted is a detector that does what a test says.
type scripted func(ctx context.Context, img *detect.Image) ([]detect.Detection, error)

func (scripted) Name() string { return "scripted" }
func (s scripted) Detect(ctx context.Context, img *detect.Image) ([]detect.Detection, error) {
	return s(ctx, img)
}

// fixture is a detect worker with its queue on a real PostgreSQL and Redis.
type fixture struct {
	t          *testing.T
	root       string
	ledger     *faultyLedger
	samples    *samples
	alive      *alive
	thumbnails *folder
	activity   *detect.Activity
	images     int
	dedupe     time.Duration
	camera     string        // of the images that are added
	subfolder  string        // of the camera's folder, for images
	limit      time.Duration // of one call of the detector
	atOnce     int           // images that a worker takes together
	roundTime  time.Duration // of those; 0: as in production
	extension  string        // of the names of the images that are added
	videos     *video.Extractor
	apart      bool   // videos have a worker of their own
	wake       func() // tells the dispatcher of new images, as the intake does
}

func setup(t *testing.T) *fixture {
	t.Helper()
	f := &fixture{
		t: t, root: filepath.Join(t.TempDir(), "cameras"), ledger: &faultyLedger{DB: storetest.New(t)}, alive: &alive{},
		samples: &samples{counts: map[latency.Stage]int{}}, thumbnails: &folder{files: map[string]int{}}, activity: detect.NewActivity(startedAMinuteAgo()),
		limit: 3 * time.Second, camera: "front", extension: ".jpg", wake: func() {}, videos: videotest.Extractor(t, video.Options{}),
	}
	require.NoError(t, os.MkdirAll(filepath.Join(f.root, "front"), 0o750))
	for _, camera := range []string{"front", "back"} {
		require.NoError(t, f.ledger.EnsureCamera(t.Context(), store.Camera{ID: camera, Name: camera, FolderPath: filepath.Join(f.root, camera)}))
	}
	return f
}

// runOnce is run with one worker whose panic ends it and comes out of the channel.
func (f *fixture) runOnce(detector detect.Detector) (stop func(), panicked <-chan any) {
	f.t.Helper()
	values := make(chan any, 1)
	return f.start(detector, 1, func() {
		if value := recover(); value != nil {
			values <- value
		}
	}), values
}

// run starts the dispatcher and a number of workers.
func (f *fixture) run(detector detect.Detector, workers int) (stop func()) {
	f.t.Helper()
	return f.start(detector, workers, func() {})
}

func (f *fixture) start(detector detect.Detector, workers int, ended func()) (stop func()) {
	f.t.Helper()
	server := embeddedtest.NewRedis(f.t)
	client, err := redis.Open(redis.Config{URL: server.URL()})
	require.NoError(f.t, err)
	log := storetest.Logger(f.t)
	memory := picture.NewMemory(1) // room for one decoded image: one that is kept stops all that follow
	q := queue.New(client.Conn, queue.Detect, log)
	dispatcher := queue.NewDispatcher(q, detect.NewSource(f.ledger, f.samples))
	f.wake = dispatcher.Wake
	ctx, cancel := context.WithCancel(context.WithoutCancel(f.t.Context()))
	var group sync.WaitGroup
	group.Go(func() { _ = dispatcher.Run(ctx, &alive{}) })
	if f.atOnce > 1 { // the worker shall find what waits together
		waiting := min(32, storetest.QueryOne[int64](f.t, f.ledger.DB, `SELECT count(*) FROM images WHERE state IN ('seen', 'queued')`))
		await.True(f.t, func() bool {
			state, err := q.State(ctx)
			return err == nil && state.Length >= waiting
		})
	}
	options := detect.Options{
		Ledger: f.ledger, Detector: detector, Settings: config{}, Thumbnails: f.thumbnails, Observer: f.samples, Activity: f.activity,
		CameraRoot: f.root, DetectLimit: f.limit, BatchClosed: func() {}, Log: log, Memory: memory, Videos: f.videos, AtOnce: f.atOnce, Cameras: 2,
	}
	if f.apart {
		options.PassVideosTo = detect.NewVideoWorker(options)
		group.Go(func() { _ = options.PassVideosTo.Run(ctx, f.alive) })
	}
	for range workers {
		worker := detect.NewWorker(q, options)
		if f.roundTime > 0 {
			detect.SetRoundTime(worker, f.roundTime)
		}
		group.Go(func() {
			defer ended()
			_ = worker.Run(ctx, f.alive)
		})
	}
	stop = sync.OnceFunc(func() {
		cancel()
		group.Wait()
		client.Close()
	})
	f.t.Cleanup(stop)
	return stop
}

// add writes an image into the camera's folder and records it.
func (f *fixture) add(data []byte) (id int64, path string) {
	f.t.Helper()
	f.images++
	path = filepath.Join(f.root, f.camera, f.subfolder, fmt.Sprintf("%04d%s", f.images, f.extension))
	require.NoError(f.t, os.WriteFile(path, data, 0o600))
	info, err := os.Stat(path)
	require.NoError(f.t, err)
	sum := sha256.Sum256(data)
	recorded, err := f.ledger.RecordImage(f.t.Context(), store.NewImage{
		ImageKey: store.ImageKey{CameraID: f.camera, FilePath: path, SizeBytes: info.Size(), ModTime: info.ModTime()},
		SHA256:   hex.EncodeToString(sum[:]), State: store.ImageSeen, DedupeWindow: f.dedupe,
	})
	require.NoError(f.t, err)
	f.wake()
	return recorded.ID, path
}

// wait waits until an image is in a state and returns it.
func (f *fixture) wait(id int64, state store.ImageState) store.Image {
	f.t.Helper()
	var img store.Image
	await.True(f.t, func() bool {
		var err error
		img, err = f.ledger.Image(f.t.Context(), id)
		require.NoError(f.t, err)
		return img.State == state
	}, "not %s", state)
	return img
}

func TestWorker_StoresWhatTheServiceFound(t *testing.T) {
	t.Parallel()
	f, server := setup(t), aitest.NewRTDETR(t)
	const n = 30
	var ids []int64
	for i := range n {
		id, _ := f.add(aitest.Picture(uint64(i), person(10+i), aitest.Detection{
			Class: "cat", Confidence: 0.3, Box: aitest.Box{X: 1, Y: 1, Width: 5, Height: 5},
		}))
		ids = append(ids, id)
	}
	empty, _ := f.add(aitest.Picture(1000))
	f.run(newRTDETR(t, server.URL()), 3)
	for _, id := range ids {
		require.NotNil(t, f.wait(id, store.ImageBatched).BatchID)
	}
	require.Equal(t, store.ReasonNoDetections, *f.wait(empty, store.ImageFiltered).Reason)
	require.Len(t, server.Calls(), n+1, "each image is detected once")

	type row struct {
		ImageID int64  `db:"image_id"`
		X       int    `db:"bbox_x"`
		Path    string `db:"thumbnail_path"`
		Type    string `db:"object_type"`
		MIME    string `db:"file_type"`
	}
	rows := storetest.Query[row](t, f.ledger.DB, `SELECT image_id, bbox_x, thumbnail_path, object_type, file_type FROM detections ORDER BY image_id`)
	require.Len(t, rows, n, "what is below the threshold is dropped")
	for i, r := range rows {
		require.Equal(t, ids[i], r.ImageID)
		require.Equal(t, 10+i, r.X)
		require.Equal(t, "person", r.Type)
		require.Equal(t, "image/jpeg", r.MIME)
		require.Positive(t, f.thumbnails.files[r.Path])
	}
	require.Len(t, f.thumbnails.files, n)
	require.InDelta(t, float64(n+1)/60, *f.activity.InferenceFPS(), 1e-9)
	require.Equal(t, n+1, f.samples.count(latency.Detect))
	await.True(t, func() bool {
		return f.samples.count(latency.WatchToDetect) == n+1 && f.samples.count(latency.DetectToBatch) == n && f.samples.count(latency.Watch) == n+1
	})
}

func TestWorker_WaitsForAServiceThatIsAway(t *testing.T) {
	t.Parallel()
	f, server := setup(t), aitest.NewRTDETR(t)
	server.Stop()
	first, _ := f.add(aitest.Picture(1, person(10)))
	second, _ := f.add(aitest.Picture(2, person(10)))
	f.run(newRTDETR(t, server.URL()), 1)
	await.True(t, func() bool { return f.alive.says() == "waiting for the detector rtdetr" })
	require.Zero(t, storetest.QueryOne[int](t, f.ledger.DB, `SELECT count(*) FROM detections`))
	server.Start()
	for _, id := range []int64{first, second} {
		require.Equal(t, 1, f.wait(id, store.ImageBatched).Attempts, "an outage costs no attempt")
	}
	await.True(t, func() bool { return f.alive.says() == "" })
}

func TestWorker_WaitsForAServiceThatIsTooSlow(t *testing.T) {
	t.Parallel()
	for _, slow := range []aitest.Behaviour{aitest.Drip(time.Second), aitest.Hang()} {
		t.Run(slow.Name, func(t *testing.T) {
			t.Parallel()
			f, server := setup(t), aitest.NewRTDETR(t)
			server.SetBehaviour(slow)
			var ids []int64
			for i := range 6 {
				id, _ := f.add(aitest.Picture(uint64(i), person(10)))
				ids = append(ids, id)
			}
			detector := newRTDETR(t, server.URL(), func(o *detect.RTDETROptions) {
				o.ConnectTimeout, o.ReadTimeout = 500*time.Millisecond, 500*time.Millisecond
			})
			f.limit = detector.Limit()
			f.run(detector, 1)
			await.True(t, func() bool { return f.alive.says() == "waiting for the detector rtdetr" })
			require.LessOrEqual(t, storetest.QueryOne[int](t, f.ledger.DB, `SELECT sum(attempts) FROM images`), 4,
				"three time-outs cost an attempt, then it is the service")
			server.SetBehaviour(aitest.Behaviour{})
			for _, id := range ids {
				f.wait(id, store.ImageBatched)
			}
		})
	}
}

func TestWorker_GivesUpAnImageThatTheServiceRefuses(t *testing.T) {
	t.Parallel()
	f, server := setup(t), aitest.NewRTDETR(t)
	server.Script(aitest.Status(400))
	refused, _ := f.add(aitest.Picture(1))
	good, _ := f.add(aitest.Picture(2, person(10)))
	f.run(newRTDETR(t, server.URL()), 1)
	require.Contains(t, *f.wait(refused, store.ImageDeadLettered).Reason, "status 400")
	f.wait(good, store.ImageBatched)
}

func TestWorker_TriesAnImageAgainABoundedNumberOfTimes(t *testing.T) {
	t.Parallel()
	f := setup(t)
	id, _ := f.add(aitest.Picture(1))
	storetest.Exec(t, f.ledger.DB, `UPDATE images SET attempts = 3`)
	var calls atomic.Int64
	f.run(scripted(func(context.Context, *detect.Image) ([]detect.Detection, error) {
		calls.Add(1)
		return nil, &detect.BadReply{Err: errors.New("gibberish")}
	}), 1)
	// The fourth attempt fails and is followed by a long pause, which is cut short here.
	await.True(t, func() bool {
		return storetest.QueryOne[int](t, f.ledger.DB, `SELECT count(*) FROM images WHERE state = 'seen' AND attempts = 4 AND next_attempt_at > now() + interval '10 s'`) == 1
	})
	storetest.Exec(t, f.ledger.DB, `UPDATE images SET next_attempt_at = now()`)
	require.Equal(t, "failed 5 times: bad reply of the detector: gibberish", *f.wait(id, store.ImageDeadLettered).Reason)
	require.EqualValues(t, 2, calls.Load())
}

func TestWorker_GivesUpWhatSomethingDiesOver(t *testing.T) {
	t.Parallel()
	f := setup(t)
	id, _ := f.add(aitest.Picture(1))
	storetest.Exec(t, f.ledger.DB, `UPDATE images SET attempts = 5`)
	f.run(scripted(func(context.Context, *detect.Image) ([]detect.Detection, error) { panic("not to be reached") }), 1)
	require.Equal(t, "not finished after 5 attempts", *f.wait(id, store.ImageDeadLettered).Reason)
}

func TestWorker_FilesThatChangeOrGo(t *testing.T) {
	t.Parallel()
	f := setup(t)
	replaced, path := f.add(aitest.Picture(1))
	require.NoError(t, os.WriteFile(path, aitest.Picture(2, person(1)), 0o600))
	removed, path := f.add(aitest.Picture(3))
	require.NoError(t, os.Remove(path))
	rewritten, path := f.add(aitest.Picture(4))
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, make([]byte, info.Size()), 0o600)) // same size and time, other bytes
	require.NoError(t, os.Chtimes(path, info.ModTime(), info.ModTime()))
	pipe, path := f.add(aitest.Picture(6))
	require.NoError(t, os.Remove(path))
	require.NoError(t, syscall.Mkfifo(path, 0o600))
	touched, path := f.add(aitest.Picture(7, person(10)))
	require.NoError(t, os.Chtimes(path, time.Now(), info.ModTime().Add(-time.Hour))) // the same bytes at another time
	broken, _ := f.add(make([]byte, 1000))
	undecodable := aitest.Picture(5)
	clear(undecodable[len(undecodable)-200 : len(undecodable)-100])
	odd, _ := f.add(undecodable)
	f.run(detect.NewMotion(), 1)
	for name, id := range map[string]int64{"other size": replaced, "other bytes": rewritten, "a pipe": pipe} {
		require.Equal(t, store.ReasonReplaced, *f.wait(id, store.ImageFiltered).Reason, name)
	}
	require.Equal(t, store.ReasonNoDetections, *f.wait(touched, store.ImageFiltered).Reason)
	require.Equal(t, store.ReasonFileGone, *f.wait(removed, store.ImageFiltered).Reason)
	require.Contains(t, *f.wait(broken, store.ImageDeadLettered).Reason, "not an image")
	await.True(t, func() bool {
		img, err := f.ledger.Image(t.Context(), odd)
		return err == nil && (img.State == store.ImageDeadLettered || img.State == store.ImageFiltered)
	})
}

// An upload is moved into place after a copy of it was recorded under another name.
func TestWorker_DetectsTheOtherNameOfAFileThatIsGone(t *testing.T) {
	t.Parallel()
	f, server := setup(t), aitest.NewRTDETR(t)
	f.dedupe = time.Minute
	data := aitest.Picture(1, person(10))
	first, path := f.add(data)
	second, _ := f.add(data)
	require.NoError(t, os.Remove(path))
	require.Equal(t, store.ReasonDuplicate, *f.wait(second, store.ImageFiltered).Reason)
	f.run(newRTDETR(t, server.URL()), 1)
	require.Equal(t, store.ReasonFileGone, *f.wait(first, store.ImageFiltered).Reason)
	f.wait(second, store.ImageBatched)
}

// takeAway moves a folder aside, with an empty one in its place where leave says so, and returns
// what brings it back.
func takeAway(t *testing.T, folder string, leave bool) (bringBack func()) {
	t.Helper()
	aside := filepath.Join(t.TempDir(), "aside")
	require.NoError(t, os.Rename(folder, aside))
	if leave {
		require.NoError(t, os.Mkdir(folder, 0o750))
	}
	return func() {
		if leave {
			require.NoError(t, os.Remove(folder))
		}
		require.NoError(t, os.Rename(aside, folder))
	}
}

func TestWorker_WaitsForCameraFoldersThatAreAway(t *testing.T) {
	t.Parallel()
	for name, leave := range map[string]bool{"gone": false, "an empty mount point": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f, server := setup(t), aitest.NewRTDETR(t)
			id, _ := f.add(aitest.Picture(1, person(10)))
			bringBack := takeAway(t, f.root, leave)
			f.run(newRTDETR(t, server.URL()), 1)
			await.True(t, func() bool { return f.alive.says() == "waiting for the camera folder" })
			bringBack()
			f.wait(id, store.ImageBatched)
		})
	}
}

func TestWorker_WaitsForTheFolderOfOneCamera(t *testing.T) {
	t.Parallel()
	for name, leave := range map[string]bool{"gone": false, "an empty mount point": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f, server := setup(t), aitest.NewRTDETR(t)
			require.NoError(t, os.MkdirAll(filepath.Join(f.root, "back"), 0o750))
			require.NoError(t, os.MkdirAll(filepath.Join(f.root, "front", "2026"), 0o750))
			f.subfolder = "2026"
			waiting, _ := f.add(aitest.Picture(1, person(10)))
			bringBack := takeAway(t, filepath.Join(f.root, "front"), leave)
			f.run(newRTDETR(t, server.URL()), 1)
			await.True(t, func() bool {
				return storetest.QueryOne[int](t, f.ledger.DB, `
					SELECT count(*) FROM images WHERE state = 'seen' AND attempts = 0 AND last_error LIKE 'camera folder is away: %' AND next_attempt_at > now()`) == 1
			})
			f.camera, f.subfolder = "back", ""
			other, _ := f.add(aitest.Picture(2, person(10)))
			f.wait(other, store.ImageBatched)
			require.Empty(t, f.alive.says(), "the others go on")
			bringBack()
			storetest.Exec(t, f.ledger.DB, `UPDATE images SET next_attempt_at = now() WHERE id = $1 AND state = 'seen'`, waiting)
			require.Equal(t, 1, f.wait(waiting, store.ImageBatched).Attempts, "waiting costs no attempt")
		})
	}
}

// The folder of a day may go with its files; the camera's own folder says that its disk is there.
func TestWorker_AFolderInsideACameraFolderThatIsGone(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.add(aitest.Picture(1))
	require.NoError(t, os.Mkdir(filepath.Join(f.root, "front", "2026"), 0o750))
	f.subfolder = "2026"
	id, path := f.add(aitest.Picture(2))
	require.NoError(t, os.RemoveAll(filepath.Dir(path)))
	f.run(detect.NewMotion(), 1)
	require.Equal(t, store.ReasonFileGone, *f.wait(id, store.ImageFiltered).Reason)
}

func TestWorker_NoRowWithoutItsThumbnail(t *testing.T) {
	t.Parallel()
	f, server := setup(t), aitest.NewRTDETR(t)
	f.thumbnails.setFull(true)
	id, _ := f.add(aitest.Picture(1, person(10)))
	f.run(newRTDETR(t, server.URL()), 1)
	await.True(t, func() bool { return f.alive.says() == "waiting for the thumbnail folder" })
	require.Zero(t, storetest.QueryOne[int](t, f.ledger.DB, `SELECT count(*) FROM detections`))
	f.thumbnails.setFull(false)
	require.Equal(t, 1, f.wait(id, store.ImageBatched).Attempts)
}

func TestWorker_ADatabaseThatBreaksOffTheCommit(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		prepare  func(*faultyLedger)
		measured int // images
	}{
		"before it": {func(l *faultyLedger) { l.refuse.Store(true) }, 2},
		"after it":  {func(l *faultyLedger) { l.loseAnswer.Store(true) }, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f, server := setup(t), aitest.NewRTDETR(t)
			id, _ := f.add(aitest.Picture(1, person(10)))
			test.prepare(f.ledger)
			f.run(newRTDETR(t, server.URL()), 1)
			require.Equal(t, 1, f.wait(id, store.ImageBatched).Attempts, "the claim goes on")
			next, _ := f.add(aitest.Picture(2, person(10)))
			f.wait(next, store.ImageBatched)
			require.Equal(t, 2, storetest.QueryOne[int](t, f.ledger.DB, `SELECT count(*) FROM detections`), "stored once each")
			await.True(t, func() bool { return f.samples.count(latency.Detect) == test.measured }, "measured after the commit")
			require.InDelta(t, float64(test.measured)/60, *f.activity.InferenceFPS(), 1e-9)
		})
	}
}

func TestWorker_TheSlowOneLosesItsClaim(t *testing.T) {
	t.Parallel()
	f := setup(t)
	id, _ := f.add(aitest.Picture(1, person(10)))
	working, goOn := make(chan struct{}), make(chan struct{})
	var calls atomic.Int64
	f.run(scripted(func(_ context.Context, img *detect.Image) ([]detect.Detection, error) {
		if calls.Add(1) == 1 {
			close(working)
			<-goOn // as a process that was frozen
		}
		return []detect.Detection{{ObjectType: "person", Confidence: 0.9, Box: img.Bounds()}}, nil
	}), 1)
	<-working
	// Its lease ends and another worker takes the image over and finishes it.
	storetest.Exec(t, f.ledger.DB, `UPDATE images SET claimed_until = now() - interval '1 s'`)
	claim := store.ImageClaim{ImageID: id, Token: "the other one"}
	_, err := f.ledger.ClaimImage(t.Context(), id, claim.Token, time.Minute)
	require.NoError(t, err)
	_, err = f.ledger.CommitDetection(t.Context(), claim, store.DetectionResult{
		Detector: "other", ImageAt: time.Now(), Detections: []store.NewDetection{{ObjectType: "person", Confidence: 0.9}},
	}, func(store.Batch, time.Time) store.JoinDecision { return store.JoinOpen })
	require.NoError(t, err)
	close(goOn)
	next, _ := f.add(aitest.Picture(2))
	f.wait(next, store.ImageBatched)
	require.Equal(t, []string{"other"}, storetest.Query[string](t, f.ledger.DB, `SELECT detector FROM detections WHERE image_id = $1`, id))
}

func TestWorker_HandsAnImageBackWhenStopped(t *testing.T) {
	t.Parallel()
	f := setup(t)
	id, _ := f.add(aitest.Picture(1, person(10)))
	working := make(chan struct{})
	stop := f.run(scripted(func(ctx context.Context, _ *detect.Image) ([]detect.Detection, error) {
		close(working)
		<-ctx.Done()
		return nil, ctx.Err()
	}), 1)
	<-working
	stop()
	img := f.wait(id, store.ImageSeen)
	require.Zero(t, img.Attempts)
	server := aitest.NewRTDETR(t)
	f.run(newRTDETR(t, server.URL()), 1)
	f.wait(id, store.ImageBatched)
}
