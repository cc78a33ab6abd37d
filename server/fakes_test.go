package server

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"hsi.home.arpa/gpu"
	"hsi.home.arpa/internal/await"
	"hsi.home.arpa/internal/logtest"
	"hsi.home.arpa/pipeline"
	"hsi.home.arpa/pipeline/latency"
	"hsi.home.arpa/server/contracttest"
	"hsi.home.arpa/server/health"
	"hsi.home.arpa/store"
	"hsi.home.arpa/store/media"
	"hsi.home.arpa/store/retention"
)

// fakes are the dependencies of a server under test. Each function may be replaced before the
// server starts; the first ones return what the examples of the API's description show.
type fakes struct {
	health    func() health.Report
	readiness func() health.Readiness
	gpu       func() gpu.Snapshot
	samples   func(ctx context.Context, since *time.Time, limit int) ([]store.GPUSample, error)
	revision  func(ctx context.Context) (string, error)
	counts    func(ctx context.Context) (store.Counts, error)
	depths    func(ctx context.Context) (store.QueueDepths, error)
	config    func(ctx context.Context) (store.SystemConfig, error)
	update    func(ctx context.Context, update store.SystemConfigUpdate, actor store.Actor) (store.SystemConfig, error)
	letters   func(ctx context.Context, selection store.DeadLetterSelection, afterID int64, limit int) ([]store.DeadLetter, error)
	total     func(ctx context.Context, selection store.DeadLetterSelection) (int64, error)
	requeue   func(ctx context.Context, selection store.DeadLetterSelection, actor store.Actor) (int64, error)
	latency   func(stage latency.Stage, windowMinutes int) (latency.Summary, error)
	media     func() (media.Report, error)
	cleanup   func(ctx context.Context, dryRun bool) (retention.Report, error)
	seen      *fakeSeen
	pictures  *fakePictures
	sessions  *fakeSessions
	live      func() error
	log       *logtest.Output
}

func (f *fakes) Health() health.Report       { return f.health() }
func (f *fakes) Readiness() health.Readiness { return f.readiness() }
func (f *fakes) Latest() gpu.Snapshot        { return f.gpu() }

func (f *fakes) ListGPUSamples(ctx context.Context, since *time.Time, limit int) ([]store.GPUSample, error) {
	return f.samples(ctx, since, limit)
}

func (f *fakes) GPUSamplesRevision(ctx context.Context) (string, error)     { return f.revision(ctx) }
func (f *fakes) Counts(ctx context.Context) (store.Counts, error)           { return f.counts(ctx) }
func (f *fakes) QueueDepths(ctx context.Context) (store.QueueDepths, error) { return f.depths(ctx) }
func (f *fakes) Get(ctx context.Context) (store.SystemConfig, error)        { return f.config(ctx) }

func (f *fakes) Update(ctx context.Context, update store.SystemConfigUpdate, actor store.Actor) (store.SystemConfig, error) {
	return f.update(ctx, update, actor)
}

func (f *fakes) DeadLetters(ctx context.Context, selection store.DeadLetterSelection, afterID int64, limit int) ([]store.DeadLetter, error) {
	return f.letters(ctx, selection, afterID, limit)
}

func (f *fakes) CountDeadLetters(ctx context.Context, selection store.DeadLetterSelection) (int64, error) {
	return f.total(ctx, selection)
}

func (f *fakes) RequeueDeadLetters(ctx context.Context, selection store.DeadLetterSelection, actor store.Actor) (int64, error) {
	return f.requeue(ctx, selection, actor)
}

func (f *fakes) Summary(stage latency.Stage, windowMinutes int) (latency.Summary, error) {
	return f.latency(stage, windowMinutes)
}
func (f *fakes) Storage() (media.Report, error) { return f.media() }

func (f *fakes) Cleanup(ctx context.Context, dryRun bool) (retention.Report, error) {
	return f.cleanup(ctx, dryRun)
}

func at(tb testing.TB, text string) time.Time {
	tb.Helper()
	parsed, err := time.Parse(time.RFC3339, text)
	require.NoError(tb, err)
	return parsed
}

func healthyServices(at time.Time) health.Services {
	return health.Services{
		Database: health.Service{State: health.Healthy, Message: "Database operational", At: at},
		Redis:    health.Service{State: health.Healthy, Message: "Redis connected", Details: map[string]string{"redis_version": "7.0.0"}, At: at},
		AI: health.Service{
			State: health.Healthy, Message: "AI services operational", Details: map[string]string{"rtdetr": "healthy", "nemotron": "healthy"}, At: at,
		},
		Storage: health.Service{State: health.Healthy, Message: "Media storage operational", At: at},
	}
}

func milli(values ...float64) []time.Duration {
	durations := make([]time.Duration, len(values))
	for i, value := range values {
		durations[i] = time.Duration(value * float64(time.Millisecond))
	}
	return durations
}

func summary(count int64, values ...float64) latency.Summary {
	d := milli(values...)
	return latency.Summary{Count: count, Avg: d[0], Min: d[1], Max: d[2], P50: d[3], P95: d[4], P99: d[5]}
}

func newFakes(tb testing.TB) *fakes {
	tb.Helper()
	probed := at(tb, "2025-12-23T10:30:00Z")
	sample := store.GPUSample{
		RecordedAt: at(tb, "2025-12-23T10:00:00Z"), GPUName: new("NVIDIA RTX A5500"), UtilizationPercent: new(72.0),
		MemoryUsedMiB: new(int64(11500)), MemoryTotalMiB: new(int64(24000)), TemperatureCelsius: new(64.0), PowerWatts: new(145.0),
		InferenceFPS: new(28.5),
	}
	config := store.SystemConfig{RetentionDays: 30, BatchWindow: 90 * time.Second, BatchIdleTimeout: 30 * time.Second, DetectionConfidenceThreshold: 0.5}
	return &fakes{
		log:  &logtest.Output{},
		seen: newFakeSeen(tb), pictures: newFakePictures(), sessions: newFakeSessions(),
		live: func() error { return nil },
		health: func() health.Report {
			return health.Report{State: health.Healthy, Services: healthyServices(probed), At: probed}
		},
		readiness: func() health.Readiness {
			services := healthyServices(probed)
			services.AI.Details = nil
			return health.Readiness{Ready: true, State: health.Ready, Services: services, At: probed, Workers: []pipeline.WorkerStatus{
				{Name: pipeline.GPUMonitor, Running: true},
				{Name: pipeline.CleanupService, Running: true},
				{Name: pipeline.DetectionWorker, Running: true},
				{Name: pipeline.AnalysisWorker, Running: true},
			}}
		},
		gpu: func() gpu.Snapshot {
			return gpu.Snapshot{State: gpu.StateOK, Sample: &gpu.Sample{
				Name: new("NVIDIA RTX A5500"), UtilizationPercent: new(75.5), MemoryUsedMiB: new(int64(12000)), MemoryTotalMiB: new(int64(24000)),
				TemperatureCelsius: new(65.0), PowerWatts: new(150.0),
			}}
		},
		samples: func(context.Context, *time.Time, int) ([]store.GPUSample, error) {
			return []store.GPUSample{sample}, nil
		},
		revision: func(context.Context) (string, error) { return "1", nil },
		counts: func(context.Context) (store.Counts, error) {
			return store.Counts{Cameras: 4, Events: 156, Detections: 892, GPUSamples: 2880, Logs: 5000}, nil
		},
		depths: func(context.Context) (store.QueueDepths, error) {
			return store.QueueDepths{Detection: 5, Analysis: 2}, nil
		},
		config: func(context.Context) (store.SystemConfig, error) { return config, nil },
		update: func(_ context.Context, update store.SystemConfigUpdate, _ store.Actor) (store.SystemConfig, error) {
			changed := config
			if update.RetentionDays != nil {
				changed.RetentionDays = *update.RetentionDays
			}
			if update.BatchWindow != nil {
				changed.BatchWindow = *update.BatchWindow
			}
			if update.BatchIdleTimeout != nil {
				changed.BatchIdleTimeout = *update.BatchIdleTimeout
			}
			if update.DetectionConfidenceThreshold != nil {
				changed.DetectionConfidenceThreshold = *update.DetectionConfidenceThreshold
			}
			return changed, nil
		},
		letters: func(context.Context, store.DeadLetterSelection, int64, int) ([]store.DeadLetter, error) {
			return exampleDeadLetters(tb), nil
		},
		total:   func(context.Context, store.DeadLetterSelection) (int64, error) { return 2, nil },
		requeue: func(context.Context, store.DeadLetterSelection, store.Actor) (int64, error) { return 2, nil },
		latency: exampleLatency,
		media: func() (media.Report, error) {
			return media.Report{
				DiskUsedBytes: 107374182400, DiskTotalBytes: 536870912000, DiskFreeBytes: 429496729600, DiskUsagePercent: 20,
				Thumbnails: media.Figure{FileCount: 1500, SizeBytes: 75000000},
				Images:     media.Figure{FileCount: 10000, SizeBytes: 5000000000},
				Clips:      media.Figure{FileCount: 50, SizeBytes: 500000000},
				At:         at(tb, "2025-12-30T10:30:00Z"),
			}, nil
		},
		cleanup: func(_ context.Context, dryRun bool) (retention.Report, error) {
			return retention.Report{
				EventsDeleted: 15, DetectionsDeleted: 89, GPUStatsDeleted: 2880, LogsDeleted: 150, ThumbnailsDeleted: 89,
				SpaceReclaimedBytes: 524288000, RetentionDays: 30, DryRun: dryRun, At: at(tb, "2025-12-27T10:30:00Z"),
			}, nil
		},
	}
}

// loseDatabase makes everything fail that asks the database.
func (f *fakes) loseDatabase() {
	cause := fmt.Errorf("list things: %w: dial 10.1.2.3: refused", store.ErrUnavailable)
	f.samples = func(context.Context, *time.Time, int) ([]store.GPUSample, error) { return nil, cause }
	f.counts = func(context.Context) (store.Counts, error) { return store.Counts{}, cause }
	f.depths = func(context.Context) (store.QueueDepths, error) { return store.QueueDepths{}, cause }
	f.config = func(context.Context) (store.SystemConfig, error) { return store.SystemConfig{}, cause }
	f.update = func(context.Context, store.SystemConfigUpdate, store.Actor) (store.SystemConfig, error) {
		return store.SystemConfig{}, cause
	}
	f.pictures.err, f.sessions.err = cause, cause
	f.live = func() error { return cause }
	f.total = func(context.Context, store.DeadLetterSelection) (int64, error) { return 0, cause }
	f.requeue = func(context.Context, store.DeadLetterSelection, store.Actor) (int64, error) { return 0, cause }
	f.cleanup = func(context.Context, bool) (retention.Report, error) { return retention.Report{}, cause }
	f.seen.err = cause
}

// loseRedis makes everything fail that is kept in Redis.
func (f *fakes) loseRedis() {
	f.latency = func(latency.Stage, int) (latency.Summary, error) { return latency.Summary{}, latency.ErrUnavailable }
}

// loseMedia makes everything fail that looks at the disk.
func (f *fakes) loseMedia() {
	f.media = func() (media.Report, error) {
		return media.Report{}, fmt.Errorf("%w: /srv/secret", media.ErrUnavailable)
	}
	f.pictures.err = fmt.Errorf("%w: /srv/secret", media.ErrUnavailable)
	f.cleanup = func(context.Context, bool) (retention.Report, error) {
		return retention.Report{}, retention.ErrMediaUnavailable
	}
}

func exampleDeadLetters(tb testing.TB) []store.DeadLetter {
	tb.Helper()
	return []store.DeadLetter{
		{
			ImageID: 4711, CameraID: "front_door", CameraFolder: "/srv/cameras/Front Door", FilePath: "/srv/cameras/Front Door/2025-12-27/10-29-58.jpg",
			Cause: "the image has no end", Attempts: 1,
			FirstFailedAt: new(at(tb, "2025-12-27T10:30:00Z")), LastFailedAt: new(at(tb, "2025-12-27T10:30:00Z")),
		},
		{
			ImageID: 4720, CameraID: "garden", CameraFolder: "/srv/cameras/garden", FilePath: "/srv/cameras/garden/10-31-02.jpg", BatchID: new(int64(311)),
			Cause: "failed 5 times: bad reply of the analyzer: no verdict in the text", Attempts: 5,
			FirstFailedAt: new(at(tb, "2025-12-27T10:32:00Z")), LastFailedAt: new(at(tb, "2025-12-27T10:34:31Z")),
		},
	}
}

func exampleLatency(stage latency.Stage, _ int) (latency.Summary, error) {
	switch stage {
	case latency.Watch:
		return summary(500, 10, 5, 50, 8, 40, 48), nil
	case latency.Detect:
		return summary(500, 200, 100, 800, 180, 600, 750), nil
	case latency.WatchToDetect:
		return summary(500, 50, 10, 200, 40, 150, 180), nil
	case latency.DetectToBatch:
		return summary(500, 100, 20, 500, 80, 400, 480), nil
	case latency.BatchToAnalyze:
		return summary(100, 5000, 2000, 15000, 4500, 12000, 14000), nil
	case latency.TotalPipeline:
		return summary(100, 35000, 10000, 120000, 30000, 100000, 110000), nil
	default:
		return latency.Summary{}, nil
	}
}

// options makes a server's options of the fakes.
func (f *fakes) options() Options {
	return Options{
		Health: f, GPU: f, Store: f, Config: f, DeadLetters: f, Latency: f, Media: f, Cleanup: f,
		Seen: f.seen, CameraFolders: f.seen, CameraRoot: "/srv/cameras", CameraOfflineAfter: time.Hour,
		Pictures: f.pictures, Sessions: f.sessions,
		Live: fakeLive{f}, Sockets: fakeLive{f},
		Severity: store.DefaultSeverityThresholds(),
		AppName:  "Home Security Intelligence", AppVersion: "0.1.0",
		MachineName:  "nest.example.org",
		InferenceFPS: func() *float64 { return new(30.5) },
		Log:          slog.New(slog.NewJSONHandler(f.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
}

// testServer is a server on a real listener.
type testServer struct {
	*http.Client
	server *Server
	url    string
	addr   string
	log    *logtest.Output
}

// start starts a server on the fakes; change may alter its options.
func start(tb testing.TB, f *fakes, change ...func(*Options)) *testServer {
	tb.Helper()
	options := f.options()
	for _, alter := range change {
		alter(&options)
	}
	s, err := New(options)
	require.NoError(tb, err)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(tb, err)
	httpServer := s.HTTPServer()
	served := make(chan error, 1)
	go func() { served <- httpServer.Serve(listener) }()
	tb.Cleanup(func() {
		s.Close()
		ctx, cancel := context.WithTimeout(context.Background(), await.Limit)
		defer cancel()
		require.NoError(tb, httpServer.Shutdown(ctx))
		require.ErrorIs(tb, <-served, http.ErrServerClosed)
	})
	url := "http://" + listener.Addr().String()
	return &testServer{Client: contracttest.Client(tb, url), server: s, url: url, addr: listener.Addr().String(), log: f.log}
}

// answer is a response with its body read.
type answer struct {
	*http.Response
	body []byte
}

// send sends a request; change may alter it. The client checks the answer against the contract.
func (s *testServer) send(tb testing.TB, method, target, body string, change ...func(*http.Request)) answer {
	tb.Helper()
	var reader io.Reader = http.NoBody
	if body != "" {
		reader = strings.NewReader(body)
	}
	request, err := http.NewRequestWithContext(tb.Context(), method, s.url+target, reader)
	require.NoError(tb, err)
	if body != "" {
		request.Header.Set("Content-Type", "application/json")
	}
	for _, alter := range change {
		alter(request)
	}
	response, err := s.Do(request)
	require.NoError(tb, err)
	read, err := io.ReadAll(response.Body)
	require.NoError(tb, err)
	require.NoError(tb, response.Body.Close())
	return answer{response, read}
}

func (s *testServer) get(tb testing.TB, target string, change ...func(*http.Request)) answer {
	tb.Helper()
	return s.send(tb, http.MethodGet, target, "", change...)
}

// want fails the test unless the status is the expected one.
func (a answer) want(tb testing.TB, status int) answer {
	tb.Helper()
	require.Equal(tb, status, a.StatusCode, "%s", a.body)
	return a
}

func header(name, value string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set(name, value) }
}

func host(name string) func(*http.Request) { return func(r *http.Request) { r.Host = name } }

// about returns the log lines of the request with this id.
func (s *testServer) about(requestID string) []string {
	var found []string
	for line := range strings.SplitSeq(s.log.String(), "\n") {
		if strings.Contains(line, fmt.Sprintf(`"request_id":%q`, requestID)) {
			found = append(found, line)
		}
	}
	return found
}

// discard is a logger at the usual level whose lines go nowhere.
func discard() *slog.Logger {
	return slog.New(slog.NewJSONHandler(io.Discard, nil)) //nolint:sloglint // the cost of writing a line is part of what is measured
}

// request sends a GET for what is no operation, and reads the answer.
func (s *testServer) request(tb testing.TB, path string, change ...func(*http.Request)) (answer, error) {
	tb.Helper()
	request, err := http.NewRequestWithContext(tb.Context(), http.MethodGet, s.url+path, http.NoBody)
	require.NoError(tb, err)
	for _, alter := range change {
		alter(request)
	}
	transport := &http.Transport{DisableKeepAlives: true}
	response, err := transport.RoundTrip(request)
	if err != nil {
		return answer{}, err
	}
	body, err := io.ReadAll(response.Body)
	require.NoError(tb, response.Body.Close())
	return answer{response, body}, err
}
