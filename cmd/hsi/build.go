package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"time"

	"hsi.home.arpa/embedded"
	"hsi.home.arpa/gpu"
	"hsi.home.arpa/pipeline"
	"hsi.home.arpa/pipeline/analyze"
	"hsi.home.arpa/pipeline/detect"
	"hsi.home.arpa/pipeline/latency"
	"hsi.home.arpa/pipeline/queue"
	"hsi.home.arpa/pipeline/redis"
	"hsi.home.arpa/server"
	"hsi.home.arpa/server/health"
	livestreams "hsi.home.arpa/server/live"
	"hsi.home.arpa/server/pictures"
	"hsi.home.arpa/server/socket"
	"hsi.home.arpa/store"
	"hsi.home.arpa/store/live"
	"hsi.home.arpa/store/logsink"
	"hsi.home.arpa/store/media"
	"hsi.home.arpa/store/retention"
	"hsi.home.arpa/store/seen"
	"hsi.home.arpa/web"
)

// app is everything that lives as long as the process. It is built without touching a dependency:
// each part connects by itself.
type app struct {
	cfg Config
	// plainLog does not feed the logs table; log does.
	plainLog, log *slog.Logger
	hostname      string
	claimOwner    claimOwner

	postgres    *embedded.Postgres // nil when DATABASE_URL is set
	redisServer *embedded.Redis    // nil when REDIS_URL is set

	db      *store.DB
	configs *store.SystemConfigs
	logSink *logsink.Sink
	media   *media.Store
	cleanup *retention.Service

	redis   *redis.Client
	latency *latency.Recorder

	detectorName, analyzerName string
	rtdetr                     *detect.RTDETR    // nil with the built-in detector
	nemotron                   *analyze.Nemotron // nil with the built-in scorer
	activity                   *detect.Activity
	detectQueue, analyzeQueue  *queue.Queue
	wakeDispatchers            func()
	gpuMonitor                 *gpu.Monitor
	supervisor                 *pipeline.Supervisor

	health *health.Monitor

	sequencer   *live.Sequencer
	liveStreams *livestreams.Hub
	liveSignal  *redis.Signal

	server *server.Server
}

func build(cfg Config, options Options) (*app, error) {
	if err := cfg.makeDefaultFolders(); err != nil {
		return nil, err
	}
	a := &app{cfg: cfg, plainLog: newLogger(options.Stderr, cfg)}
	var err error
	if a.claimOwner, err = newClaimOwner(cfg.DataDir); err != nil {
		return nil, err
	}
	a.hostname, _ = os.Hostname() // empty when the system does not tell
	steps := []func(options Options) error{a.buildEmbedded, a.buildStore, a.buildRedis, a.buildPipeline, a.buildHealth, a.buildLive, a.buildServer}
	for _, step := range steps {
		if err := step(options); err != nil {
			return nil, err
		}
	}
	return a, nil
}

// buildEmbedded prepares the private databases for the URLs that are not set.
func (a *app) buildEmbedded(Options) (err error) {
	log := a.plainLog // the package names itself
	if a.cfg.DatabaseURL == "" {
		a.postgres, err = embedded.NewPostgres(embedded.PostgresOptions{DataDir: a.cfg.DataDir, BinDirs: a.cfg.depsDirs(), Log: log})
		if err != nil {
			return err
		}
	}
	if a.cfg.RedisURL == "" {
		a.redisServer, err = embedded.NewRedis(embedded.RedisOptions{DataDir: a.cfg.DataDir, BinDirs: a.cfg.depsDirs(), Log: log})
		if err != nil {
			return err
		}
	}
	return nil
}

// buildStore opens the database and, with it, the log that everything after it uses.
func (a *app) buildStore(options Options) (err error) {
	url := string(a.cfg.DatabaseURL)
	if a.postgres != nil {
		url = a.postgres.URL()
	}
	a.db, err = store.Open(store.Config{URL: url, Log: a.plainLog.With("component", "store"), Now: options.Now})
	if err != nil {
		return fmt.Errorf("DATABASE_URL: %w", err)
	}
	a.logSink = logsink.New(a.db, logsink.Options{Next: newLogHandler(options.Stderr, a.cfg), MinLevel: a.cfg.LogDBMinLevel.slogLevel(), WriteTimeout: stopFlush - 200*time.Millisecond})
	a.log = slog.New(a.logSink.Handler())
	a.configs = store.NewSystemConfigs(a.db, a.cfg.systemConfig())
	a.media, err = media.New(media.Options{
		DB: a.db, Thumbnails: a.cfg.ThumbnailsDir, Clips: a.cfg.ClipsDir, Cameras: a.cfg.CameraRoot, Log: a.component("media"),
		Now: options.Now,
	})
	if err != nil {
		return err
	}
	a.cleanup, err = retention.New(retention.Options{
		DB: a.db, Media: a.media, RetentionDays: a.retentionDays, DeleteImages: bool(a.cfg.CleanupDeleteImages), Log: a.component("cleanup_service"), Now: options.Now,
	})
	return err
}

func (a *app) buildRedis(options Options) (err error) {
	url := string(a.cfg.RedisURL)
	if a.redisServer != nil {
		url = a.redisServer.URL()
	}
	a.redis, err = redis.Open(redis.Config{URL: url, Now: options.Now})
	if err != nil {
		return fmt.Errorf("REDIS_URL: %w", err)
	}
	a.latency = latency.New(a.redis.Conn, latency.Options{Log: a.component("latency"), Now: options.Now})
	return nil
}

// buildLive prepares what tells clients what changes.
func (a *app) buildLive(options Options) error {
	a.liveSignal = redis.NewSignal(a.redis, "hsi:live", func() { a.sequencer.Wake() })
	a.sequencer = live.New(live.Options{DB: a.db, Log: a.component("live"), Moved: a.liveSignal.Send})
	offlineAfter := time.Duration(a.cfg.CameraOfflineAfter)
	a.liveStreams = livestreams.New(livestreams.Options{
		CameraOfflineAfter: offlineAfter, Source: a.sequencer, Log: a.component("live"), Now: options.Now,
		Status: livestreams.StatusSources{
			Health: a.health.Health, GPU: a.gpuMonitor.Latest, InferenceFPS: a.activity.InferenceFPS, Queues: a.db.QueueDepths,
			Cameras: func(ctx context.Context) (live.CameraCounts, error) {
				return a.sequencer.CountCameras(ctx, offlineAfter)
			},
		},
	})
	return nil
}

func (a *app) buildServer(options Options) (err error) {
	dashboard, _ := web.Files()
	a.server, err = server.New(server.Options{
		Health: a.health, GPU: a.gpuMonitor, InferenceFPS: a.activity.InferenceFPS, Store: a.db, Config: a.configs, Latency: a.latency, Media: a.media,
		Cleanup: a.cleanup, DeadLetters: deadLetters{a.db, a.wakeDispatchers}, Severity: a.cfg.severity(),
		Seen: seen.New(a.db), CameraFolders: cameraFolders{a.cfg.CameraRoot}, CameraRoot: a.cfg.CameraRoot,
		CameraOfflineAfter: time.Duration(a.cfg.CameraOfflineAfter), TimeZone: localZone(a.cfg.TimeZone),
		Pictures: pictures.New(pictures.Options{Rows: a.db, Files: a.media, Now: options.Now}), Sessions: a.db,
		ListensBeyondLoopback: a.cfg.exposed(), PicturesWithoutKey: bool(a.cfg.PicturesWithoutKey),
		AppName: a.cfg.AppName, AppVersion: a.cfg.AppVersion, MachineName: a.hostname, AllowedHosts: a.cfg.AllowedHosts,
		APIKeyEnabled: bool(a.cfg.APIKeyEnabled), APIKeys: a.cfg.APIKeys, CORSOrigins: a.cfg.CORSOrigins, TrustedProxies: a.cfg.TrustedProxyIPs,
		Live: a.liveStreams, Sockets: socket.New(a.liveStreams), Dashboard: dashboard, Log: a.component("server"), Now: options.Now,
	})
	return err
}
