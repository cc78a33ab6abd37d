// Package server is the HTTP edge: it checks requests against the contract, translates between the
// wire types of gen and the types below, and turns errors into answers. It knows no SQL, no Redis
// and no GPU driver.
package server

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/labstack/echo/v4"

	"hsi.home.arpa/gen"
	"hsi.home.arpa/gpu"
	"hsi.home.arpa/pipeline/latency"
	"hsi.home.arpa/server/health"
	"hsi.home.arpa/server/pictures"
	"hsi.home.arpa/store"
	"hsi.home.arpa/store/media"
	"hsi.home.arpa/store/retention"
)

// Times of the HTTP server.
const (
	// ReadHeaderTimeout is how long a client may take to send the request line and headers.
	ReadHeaderTimeout = 5 * time.Second
	// ReadTimeout is how long it may take to send the whole request.
	ReadTimeout = 15 * time.Second
	// WriteTimeout is how long handling a request and sending the answer may take. A cleanup has
	// longer.
	WriteTimeout = 30 * time.Second
	// IdleTimeout is how long a kept connection may wait for its next request.
	IdleTimeout = 2 * time.Minute
	// DrainTimeout is how long requests under way may take to finish once the server stops.
	DrainTimeout = 10 * time.Second
	// DefaultRequestTimeout is how long a request may wait for what it depends on.
	DefaultRequestTimeout = 5 * time.Second
	// CleanupTimeout is how long a cleanup may run.
	CleanupTimeout = 15 * time.Minute
	// RequeueTimeout is how long requeueing dead letters may take: a hundred thousand are many
	// rows. It fits into WriteTimeout.
	RequeueTimeout = 25 * time.Second
	// MaxHeaderBytes bounds the request line and headers.
	MaxHeaderBytes = 32 << 10
)

// healthReader is the health monitor. It must not wait.
type healthReader interface {
	Health() health.Report
	Readiness() health.Readiness
}

// gpuReader is the GPU sampler.
type gpuReader interface {
	// Latest returns the newest snapshot, without a sample when there is no fresh one. It must not
	// wait.
	Latest() gpu.Snapshot
}

// database is what the server reads from the store.
type database interface {
	ListGPUSamples(ctx context.Context, since *time.Time, limit int) ([]store.GPUSample, error)
	// GPUSamplesRevision is the same as long as ListGPUSamples answers the same.
	GPUSamplesRevision(ctx context.Context) (string, error)
	Counts(ctx context.Context) (store.Counts, error)
	QueueDepths(ctx context.Context) (store.QueueDepths, error)
}

// configStore keeps the settings that can be changed while the system runs.
type configStore interface {
	Get(ctx context.Context) (store.SystemConfig, error)
	Update(ctx context.Context, update store.SystemConfigUpdate, actor store.Actor) (store.SystemConfig, error)
}

// deadLetters are the images that were given up.
type deadLetters interface {
	DeadLetters(ctx context.Context, selection store.DeadLetterSelection, afterID int64, limit int) ([]store.DeadLetter, error)
	CountDeadLetters(ctx context.Context, selection store.DeadLetterSelection) (int64, error)
	RequeueDeadLetters(ctx context.Context, selection store.DeadLetterSelection, actor store.Actor) (int64, error)
}

// latencyReader has the latencies of the last minutes. It must not wait.
type latencyReader interface {
	Summary(stage latency.Stage, windowMinutes int) (latency.Summary, error)
}

// mediaReader knows the disk and the files. It must not wait.
type mediaReader interface {
	Storage() (media.Report, error)
}

// cleaner runs cleanups.
type cleaner interface {
	// Cleanup deletes what is too old, or with dryRun only counts it. It gives up after
	// CleanupTimeout.
	Cleanup(ctx context.Context, dryRun bool) (retention.Report, error)
}

// pictureSource has the pictures of detections, events and cameras. What it returns is closed when
// it was served.
type pictureSource interface {
	Thumbnail(ctx context.Context, detectionID int64) (*pictures.File, error)
	Original(ctx context.Context, detectionID int64) (*pictures.File, error)
	Event(ctx context.Context, eventID int64, width int) (*pictures.File, error)
	Snapshot(ctx context.Context, cameraID string, width int) (*pictures.File, error)
}

// Options of a Server. All fields without a default are required.
type Options struct {
	Health healthReader
	GPU    gpuReader
	Store  database
	Config configStore
	// DeadLetters see to it that what is requeued is taken up at once.
	DeadLetters deadLetters
	Latency     latencyReader
	Media       mediaReader
	Cleanup     cleaner
	// Live are the streams of what changes, Sockets the WebSockets that tell the same. Close ends
	// them.
	Live     liveStreams
	Sockets  liveSockets
	Seen     seenStore
	Pictures pictureSource
	Sessions sessionStore
	// CameraFolders makes folders for cameras below CameraRoot, from where paths are told.
	CameraFolders cameraFolders
	CameraRoot    string
	// CameraOfflineAfter is after how long without a picture a camera counts as offline; 0: nobody
	// knows.
	CameraOfflineAfter time.Duration
	// TimeZone is the server's: days are days in it where nothing else is said. It has its IANA
	// name. Defaults to UTC.
	TimeZone *time.Location
	// InferenceFPS is how many images per second ran through the detector over the last minute; nil
	// when that is unknown. It must not wait. Nil means always unknown.
	InferenceFPS func() *float64
	// Severity are the thresholds that the process runs with.
	Severity store.SeverityThresholds

	// AppName and AppVersion are shown by GET /api/system/config.
	AppName, AppVersion string
	// MachineName is the machine's own host name, which the Host check accepts. May be empty.
	MachineName string
	// AllowedHosts are extra names that the Host check accepts, without port.
	AllowedHosts []string
	// APIKeyEnabled makes every change, and everything outside of the System API, require one of
	// APIKeys or a session.
	APIKeyEnabled bool
	// APIKeys are plain keys, or "sha256:" and 64 hexadecimal digits.
	APIKeys []string
	// ListensBeyondLoopback: other machines may reach the server. Without keys it then shows them
	// nothing of what the cameras saw, unless PicturesWithoutKey.
	ListensBeyondLoopback, PicturesWithoutKey bool
	// CORSOrigins, each scheme://host[:port], may read from a browser and are trusted for writes.
	// None: no CORS header is ever sent.
	CORSOrigins []string
	// TrustedProxies are the addresses whose X-Forwarded-For is believed.
	TrustedProxies []netip.Prefix
	// Dashboard are the files of the dashboard: index.html, served at /, and what it loads. Without
	// it / leads to /docs.
	Dashboard fs.FS

	// RequestTimeout is how long a request may wait for the database. Defaults to 5 s.
	RequestTimeout time.Duration
	Log            *slog.Logger
	// Now is the clock. Defaults to time.Now.
	Now func() time.Time

	// strict are more middlewares around the handlers, for tests.
	strict []gen.StrictMiddlewareFunc
	// keepFigures is how long a figure of the database is answered again. Defaults to the constant
	// of the same name.
	keepFigures time.Duration
	// triesPerMinute and sessionRecheck default to the constants of the same names.
	triesPerMinute int
	sessionRecheck time.Duration
}

// Server answers the operations of the contract and serves its documentation. It holds no
// connection and starts no goroutine that goes on when no request waits for it: HTTPServer says how
// to run it.
type Server struct {
	options   Options
	echo      *echo.Echo
	log       *slog.Logger
	now       func() time.Time
	startedAt time.Time

	counts   *kept[store.Counts]
	depths   *kept[store.QueueDepths]
	config   *kept[store.SystemConfig]
	revision joined[string]
	history  *histories
	bodies   bodies

	hosts   *hostCheck
	origins *origins
	keys    *keys
	proxies proxies

	tries    *tries
	sessions *sessions

	stopping chan struct{}
	stop     sync.Once
}

var _ gen.StrictServerInterface = (*Server)(nil)

// New checks the options, reports everything that is wrong with them at once, and makes a server.
func New(options Options) (*Server, error) {
	if options.Now == nil {
		options.Now = time.Now
	}
	if options.InferenceFPS == nil {
		options.InferenceFPS = func() *float64 { return nil }
	}
	if options.RequestTimeout == 0 {
		options.RequestTimeout = DefaultRequestTimeout
	}
	if options.TimeZone == nil {
		options.TimeZone = time.UTC
	}
	if options.keepFigures == 0 {
		options.keepFigures = keepFigures
	}
	s := &Server{
		options: options, log: options.Log, now: options.Now, startedAt: options.Now(),
		proxies: options.TrustedProxies, stopping: make(chan struct{}), history: newHistories(),
	}
	var hostErr, originErr, keyErr error
	s.hosts, hostErr = newHostCheck(options.MachineName, options.AllowedHosts)
	s.origins, originErr = newOrigins(options.CORSOrigins)
	s.keys, keyErr = newKeys(options.APIKeyEnabled, options.APIKeys)
	if err := errors.Join(options.missing(), options.Severity.Validate(), hostErr, originErr, keyErr); err != nil {
		return nil, err
	}
	s.tries = newTries(options.triesPerMinute)
	s.sessions = newSessions(options.Sessions, s.keys, &options)
	s.counts = newKept(options.Store.Counts, &options)
	s.depths = newKept(options.Store.QueueDepths, &options)
	s.config = newKept(options.Config.Get, &options)
	s.revision = joined[string]{read: options.Store.GPUSamplesRevision, timeout: options.RequestTimeout}
	doc, err := gen.GetSpec()
	if err != nil {
		return nil, fmt.Errorf("read the embedded contract: %w", err)
	}
	if err := s.route(doc); err != nil {
		return nil, err
	}
	return s, nil
}

func (o *Options) missing() error {
	var problems []error
	for name, absent := range map[string]bool{
		"Health": o.Health == nil, "GPU": o.GPU == nil, "Store": o.Store == nil, "Config": o.Config == nil, "Latency": o.Latency == nil,
		"Media": o.Media == nil, "DeadLetters": o.DeadLetters == nil, "Cleanup": o.Cleanup == nil,
		"Seen": o.Seen == nil, "CameraFolders": o.CameraFolders == nil, "Pictures": o.Pictures == nil, "Sessions": o.Sessions == nil, "Live": o.Live == nil, "Sockets": o.Sockets == nil,
		"Log": o.Log == nil,
	} {
		if absent {
			problems = append(problems, fmt.Errorf("server: Options.%s is required", name))
		}
	}
	return errors.Join(problems...)
}

// route sets up the router for the operations and the pages.
func (s *Server) route(doc *openapi3.T) error {
	e, err := s.router(doc, func(e *echo.Echo, around middlewares) {
		strict := gen.NewStrictHandler(s, slices.Concat(s.options.strict, []gen.StrictMiddlewareFunc{within}))
		gen.RegisterHandlersWithOptions(e, strict,
			gen.RegisterHandlersOptions{OperationMiddlewares: around})
	})
	if err != nil {
		return err
	}
	if err := s.routePages(e); err != nil {
		return err
	}
	s.routeSockets(e)
	s.echo = e
	return nil
}

// middlewares are what is around each operation, by operationId.
type middlewares = map[string][]echo.MiddlewareFunc

// router makes a router with what is around each operation of a contract; register adds the
// handlers behind it. Echo's own ways of answering and logging are not used.
func (s *Server) router(doc *openapi3.T, register func(*echo.Echo, middlewares)) (*echo.Echo, error) {
	found, err := operations(doc)
	if err != nil {
		return nil, err
	}
	e := echo.New()
	e.HTTPErrorHandler = func(err error, c echo.Context) { s.fail(c, err) }
	e.Pre(s.edge)
	around := middlewares{}
	for id, op := range found {
		around[id] = []echo.MiddlewareFunc{s.middleware(op)}
	}
	register(e, around)
	endPathParameters(e, doc)
	return e, nil
}

// Handler returns the handler of all paths.
func (s *Server) Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.echo.ServeHTTP(w, forRouting(r)) })
}

// HTTPServer returns an HTTP server for the handler, with limits and times set. The caller gives it
// a listener, and at the end calls Close of this Server, so that a running cleanup ends, and then
// Shutdown of the HTTP server with DrainTimeout.
func (s *Server) HTTPServer() *http.Server {
	return &http.Server{
		Handler:           s.Handler(),
		ReadHeaderTimeout: ReadHeaderTimeout,
		ReadTimeout:       ReadTimeout,
		WriteTimeout:      WriteTimeout,
		IdleTimeout:       IdleTimeout,
		MaxHeaderBytes:    MaxHeaderBytes,
		// "OPTIONS *" goes through the handler too, with its checks and its log line.
		DisableGeneralOptionsHandler: true,
		// Broken connections of clients; what went wrong in a handler is logged with its request.
		ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
}

// Close ends a cleanup that still runs, and all live streams. Requests that come later are
// answered, but these are refused.
func (s *Server) Close() {
	s.stop.Do(func() { close(s.stopping) })
	s.options.Live.Close()
}
