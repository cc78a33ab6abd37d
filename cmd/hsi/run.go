package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"syscall"
	"time"

	"hsi.home.arpa/embedded"
	"hsi.home.arpa/server"
	"hsi.home.arpa/store"
)

// Options of run that are not settings.
type Options struct {
	// Stderr gets the log.
	Stderr io.Writer
	// Now is the clock. Defaults to time.Now.
	Now func() time.Time
	// Haste divides the pauses before an AI service that fails is tried again, so that a long
	// outage can be played in a short time. 0 means 1.
	Haste int
}

// How long each part may take to stop, and all together. One that needs longer is left behind: the
// embedded databases end with the process in any case.
const (
	stopBudget   = 19 * time.Second
	stopHTTP     = server.DrainTimeout + 500*time.Millisecond
	stopHealth   = 500 * time.Millisecond
	stopWorkers  = 4 * time.Second
	stopFlush    = 2 * time.Second
	stopDatabase = time.Second
	stopEmbedded = 8 * time.Second
)

// How long the start of one part is held back for what it will need anyway.
const (
	embeddedPatience = 30 * time.Second // our own databases: the first start creates them
	externalPatience = 3 * time.Second
)

// run is the server from start to end: settings are checked, the data folder is locked, the
// listener answers probes at once, and everything else comes up behind it in its own time. It
// returns nil after a clean stop, and a startError for what the person who starts it must mend.
func run(ctx context.Context, cfg Config, options Options) error {
	release, err := lockDataDir(cfg.DataDir)
	if err != nil {
		return startError{err}
	}
	defer release()
	listener, err := listen(ctx, cfg)
	if err != nil {
		return startError{err}
	}
	defer listener.Close()
	a, err := build(cfg, options)
	if err != nil {
		return startError{err}
	}
	a.announce(ctx, listener.Addr())
	asked := context.AfterFunc(ctx, func() { a.log.InfoContext(ctx, "stopping") })
	err = runStages(ctx, a.log, stopBudget, a.stages(listener))
	a.close()
	if !asked() { // else it ends by itself, and the error says why
		a.plainLog.InfoContext(ctx, "stopped")
	}
	if fatalForUser(err) {
		return startError{err}
	}
	return err
}

func listen(ctx context.Context, cfg Config) (net.Listener, error) {
	network := "tcp"
	if ip := net.ParseIP(cfg.APIHost); ip != nil && ip.To4() != nil {
		network = "tcp4" // else 0.0.0.0 would mean IPv6 too, which homes often have open to the world
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, network, cfg.listenAddress())
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("listen on %s: address already in use; stop the other program or set API_PORT", cfg.listenAddress())
	}
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", cfg.listenAddress(), err)
	}
	return listener, nil
}

// fatalForUser tells failures that no waiting mends.
func fatalForUser(err error) bool {
	var inUse *embedded.InUseError
	var version *embedded.VersionError
	return errors.Is(err, store.ErrForeignDatabase) || errors.Is(err, store.ErrNewerDatabase) || errors.As(err, &inUse) || errors.As(err, &version)
}

// stages is the order of the start, and backwards that of the stop: requests are drained, then
// intake and workers stop (the supervisor keeps their order), then what they measured and logged is
// written, then the connections and the databases end.
func (a *app) stages(listener net.Listener) []stage {
	var databases []namedRun
	var postgres, redis []<-chan struct{}
	schemaPatience := externalPatience
	if a.postgres != nil {
		databases = append(databases, namedRun{"embedded PostgreSQL", a.postgres.Run})
		postgres = append(postgres, a.postgres.Ready())
		schemaPatience = embeddedPatience
	}
	if a.redisServer != nil {
		databases = append(databases, namedRun{"embedded Redis", a.redisServer.Run})
		redis = append(redis, a.redisServer.Ready())
	}
	schema := append([]<-chan struct{}{a.db.Migrated()}, redis...)
	return []stage{
		{"embedded databases", stopEmbedded, databases},
		{"database", stopDatabase, []namedRun{{"database", after(embeddedPatience, a.db.Run, postgres...)}}},
		{"records", stopFlush, []namedRun{
			{"log sink", after(schemaPatience, a.logSink.Run, schema...)}, // it keeps what comes before
			{"latency recorder", after(embeddedPatience, a.latency.Run, redis...)},
			{"configuration watcher", after(schemaPatience, a.configs.Run, schema...)},
			{"media files", after(schemaPatience, a.media.Run, schema...)},
			{"sessions of other keys", after(schemaPatience, a.endSessionsOfOtherKeys, schema...)},
			{"live changes", after(schemaPatience, a.sequencer.Run, schema...)},
			{"live streams", a.liveStreams.Run},
			{"live signal", after(embeddedPatience, a.liveSignal.Run, redis...)},
		}},
		{"workers", stopWorkers, []namedRun{
			{"workers", after(schemaPatience, a.supervisor.Run, schema...)},
			{"claims of the last run", after(schemaPatience, a.releaseDeadClaims, schema...)},
		}},
		{"health", stopHealth, []namedRun{{"health", a.health.Run}}},
		{"requests", stopHTTP, []namedRun{{"requests", func(ctx context.Context) error { return a.serveHTTP(ctx, listener) }}}},
	}
}

// serveHTTP answers requests until ctx ends, then stops accepting and lets those under way finish.
func (a *app) serveHTTP(ctx context.Context, listener net.Listener) error {
	httpServer := a.server.HTTPServer()
	failed := make(chan error, 1)
	go func() { failed <- httpServer.Serve(listener) }()
	select {
	case err := <-failed:
		return fmt.Errorf("serve requests: %w", err)
	case <-ctx.Done():
	}
	a.server.Close() // a running cleanup ends at its next batch; the next start goes on with it
	// ctx has ended: draining has a time of its own.
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), server.DrainTimeout)
	defer cancel()
	err := httpServer.Shutdown(drain)
	if err != nil {
		err = errors.Join(err, httpServer.Close())
		a.log.WarnContext(drain, "requests were cut off", "error", err)
	}
	if served := <-failed; !errors.Is(served, http.ErrServerClosed) {
		return fmt.Errorf("serve requests: %w", served)
	}
	return nil
}

// announce says once where everything is.
func (a *app) announce(ctx context.Context, address net.Addr) {
	a.log.InfoContext(ctx, "listening", "address", "http://"+address.String(), "version", a.cfg.AppVersion,
		"data_dir", a.cfg.DataDir, "cameras", a.cfg.CameraRoot, "detector", a.detectorName, "analyzer", a.analyzerName)
	for name, moved := range a.movedData() {
		a.log.WarnContext(ctx, "data lies outside DATA_DIR, which the unprivileged database user cannot reach", "server", name, "path", moved)
	}
	if a.cfg.exposed() && !bool(a.cfg.APIKeyEnabled) {
		a.log.WarnContext(ctx, "listening on the network without API keys: anyone who reaches this address can change settings and delete data",
			"address", a.cfg.listenAddress(), "pictures_and_events", map[bool]string{true: "open", false: "refused"}[bool(a.cfg.PicturesWithoutKey)],
			"remedy", "set API_KEY_ENABLED=true and API_KEYS; hsi key new makes one")
	}
}

// endSessionsOfOtherKeys tries until it could.
func (a *app) endSessionsOfOtherKeys(ctx context.Context) error {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for a.server.EndSessionsOfOtherKeys(ctx) != nil {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
	<-ctx.Done()
	return nil
}

func (a *app) movedData() map[string]string {
	moved := map[string]string{}
	if a.postgres != nil && a.postgres.Moved() {
		moved["PostgreSQL"] = a.postgres.DataDir()
	}
	if a.redisServer != nil && a.redisServer.Moved() {
		moved["Redis"] = a.redisServer.DataDir()
	}
	return moved
}

// close ends the connections after everything that used them.
func (a *app) close() {
	if a.rtdetr != nil {
		a.rtdetr.CloseIdle()
	}
	if a.nemotron != nil {
		a.nemotron.CloseIdle()
	}
	a.redis.Close()
	if err := a.db.Close(); err != nil {
		a.plainLog.Warn("close the database", "error", err)
	}
}

// component gives a part its own logger.
func (a *app) component(name string) *slog.Logger { return a.log.With("component", name) }
