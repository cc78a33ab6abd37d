package health

import (
	"time"

	"hsi.home.arpa/pipeline"
)

// State is how well one service, or the whole system, works.
type State string

// The states of a service.
const (
	Healthy   State = "healthy"   // works
	Degraded  State = "degraded"  // has issues, the system still operates
	Unhealthy State = "unhealthy" // down or not answering
)

// ReadyState says whether the system can process images.
type ReadyState string

// The states of readiness. Only Ready goes with ready=true.
const (
	Ready         ReadyState = "ready"
	ReadyDegraded ReadyState = "degraded"  // Redis is down
	NotReady      ReadyState = "not_ready" // the database or a pipeline worker is down
)

// Service is one service as its last probe saw it.
type Service struct {
	State State
	// Message says in words what is the matter. It holds no address, path or credential.
	Message string
	// Details are more, by name; nil when there are none. The map is shared and must not be
	// changed.
	Details map[string]string
	// At is when the result that State rests on was obtained.
	At time.Time
}

// Services are the services that health speaks of.
type Services struct {
	Database, Redis, AI, Storage Service
}

// Report is the overall health.
type Report struct {
	State    State
	Services Services
	// At is the time of the oldest result used.
	At time.Time
}

// Readiness says whether the system can process images, and why not.
type Readiness struct {
	Ready    bool
	State    ReadyState
	Services Services
	Workers  []pipeline.WorkerStatus
	// At is the time of the oldest result used.
	At time.Time
}

// overall joins the services: without a database nothing works, anything else that fails leaves a
// degraded system.
func overall(services Services) State {
	switch {
	case services.Database.State != Healthy:
		return Unhealthy
	case services.Redis.State != Healthy, services.AI.State != Healthy, services.Storage.State != Healthy:
		return Degraded
	default:
		return Healthy
	}
}

// readiness looks at the database first, then Redis, then the workers that move images. AI services
// and storage never change it: images wait for them.
func readiness(database, redis State, workers []pipeline.WorkerStatus) (bool, ReadyState) {
	switch {
	case database != Healthy:
		return false, NotReady
	case redis != Healthy:
		return false, ReadyDegraded
	case !running(workers, pipeline.DetectionWorker), !running(workers, pipeline.AnalysisWorker):
		return false, NotReady
	default:
		return true, Ready
	}
}

// running tells whether the named worker is there and runs. A worker that nobody lists does not
// run.
func running(workers []pipeline.WorkerStatus, name string) bool {
	for _, worker := range workers {
		if worker.Name == name {
			return worker.Running
		}
	}
	return false
}

// oldest returns the time of the oldest result.
func oldest(services Services) time.Time {
	at := services.Database.At
	for _, other := range [...]time.Time{services.Redis.At, services.AI.At, services.Storage.At} {
		if other.Before(at) {
			at = other
		}
	}
	return at
}

func databaseService(found finding, at time.Time) Service {
	return Service{State: found.state, Message: sentence("Database", "Database operational", found), At: at}
}

func redisService(found finding, at time.Time) Service {
	service := Service{State: found.state, Message: sentence("Redis", "Redis connected", found), At: at}
	if found.state == Healthy {
		service.Details = map[string]string{"redis_version": found.version}
	}
	return service
}

func storageService(found finding, at time.Time) Service {
	return Service{State: found.state, Message: sentence("Media storage", "Media storage operational", found), At: at}
}

// sentence words a finding about the named service.
func sentence(name, healthy string, found finding) string {
	switch {
	case found.state == Healthy:
		return healthy
	case found.timedOut:
		return name + " health check timed out"
	case found.state == Degraded:
		return name + " degraded: " + found.text
	default:
		return name + " unavailable: " + found.text
	}
}

// aiPart is one of the two AI services.
type aiPart struct {
	key, name string
	found     finding
	at        time.Time
}

// bad words what is wrong with the part.
func (p aiPart) bad() string {
	if p.found.state == Degraded {
		return p.name + " service degraded (" + p.found.text + ")"
	}
	return p.name + " service unavailable"
}

// aiService joins the detector and the analyzer: one of them in trouble is degraded, both down is
// unhealthy.
func aiService(detector, analyzer aiPart) Service {
	service := Service{
		Details: map[string]string{detector.key: detector.found.text, analyzer.key: analyzer.found.text},
		At:      detector.at,
	}
	if analyzer.at.Before(service.At) {
		service.At = analyzer.at
	}
	detectorFine, analyzerFine := detector.found.state == Healthy, analyzer.found.state == Healthy
	switch {
	case detectorFine && analyzerFine:
		service.State, service.Message = Healthy, "AI services operational"
	case detector.found.state == Unhealthy && analyzer.found.state == Unhealthy:
		service.State, service.Message = Unhealthy, "All AI services unavailable"
	case detectorFine:
		service.State, service.Message = Degraded, analyzer.bad()+", "+detector.name+" operational"
	case analyzerFine:
		service.State, service.Message = Degraded, detector.bad()+", "+analyzer.name+" operational"
	default:
		service.State, service.Message = Degraded, detector.bad()+", "+analyzer.bad()
	}
	return service
}
