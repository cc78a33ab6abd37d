package live

import (
	"context"
	"encoding/json"
	"time"

	"hsi.home.arpa/gen"
	"hsi.home.arpa/gpu"
	"hsi.home.arpa/internal/beat"
	"hsi.home.arpa/server/health"
	"hsi.home.arpa/store"
	"hsi.home.arpa/store/live"
)

const (
	// statusEvery is how often the status is told while somebody follows, lookEvery how often the services are looked at.
	statusEvery, lookEvery = 5 * time.Second, time.Second
	// statusTimeout is how long the database may take for its part of the status.
	statusTimeout = 2 * time.Second
	// keptServices bounds the changes of services that are kept for those who have not been told yet.
	keptServices = 16
)

// StatusSources are what the status is made of.
type StatusSources struct {
	// Health and GPU must not wait.
	Health func() health.Report
	GPU    func() gpu.Snapshot
	// InferenceFPS is nil while it is unknown. It must not wait.
	InferenceFPS func() *float64
	Queues       func(ctx context.Context) (store.QueueDepths, error)
	Cameras      func(ctx context.Context) (live.CameraCounts, error)
}

// statusFrame is a status, or the change of a service, encoded for all clients. It never changes.
type statusFrame struct {
	version int64
	at      time.Time
	sse     []byte // nil for a service
	message []byte // of /ws/system
}

// watchStatus makes a status every 5 s, and at once when a client comes and none is fresh, a service or a camera changes.
func (h *Hub) watchStatus(ctx context.Context) {
	var look <-chan time.Time // nil while nobody follows
	var services map[string]health.State
	var last time.Time
	for version := int64(1); ; version++ {
		cameraChanged := false
		select {
		case <-ctx.Done():
			return
		case <-look:
		case <-h.joined:
		case <-h.cameras:
			cameraChanged = true
		}
		h.mu.RLock()
		watched := h.clients > 0
		h.mu.RUnlock()
		if !watched {
			services, look = nil, nil
			continue
		}
		look = time.After(beat.Until(time.Now(), lookEvery))
		report, now := h.options.Status.Health(), h.options.Now()
		current := statesOf(report)
		messages := serviceMessages(services, current, now)
		changed := services == nil || len(messages) > 0 || current["overall"] != services["overall"]
		services = current
		if !changed && !cameraChanged && now.Sub(last) < statusEvery {
			h.tellServices(messages)
			continue
		}
		last = now
		status := h.gather(ctx, report, now)
		h.tell(version, status)
		h.tellServices(messages)
	}
}

// gather asks all sources. What one does not know is null.
func (h *Hub) gather(ctx context.Context, report health.Report, now time.Time) gen.SystemStatus {
	ctx, cancel := context.WithTimeout(ctx, statusTimeout)
	defer cancel()
	sources := h.options.Status
	status := gen.SystemStatus{Health: gen.SystemStatusHealth(report.State), Timestamp: now.UTC()}
	if sample := sources.GPU().Sample; sample != nil {
		status.GPU = gen.GPUStatus{
			Utilization: sample.UtilizationPercent, MemoryUsed: sample.MemoryUsedMiB, MemoryTotal: sample.MemoryTotalMiB,
			Temperature: sample.TemperatureCelsius, InferenceFPS: sources.InferenceFPS(),
		}
	}
	if depths, err := sources.Queues(ctx); err == nil {
		status.Queue = gen.QueueStatus{Pending: &depths.Detection, Processing: &depths.Analysis}
	}
	if cameras, err := sources.Cameras(ctx); err == nil {
		status.Cameras = gen.CameraCounts{Active: cameras.Active, Total: &cameras.Total}
	}
	return status
}

// systemMessage is what /ws/system sends. Its form is that of the server which this one replaces.
type systemMessage struct {
	Type      string    `json:"type"`
	Data      any       `json:"data"`
	Timestamp time.Time `json:"timestamp"`
}

func (h *Hub) tell(version int64, status gen.SystemStatus) {
	data, err := json.Marshal(status)
	if err != nil {
		h.options.Log.Error("encode the system status", "error", err)
		return
	}
	message, err := json.Marshal(systemMessage{Type: "system_status", Timestamp: status.Timestamp, Data: struct {
		GPU     gen.GPUStatus          `json:"gpu"`
		Cameras gen.CameraCounts       `json:"cameras"`
		Queue   gen.QueueStatus        `json:"queue"`
		Health  gen.SystemStatusHealth `json:"health"`
	}{status.GPU, status.Cameras, status.Queue, status.Health}})
	if err != nil {
		h.options.Log.Error("encode the system status", "error", err)
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.status = &statusFrame{version: version, at: status.Timestamp, sse: sseFrame("system_status", "", data), message: message}
	h.announce()
}

// statesOf are the states of the services by the names that /ws/system uses, and that of the whole.
func statesOf(report health.Report) map[string]health.State {
	states := map[string]health.State{"overall": report.State, "redis": report.Services.Redis.State}
	for _, name := range []string{"rtdetr", "nemotron"} {
		if state, known := report.Services.AI.Details[name]; known {
			states[name] = health.State(state)
		}
	}
	return states
}

// serviceMessages tells which services have changed. Before the first look nothing has.
func serviceMessages(before, now map[string]health.State, at time.Time) [][]byte {
	var messages [][]byte
	for _, name := range []string{"rtdetr", "nemotron", "redis"} {
		was, known := before[name]
		is := now[name]
		if !known || (was == health.Healthy) == (is == health.Healthy) {
			continue
		}
		status, text := "healthy", "Service recovered"
		if is != health.Healthy {
			status, text = "unhealthy", "Service does not answer as it should"
		}
		message, err := json.Marshal(systemMessage{Type: "service_status", Timestamp: at.UTC(), Data: map[string]string{
			"service": name, "status": status, "message": text,
		}})
		if err == nil { // strings can be encoded
			messages = append(messages, message)
		}
	}
	return messages
}

func (h *Hub) tellServices(messages [][]byte) {
	if len(messages) == 0 {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	var version int64
	if n := len(h.services); n > 0 {
		version = h.services[n-1].version
	}
	kept := append([]*statusFrame{}, h.services...)
	for _, message := range messages {
		version++
		kept = append(kept, &statusFrame{version: version, message: message})
	}
	h.services = kept[max(0, len(kept)-keptServices):]
	h.announce()
}
