package pipeline_test

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"image/jpeg"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"hsi.home.arpa/embedded/embeddedtest"
	"hsi.home.arpa/internal/await"
	"hsi.home.arpa/pipeline"
	"hsi.home.arpa/pipeline/analyze"
	"hsi.home.arpa/pipeline/batch"
	"hsi.home.arpa/pipeline/demo"
	"hsi.home.arpa/pipeline/detect"
	"hsi.home.arpa/pipeline/intake"
	"hsi.home.arpa/pipeline/latency"
	"hsi.home.arpa/pipeline/queue"
	"hsi.home.arpa/pipeline/redis"
	"hsi.home.arpa/store"
	"hsi.home.arpa/store/media"
	"hsi.home.arpa/store/storetest"
)

// liveConfig is a configuration that a test can change.
type liveConfig struct {
	atomic.Pointer[store.SystemConfig]
}

func (c *liveConfig) Latest() store.SystemConfig { return *c.Load() }

// samples records what is observed.
type samples struct {
	mu  sync.Mutex
	all map[latency.Stage][]time.Duration
}

func (s *samples) Observe(stage latency.Stage, d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all[stage] = append(s.all[stage], d)
}

func (s *samples) of(stage latency.Stage) []time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.all[stage])
}

// path is the whole way of an image, wired as the server does it, on a real PostgreSQL and a real
// Redis.
type path struct {
	t          *testing.T
	cameras    string
	thumbnails string
	redis      *embeddedtest.RedisServer
	db         *store.DB
	config     *liveConfig
	samples    *samples
	detector   detect.Detector
	analyzer   analyze.Analyzer
	supervisor *pipeline.Supervisor
}

func newPath(t *testing.T) *path {
	t.Helper()
	folder := t.TempDir()
	p := &path{
		t: t, cameras: filepath.Join(folder, "cameras"), thumbnails: filepath.Join(folder, "thumbnails"),
		redis: embeddedtest.NewRedis(t), db: storetest.New(t), config: &liveConfig{},
		samples:  &samples{all: map[latency.Stage][]time.Duration{}},
		detector: detect.NewMotion(), analyzer: analyze.NewRules(time.UTC),
	}
	require.NoError(t, os.MkdirAll(p.cameras, 0o750))
	p.configure(time.Second, 0.5)
	return p
}

// configure changes the live configuration.
func (p *path) configure(idle time.Duration, threshold float64) {
	p.config.Store(&store.SystemConfig{BatchWindow: time.Hour, BatchIdleTimeout: idle, DetectionConfidenceThreshold: threshold})
}

// start runs the pipeline and returns how to stop it; the end of the test stops it too.
func (p *path) start() (stop func()) {
	p.t.Helper()
	log := storetest.Logger(p.t)
	client, err := redis.Open(redis.Config{URL: p.redis.URL()})
	require.NoError(p.t, err)
	files, err := media.New(media.Options{
		DB: p.db, Thumbnails: p.thumbnails, Clips: p.thumbnails + "-clips", Cameras: p.cameras, Log: log,
	})
	require.NoError(p.t, err)
	images, batches := queue.New(client.Conn, queue.Detect, log), queue.New(client.Conn, queue.Analyze, log)
	detectDispatcher := queue.NewDispatcher(images, detect.NewSource(p.db, p.samples))
	analyzeDispatcher := queue.NewDispatcher(batches, analyze.NewSource(p.db))
	watcher := intake.New(intake.Options{
		Root: p.cameras, Ledger: p.db, Log: log, Recorded: detectDispatcher.Wake, DedupeWindow: 5 * time.Minute,
		SettleTime: 50 * time.Millisecond, GiveUpTime: time.Second, CheckInterval: 100 * time.Millisecond,
	})
	closer := batch.NewCloser(batch.Options{Ledger: p.db, Settings: p.config, Observer: p.samples, Closed: analyzeDispatcher.Wake, Log: log})
	detector := detect.NewWorker(images, detect.Options{
		Ledger: p.db, Detector: p.detector, Settings: p.config, Thumbnails: files, Observer: p.samples, Activity: detect.NewActivity(nil),
		CameraRoot: p.cameras, DetectLimit: 10 * time.Second, BatchClosed: analyzeDispatcher.Wake, Log: log,
	})
	analyzer := analyze.NewWorker(batches, analyze.Options{
		Ledger: p.db, Analyzer: p.analyzer, Observer: p.samples, Severity: store.DefaultSeverityThresholds(), AnalyzeLimit: 10 * time.Second, Log: log,
	})
	p.supervisor = pipeline.New(pipeline.Options{Log: log})
	add := func(name, part string, group int, run func(context.Context, *pipeline.Heartbeat) error) {
		p.supervisor.Add(pipeline.Function{Name: name, Part: part, Group: group, Run: run})
	}
	add(pipeline.FileWatcher, "", pipeline.GroupIntake, func(ctx context.Context, h *pipeline.Heartbeat) error { return watcher.Run(ctx, h) })
	add(pipeline.DetectionWorker, "dispatcher", pipeline.GroupWorkers, func(ctx context.Context, h *pipeline.Heartbeat) error { return detectDispatcher.Run(ctx, h) })
	add(pipeline.DetectionWorker, "1", pipeline.GroupWorkers, func(ctx context.Context, h *pipeline.Heartbeat) error { return detector.Run(ctx, h) })
	add(pipeline.AnalysisWorker, "dispatcher", pipeline.GroupWorkers, func(ctx context.Context, h *pipeline.Heartbeat) error { return analyzeDispatcher.Run(ctx, h) })
	add(pipeline.AnalysisWorker, "1", pipeline.GroupWorkers, func(ctx context.Context, h *pipeline.Heartbeat) error { return analyzer.Run(ctx, h) })
	add(pipeline.BatchWorker, "", pipeline.GroupWorkers, func(ctx context.Context, h *pipeline.Heartbeat) error { return closer.Run(ctx, h) })

	ctx, cancel := context.WithCancel(context.WithoutCancel(p.t.Context()))
	done := make(chan error, 1)
	go func() { done <- p.supervisor.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			p.t.Errorf("supervisor stopped with %v", err)
		}
		client.Close()
	})
	p.t.Cleanup(stop)
	return stop
}

// upload writes a frame of a scene into a camera folder, dated as if the camera took one each
// second.
func (p *path) upload(camera string, scene *demo.Scene, frame int, takenAt time.Time) {
	p.t.Helper()
	var buffer bytes.Buffer
	require.NoError(p.t, jpeg.Encode(&buffer, scene.Frame(frame), nil))
	folder := filepath.Join(p.cameras, camera)
	require.NoError(p.t, os.MkdirAll(folder, 0o750))
	temporary := filepath.Join(folder, fmt.Sprintf(".%04d.part", frame))
	require.NoError(p.t, os.WriteFile(temporary, buffer.Bytes(), 0o600))
	require.NoError(p.t, os.Chtimes(temporary, takenAt, takenAt))
	require.NoError(p.t, os.Rename(temporary, filepath.Join(folder, fmt.Sprintf("%04d.jpg", frame))))
}

// waitFinal waits until n images are in one of the states that nothing leads out of.
func (p *path) waitFinal(n int) {
	p.t.Helper()
	p.t.Cleanup(func() {
		if p.t.Failed() {
			p.t.Logf("images: %v; batches: %v", p.states(),
				storetest.Query[string](p.t, p.db, `SELECT state || ' ' || count(*) FROM batches GROUP BY state`))
		}
	})
	await.True(p.t, func() bool {
		return storetest.QueryOne[int](p.t, p.db, `SELECT count(*) FROM images WHERE state IN ('analyzed', 'filtered', 'dead_lettered')`) == n
	}, "images are left")
}

func (p *path) states() []string {
	return storetest.Query[string](p.t, p.db, `SELECT state || '/' || coalesce(reason, '') || ' ' || count(*) FROM images GROUP BY state, reason ORDER BY 1`)
}

func TestPath_FromFileToEvent(t *testing.T) {
	t.Parallel()
	p := newPath(t)
	p.configure(time.Hour, 0.5)
	p.start()
	await.True(t, func() bool {
		for _, w := range p.supervisor.Workers()[2:] {
			if !w.Running || w.Message != "" {
				return false
			}
		}
		return true
	})

	scene := demo.Story(1)
	takenAt := time.Now().Add(-time.Minute).Truncate(time.Second)
	const frames = 25
	for frame := range frames {
		p.upload("Front Door", scene, frame, takenAt.Add(time.Duration(frame)*time.Second))
	}
	await.True(t, func() bool {
		return storetest.QueryOne[int](t, p.db, `SELECT count(*) FROM images WHERE state IN ('batched', 'filtered')`) == frames
	}, "images: %v", p.states())
	p.configure(time.Millisecond, 0.5) // the batch is over now
	p.waitFinal(frames)

	events, err := p.db.ListEvents(t.Context(), 0, 10)
	require.NoError(t, err)
	require.Len(t, events, 1, "states: %v", p.states())
	event := events[0]
	require.Equal(t, "front_door", event.CameraID)
	require.Equal(t, "rules", *event.Analyzer)
	require.Contains(t, *event.Reasoning, "Built-in rules")
	require.Contains(t, *event.Summary, "Front Door")
	require.Equal(t, string(store.DefaultSeverityThresholds().Level(*event.RiskScore)), *event.RiskLevel)
	require.False(t, event.StartedAt.Before(takenAt.Add(3*time.Second)), "image time, not the time of the upload")
	require.False(t, event.EndedAt.After(takenAt.Add(frames*time.Second)))
	require.True(t, event.EndedAt.After(event.StartedAt))
	p.checkDetections(event)
	p.checkSamples(frames)
}

// checkDetections compares rows, thumbnails and event.
func (p *path) checkDetections(event store.Event) {
	p.t.Helper()
	type row struct {
		ImageID   int64   `db:"image_id"`
		EventID   int64   `db:"event_id"`
		Detector  string  `db:"detector"`
		Type      string  `db:"object_type"`
		Thumbnail string  `db:"thumbnail_path"`
		Width     int     `db:"bbox_width"`
		Score     float64 `db:"confidence"`
	}
	detections := storetest.Query[row](p.t, p.db, `
		SELECT image_id, event_id, detector, object_type, thumbnail_path, bbox_width, confidence FROM detections`)
	require.Greater(p.t, len(detections), 15)
	require.Len(p.t, detections, event.Detections)
	files := map[string]bool{}
	for _, d := range detections {
		require.Equal(p.t, event.ID, d.EventID)
		require.Equal(p.t, "motion", d.Detector)
		require.Equal(p.t, "motion", d.Type)
		require.GreaterOrEqual(p.t, d.Score, 0.5)
		require.Positive(p.t, d.Width)
		data, err := os.ReadFile(filepath.Join(p.thumbnails, d.Thumbnail))
		require.NoError(p.t, err)
		config, format, err := image.DecodeConfig(bytes.NewReader(data))
		require.NoError(p.t, err)
		require.Equal(p.t, "jpeg", format)
		require.Equal(p.t, [2]int{320, 240}, [2]int{config.Width, config.Height})
		files[d.Thumbnail] = true
	}
	require.Len(p.t, files, len(detections), "each detection has its own thumbnail")
	type count struct {
		Images   int `db:"images"`
		Analyzed int `db:"analyzed"`
	}
	counts := storetest.QueryOne[count](p.t, p.db, `
		SELECT count(DISTINCT image_id) AS images, (SELECT count(*) FROM images WHERE state = 'analyzed') AS analyzed FROM detections`)
	require.Equal(p.t, counts.Images, counts.Analyzed)
}

// checkSamples compares what was measured with what happened.
func (p *path) checkSamples(frames int) {
	p.t.Helper()
	batched := storetest.QueryOne[int](p.t, p.db, `SELECT count(*) FROM images WHERE state = 'analyzed'`)
	for stage, want := range map[latency.Stage]int{
		latency.Watch: frames, latency.WatchToDetect: frames, latency.Detect: frames, latency.DetectToBatch: batched,
		latency.Batch: 1, latency.Analyze: 1, latency.BatchToAnalyze: 1, latency.TotalPipeline: 1,
	} {
		got := p.samples.of(stage)
		require.Len(p.t, got, want, stage)
		for _, d := range got {
			require.GreaterOrEqual(p.t, d, time.Duration(0), stage)
			require.Less(p.t, d, time.Minute, stage)
		}
	}
}

func TestPath_RunsOnAfterARestartAndAFlush(t *testing.T) {
	t.Parallel()
	p := newPath(t)
	stop := p.start()
	scene := demo.Story(2)
	takenAt := time.Now().Add(-time.Minute).Truncate(time.Second)
	const frames = 24
	for frame := range frames {
		p.upload("yard", scene, frame, takenAt.Add(time.Duration(frame)*time.Second))
		if frame == frames/2 {
			stop() // whatever was in work is handed back
			client, err := redis.Open(redis.Config{URL: p.redis.URL()})
			require.NoError(t, err)
			conn, err := client.Conn(t.Context())
			require.NoError(t, err)
			require.NoError(t, conn.Do(t.Context(), conn.B().Flushall().Build()).Error())
			client.Close()
			p.start()
		}
	}
	p.waitFinal(frames)
	require.Zero(t, storetest.QueryOne[int](t, p.db, `SELECT count(*) FROM images WHERE state = 'dead_lettered'`), "%v", p.states())
	require.Zero(t, storetest.QueryOne[int](t, p.db, `SELECT count(*) FROM detections WHERE event_id IS NULL`))
	require.NotZero(t, storetest.QueryOne[int](t, p.db, `SELECT count(*) FROM events`))
}

func TestPath_TheThresholdIsReadForEachImage(t *testing.T) {
	t.Parallel()
	p := newPath(t)
	p.configure(time.Second, 1)
	p.start()
	scene := demo.Story(1)
	takenAt := time.Now().Add(-time.Minute).Truncate(time.Second)
	for frame := range 10 {
		p.upload("yard", scene, frame, takenAt.Add(time.Duration(frame)*time.Second))
	}
	p.waitFinal(10)
	require.Equal(t, []string{"filtered/no_detections 10"}, p.states())
	p.configure(time.Second, 0)
	for frame := 10; frame < 14; frame++ {
		p.upload("yard", scene, frame, takenAt.Add(time.Duration(frame)*time.Second))
	}
	p.waitFinal(14)
	require.Equal(t, []string{"analyzed/ 4", "filtered/no_detections 10"}, p.states())
}
