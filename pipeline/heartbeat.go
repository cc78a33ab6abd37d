package pipeline

import (
	"sync"
	"time"
)

// Heartbeat is how a supervised function shows that it is alive. The zero value is not usable; the
// supervisor makes one for each function that it runs. All methods may be called from several
// goroutines, and on a nil Heartbeat they do nothing, so that a function can also run without a
// supervisor.
type Heartbeat struct {
	now func() time.Time

	mu       sync.Mutex
	beatAt   time.Time            // guarded by mu
	message  string               // guarded by mu
	nextStep uint64               // guarded by mu
	steps    map[uint64]time.Time // guarded by mu; open steps and their deadlines
}

func newHeartbeat(now func() time.Time) *Heartbeat {
	return &Heartbeat{now: now, beatAt: now(), steps: make(map[uint64]time.Time)}
}

// Beat says that the function has just made a turn of its loop.
func (h *Heartbeat) Beat() {
	if h == nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.beatAt = h.now()
}

// Step opens a piece of work that must end within limit, such as a call to a slow service. Until
// then the function counts as alive without beating; after it the function counts as stuck. The
// returned function closes the step, beats, and may be called more than once.
func (h *Heartbeat) Step(limit time.Duration) (done func()) {
	if h == nil {
		return func() {}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	id := h.nextStep
	h.nextStep++
	h.steps[id] = h.now().Add(limit)
	return func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		delete(h.steps, id)
		h.beatAt = h.now()
	}
}

// Say sets the message that people see beside the worker, such as what it waits for. An empty
// message takes it back. It also beats.
func (h *Heartbeat) Say(message string) {
	if h == nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.message = message
	h.beatAt = h.now()
}

// verdict tells whether the function is alive, and what it says. freshFor is how long one beat
// counts.
func (h *Heartbeat) verdict(freshFor time.Duration) (alive bool, message string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := h.now()
	for _, deadline := range h.steps {
		if now.After(deadline) {
			return false, "stuck: a step has passed its deadline"
		}
	}
	if len(h.steps) == 0 && now.Sub(h.beatAt) > freshFor {
		return false, "stuck: no heartbeat"
	}
	return true, h.message
}
