package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	"hsi.home.arpa/embedded"
	"hsi.home.arpa/gpu"
	"hsi.home.arpa/pipeline"
	"hsi.home.arpa/pipeline/analyze"
	"hsi.home.arpa/pipeline/batch"
	"hsi.home.arpa/pipeline/detect"
	"hsi.home.arpa/pipeline/intake"
	"hsi.home.arpa/pipeline/picture"
	"hsi.home.arpa/pipeline/queue"
	"hsi.home.arpa/pipeline/video"
	"hsi.home.arpa/server/health"
)

// Limits of one call when the built-in parts do the work: they need no network, only a processor
// that may be busy.
const builtInLimit = 30 * time.Second

// decodedBytes is how much memory all decoded images may take together: the two largest that are
// accepted, or a hundred of 1080p.
const decodedBytes = 400 << 20

// buildPipeline makes the workers and hands them to the supervisor.
func (a *app) buildPipeline(options Options) error {
	a.supervisor = pipeline.New(pipeline.Options{Log: a.component("supervisor"), Now: options.Now, StopTimeout: stopWorkers / 3})
	a.activity = detect.NewActivity(options.Now)
	a.detectQueue = queue.New(a.redis.Conn, queue.Detect, a.component("detect_queue"))
	a.analyzeQueue = queue.New(a.redis.Conn, queue.Analyze, a.component("analyze_queue"))
	images := queue.NewDispatcher(a.detectQueue, detect.NewSource(a.db, a.latency))
	batches := queue.NewDispatcher(a.analyzeQueue, analyze.NewSource(a.db))
	a.wakeDispatchers = func() { images.Wake(); batches.Wake() }
	closer := batch.NewCloser(batch.Options{
		Ledger: a.db, Settings: a.configs, Observer: a.latency, Closed: batches.Wake, Log: a.component(pipeline.BatchWorker),
	})
	wait := options.aiPauses()
	chosenAnalyzer, analyzeLimit, analyzerErr := a.newAnalyzer(wait)
	detector, detectLimit, parallel, detectorErr := a.newDetector(wait)
	if err := errors.Join(detectorErr, analyzerErr); err != nil {
		return err
	}
	a.detectorName, a.analyzerName = detector.Name(), chosenAnalyzer.Name()
	analyzer := analyze.NewWorker(a.analyzeQueue, analyze.Options{
		Ledger: a.db, Analyzer: chosenAnalyzer, Observer: a.latency, Severity: a.cfg.severity(), AnalyzeLimit: analyzeLimit,
		Owner: a.claimOwner.run, Pauses: wait.Pauses, Log: a.component(pipeline.AnalysisWorker), Now: options.Now,
	})
	// The parts declare the heartbeat that they need as an interface of their own, hence the
	// closures.
	a.addWorker(pipeline.DetectionWorker, "dispatcher", func(ctx context.Context, h *pipeline.Heartbeat) error { return images.Run(ctx, h) })
	a.addWorker(pipeline.AnalysisWorker, "dispatcher", func(ctx context.Context, h *pipeline.Heartbeat) error { return batches.Run(ctx, h) })
	a.addWorker(pipeline.BatchWorker, "closer", func(ctx context.Context, h *pipeline.Heartbeat) error { return closer.Run(ctx, h) })
	a.addWorker(pipeline.AnalysisWorker, "analyzer", func(ctx context.Context, h *pipeline.Heartbeat) error { return analyzer.Run(ctx, h) })
	memory := picture.NewMemory(decodedBytes)
	videos := video.New(video.Options{Find: func() (string, []string, error) { return embedded.FindFFmpeg(a.cfg.depsDirs()) }})
	detection := detect.Options{
		Memory: memory, Videos: videos,
		Ledger: a.db, Detector: detector, Settings: a.configs, Thumbnails: a.media, Observer: a.latency, Activity: a.activity,
		Owner: a.claimOwner.run, CameraRoot: a.cfg.CameraRoot, DetectLimit: detectLimit, BatchClosed: batches.Wake,
		AtOnce: parallel.atOnce, Cameras: parallel.cameras, Pauses: wait.Pauses,
		Log: a.component(pipeline.DetectionWorker), Now: options.Now,
	}
	if parallel.videosApart {
		detection.PassVideosTo = detect.NewVideoWorker(detection)
		a.addWorker(pipeline.DetectionWorker, "videos", func(ctx context.Context, h *pipeline.Heartbeat) error { return detection.PassVideosTo.Run(ctx, h) })
	}
	for i := range parallel.workers {
		worker := detect.NewWorker(a.detectQueue, detection)
		a.addWorker(pipeline.DetectionWorker, fmt.Sprintf("detector %d", i+1), func(ctx context.Context, h *pipeline.Heartbeat) error { return worker.Run(ctx, h) })
	}
	watcher := intake.New(intake.Options{
		Root: a.cfg.CameraRoot, Ledger: a.db, Log: a.component(pipeline.FileWatcher), Recorded: images.Wake, DedupeWindow: time.Duration(a.cfg.DedupeTTL),
		Polling: bool(a.cfg.WatcherPolling), PollInterval: time.Duration(a.cfg.WatcherPollingInterval), Now: options.Now,
		Videos: videos,
	})
	a.supervisor.Add(pipeline.Function{
		Name: pipeline.FileWatcher, Group: pipeline.GroupIntake,
		Run: func(ctx context.Context, h *pipeline.Heartbeat) error { return watcher.Run(ctx, h) },
	})
	a.addServices(options)
	return nil
}

// openFor is how long an AI service that fails is left alone before it is tried again.
const openFor = 10 * time.Second

// aiPauses are waited while an AI service fails.
type aiPauses struct {
	queue.Pauses

	openFor time.Duration
}

func (o Options) aiPauses() aiPauses {
	haste := time.Duration(max(o.Haste, 1))
	pauses := queue.DefaultPauses()
	return aiPauses{queue.Pauses{Shortest: pauses.Shortest / haste, Longest: pauses.Longest / haste}, openFor / haste}
}

// addWorker hands one part of a pipeline worker to the supervisor.
func (a *app) addWorker(name, part string, run func(context.Context, *pipeline.Heartbeat) error) {
	a.supervisor.Add(pipeline.Function{Name: name, Part: part, Group: pipeline.GroupWorkers, Run: run})
}

// parallel says how images are shared out.
type parallel struct {
	// workers is how many there are, atOnce how many images each of them claims together, cameras
	// of how many cameras it then works on at the same time.
	workers, atOnce, cameras int
	// videosApart says that videos are worked on beside the images.
	videosApart bool
}

// motionAtOnce is how many images the built-in detector claims and stores together. It needs little
// time for each, so that the way to the databases and back would be most of it.
const motionAtOnce = 32

// newDetector chooses the detector, how long one call may take, and how images are shared out. The
// built-in detector compares each image with the ones before it, so one worker takes those of a
// camera one after the other; a video would hold up all cameras there. RT-DETR is never called more
// often at once than is set, and with several workers a video holds up one of them.
func (a *app) newDetector(wait aiPauses) (detector detect.Detector, limit time.Duration, how parallel, err error) {
	if a.cfg.RTDETRURL == "" {
		return detect.NewMotion(), builtInLimit, parallel{workers: 1, atOnce: motionAtOnce, cameras: runtime.GOMAXPROCS(0), videosApart: true}, nil
	}
	a.rtdetr, err = detect.NewRTDETR(detect.RTDETROptions{
		URL: string(a.cfg.RTDETRURL), APIKey: string(a.cfg.RTDETRAPIKey),
		ConnectTimeout: time.Duration(a.cfg.AIConnectTimeout), ReadTimeout: time.Duration(a.cfg.RTDETRReadTimeout),
		OpenFor: wait.openFor,
	})
	if err != nil {
		return nil, 0, parallel{}, fmt.Errorf("RTDETR_URL: %w", err)
	}
	return a.rtdetr, a.rtdetr.Limit(), parallel{workers: a.cfg.DetectionWorkers, atOnce: 1, cameras: 1}, nil
}

// newAnalyzer chooses the analyzer and how long one call may take.
func (a *app) newAnalyzer(wait aiPauses) (analyzer analyze.Analyzer, limit time.Duration, err error) {
	if a.cfg.NemotronURL == "" {
		return analyze.NewRules(time.Local), builtInLimit, nil
	}
	a.nemotron, err = analyze.NewNemotron(analyze.NemotronOptions{
		URL: string(a.cfg.NemotronURL), APIKey: string(a.cfg.NemotronAPIKey),
		ConnectTimeout: time.Duration(a.cfg.AIConnectTimeout), ReadTimeout: time.Duration(a.cfg.NemotronReadTimeout), Severity: a.cfg.severity(),
		OpenFor: wait.openFor,
	})
	if err != nil {
		return nil, 0, fmt.Errorf("NEMOTRON_URL: %w", err)
	}
	return a.nemotron, a.nemotron.Limit(), nil
}

// addServices adds the workers beside the pipeline.
func (a *app) addServices(options Options) {
	sampler := gpu.NewSampler(gpu.NewNVML(), gpu.Options{
		Log: a.component(pipeline.GPUMonitor), Interval: time.Duration(a.cfg.GPUPollInterval), Host: a.hostname, Now: options.Now,
	})
	a.gpuMonitor = gpu.NewMonitor(sampler, gpuRows{a.db}, a.activity.InferenceFPS, a.component(pipeline.GPUMonitor))
	a.supervisor.Add(
		pipeline.Function{
			Name: pipeline.GPUMonitor, Group: pipeline.GroupServices, FreshFor: a.gpuMonitor.FreshFor(),
			Run: func(ctx context.Context, heartbeat *pipeline.Heartbeat) error {
				return a.gpuMonitor.Run(ctx, heartbeat)
			},
		},
		pipeline.Function{Name: pipeline.CleanupService, Group: pipeline.GroupServices, Run: pipeline.Plain(a.cleanup.Run)},
	)
}

func (a *app) buildHealth(options Options) (err error) {
	detector := health.AIService{URL: string(a.cfg.RTDETRURL), APIKey: string(a.cfg.RTDETRAPIKey), ReadTimeout: time.Duration(a.cfg.RTDETRReadTimeout)}
	if a.rtdetr != nil {
		detector.Calls = a.rtdetr
	}
	analyzer := health.AIService{URL: string(a.cfg.NemotronURL), APIKey: string(a.cfg.NemotronAPIKey), ReadTimeout: time.Duration(a.cfg.NemotronReadTimeout)}
	if a.nemotron != nil {
		analyzer.Calls = a.nemotron
	}
	a.health, err = health.New(health.Options{
		Database: a.db, Redis: a.redis, Detector: detector, Analyzer: analyzer,
		AITimeout: time.Duration(a.cfg.AIHealthTimeout), AIConnectTimeout: time.Duration(a.cfg.AIConnectTimeout),
		Grace:   embeddedPatience,
		Storage: a.storageProblem, Workers: a.supervisor, Log: a.component("health"), Now: options.Now,
	})
	return err
}

// storageProblem tells the health monitor what is wrong with the media folders.
func (a *app) storageProblem(context.Context) (string, error) {
	if ok, message := a.media.Health(); !ok {
		return message, errors.New(message)
	}
	return "", nil
}
