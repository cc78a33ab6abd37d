// Package health knows how the system is doing. One background prober per dependency asks it every
// second; a reader gets the last results and waits for nothing, so that a health check stays fast
// also when every dependency hangs.
package health

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"hsi.home.arpa/pipeline"
	"hsi.home.arpa/store"
)

// database is the part of the store that is probed.
type database interface {
	// Ping does a query of constant cost. An error means that the database cannot be worked with.
	Ping(ctx context.Context) error
	// Migrated is closed once the schema is current.
	Migrated() <-chan struct{}
}

// redis is the part of the Redis client that is probed.
type redis interface {
	// Version does a round trip and returns the server's version.
	Version(ctx context.Context) (string, error)
}

// workerLister is the supervisor.
type workerLister interface {
	// Workers lists the workers in the order in which readiness shows them. It must not wait for
	// anything.
	Workers() []pipeline.WorkerStatus
}

// Time that a probe may take.
const (
	// ProbeTimeout is for the database, Redis and the storage.
	ProbeTimeout = time.Second
	// DefaultAITimeout is for the health check of an AI service.
	DefaultAITimeout = 5 * time.Second
	// DefaultAIConnectTimeout is for connecting to an AI service.
	DefaultAIConnectTimeout = 10 * time.Second
)

// Options of a Monitor.
type Options struct {
	// Database and Redis are probed every second.
	Database database
	Redis    redis
	// Detector is RT-DETR, Analyzer is Nemotron.
	Detector, Analyzer AIService
	// AITimeout is how long an AI service may take to answer its health check. Defaults to 5 s.
	AITimeout time.Duration
	// AIConnectTimeout is how long connecting to it may take. Defaults to 10 s, but AITimeout ends
	// it earlier.
	AIConnectTimeout time.Duration
	// AITransport carries the health checks of the AI services. Defaults to a direct connection.
	AITransport http.RoundTripper
	// Storage looks at the disk of the media files. It returns "" when all is well, or says in
	// words fit for everybody what is wrong: full, unreadable, missing. The error is for the log.
	// Nil means that there is nothing to look at: always healthy.
	Storage func(ctx context.Context) (problem string, err error)
	// Workers lists the background workers.
	Workers workerLister
	// Grace is how long after the start of Run a service that was never healthy is logged as not
	// ready yet, at INFO, and not as not healthy, at WARN: the process may just be starting it. One
	// that is still not healthy afterwards is logged at WARN then. What Health and Readiness answer
	// does not depend on it. 0 means none.
	Grace time.Duration
	Log   *slog.Logger
	// Now is the clock. Defaults to time.Now.
	Now func() time.Time
}

// Monitor probes the dependencies and answers how they are.
type Monitor struct {
	now     func() time.Time
	workers workerLister
	started time.Time
	grace   time.Duration
	running atomic.Bool

	database, redis, storage *prober
	detector, analyzer       *prober // nil for a built-in part

	probers []*prober
}

// New makes a monitor. It probes nothing before Run; until the first results everything counts as
// not checked.
func New(options Options) (*Monitor, error) {
	if options.Now == nil {
		options.Now = time.Now
	}
	if options.AITimeout == 0 {
		options.AITimeout = DefaultAITimeout
	}
	if options.AIConnectTimeout == 0 {
		options.AIConnectTimeout = DefaultAIConnectTimeout
	}
	if options.Database == nil || options.Redis == nil || options.Workers == nil || options.Log == nil {
		return nil, errors.New("health: Database, Redis, Workers and Log are required")
	}
	if err := errors.Join(options.Detector.validate("RT-DETR"), options.Analyzer.validate("Nemotron")); err != nil {
		return nil, err
	}
	client := newAIClient(options.AIConnectTimeout)
	if options.AITransport != nil {
		client.Transport = options.AITransport
	}
	m := &Monitor{now: options.Now, workers: options.Workers, started: options.Now(), grace: options.Grace}
	m.database = m.add(options, &prober{
		name: "database", timeout: ProbeTimeout, failures: 2, worst: Unhealthy,
		probe: databaseProbe(options.Database), describe: databaseService,
	})
	m.redis = m.add(options, &prober{
		name: "redis", timeout: ProbeTimeout, failures: 2, worst: Unhealthy,
		probe: redisProbe(options.Redis), describe: redisService,
	})
	if options.Storage != nil {
		m.storage = m.add(options, &prober{
			name: "storage", timeout: ProbeTimeout, failures: 2, worst: Degraded,
			probe: storageProbe(options.Storage), silent: slowStorage, describe: storageService,
		})
	}
	m.detector = m.addAI(options, client, "rtdetr", options.Detector)
	m.analyzer = m.addAI(options, client, "nemotron", options.Analyzer)
	return m, nil
}

func (m *Monitor) add(options Options, p *prober) *prober {
	p.log, p.now, p.started = options.Log, options.Now, m.started
	m.probers = append(m.probers, p)
	return p
}

func (m *Monitor) addAI(options Options, client *http.Client, name string, service AIService) *prober {
	if service.URL == "" {
		return nil
	}
	return m.add(options, &prober{
		name: name, timeout: options.AITimeout, failures: 2, worst: Unhealthy,
		probe: service.probe(client), silent: service.silent, describe: describeNothing,
	})
}

// Run probes until ctx ends. A second Run returns an error.
func (m *Monitor) Run(ctx context.Context) error {
	if !m.running.CompareAndSwap(false, true) {
		return errors.New("health: the monitor already runs")
	}
	group, ctx := errgroup.WithContext(ctx)
	graceEnds := m.now().Add(m.grace)
	for _, p := range m.probers {
		p.graceEnds = graceEnds
		group.Go(func() error { return p.run(ctx) })
	}
	return group.Wait()
}

// Health returns the state of each service and of the whole. It never waits.
func (m *Monitor) Health() Report {
	services := m.services()
	return Report{State: overall(services), Services: services, At: oldest(services)}
}

// Readiness tells whether images can be processed. It never waits.
func (m *Monitor) Readiness() Readiness {
	services := m.services()
	workers := m.workers.Workers()
	ready, state := readiness(services.Database.State, services.Redis.State, workers)
	return Readiness{Ready: ready, State: state, Services: services, Workers: workers, At: oldest(services)}
}

func (m *Monitor) services() Services {
	now := m.now()
	services := Services{
		Database: m.database.readService(now),
		Redis:    m.redis.readService(now),
		AI: aiService(
			readPart(m.detector, "rtdetr", "RT-DETR", now),
			readPart(m.analyzer, "nemotron", "Nemotron", now),
		),
		Storage: Service{State: Healthy, Message: "Media storage operational", At: now},
	}
	if m.storage != nil {
		services.Storage = m.storage.readService(now)
	}
	return services
}

// readPart reads the prober of an AI service; without one the built-in part does the work.
func readPart(p *prober, key, name string, now time.Time) aiPart {
	part := aiPart{key: key, name: name, found: finding{state: Healthy, text: "embedded"}, at: now}
	if p != nil {
		part.found, part.at = p.read(now)
	}
	return part
}

func databaseProbe(db database) func(context.Context) finding {
	return func(ctx context.Context) finding {
		err := db.Ping(ctx)
		if err == nil {
			return finding{state: Healthy}
		}
		found := failed(err)
		switch {
		case found.timedOut, found.atOnce:
		case errors.Is(err, store.ErrLoginRefused):
			found.text, found.atOnce = "login refused", true
		case errors.Is(err, store.ErrNoDatabase):
			found.text, found.atOnce = "the database does not exist", true
		case errors.Is(err, store.ErrReadOnly):
			found.text, found.atOnce = "read-only, nothing can be stored", true
		case errors.Is(err, store.ErrDiskFull):
			found.text, found.atOnce = "disk full, nothing can be stored", true
		default:
			select {
			case <-db.Migrated():
			default:
				found.text = "not ready yet" // it answers, but it is starting or its tables are being made
			}
		}
		return found
	}
}

func redisProbe(client redis) func(context.Context) finding {
	return func(ctx context.Context) finding {
		version, err := client.Version(ctx)
		if err != nil {
			return failed(err)
		}
		if version == "" {
			version = "unknown"
		}
		return finding{state: Healthy, version: version}
	}
}

func storageProbe(check func(context.Context) (string, error)) func(context.Context) finding {
	return func(ctx context.Context) finding {
		problem, err := check(ctx)
		switch {
		case problem != "":
			return finding{state: Degraded, text: problem, err: err}
		case errors.Is(err, context.DeadlineExceeded):
			return failed(err)
		case err != nil:
			return finding{state: Degraded, text: "the check failed", err: err}
		default:
			return finding{state: Healthy}
		}
	}
}

// slowStorage: a disk that does not answer is trouble, but images can wait for it.
func slowStorage(time.Time) finding {
	return finding{state: Degraded, timedOut: true, text: "request timed out", err: context.DeadlineExceeded}
}

// describeNothing is for the two AI services, which are worded together.
func describeNothing(finding, time.Time) Service { return Service{} }
