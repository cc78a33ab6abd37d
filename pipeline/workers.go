package pipeline

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Names of the workers that readiness lists, in the order in which it lists them.
const (
	GPUMonitor      = "gpu_monitor"
	CleanupService  = "cleanup_service"
	DetectionWorker = "detection_worker"
	AnalysisWorker  = "analysis_worker"
	FileWatcher     = "file_watcher"
	BatchWorker     = "batch_worker"
)

// WorkerStatus is what readiness shows of one worker.
type WorkerStatus struct {
	Name    string
	Running bool
	// Message is what the worker waits for or why it does not run, and how often it was started
	// again; empty when there is nothing to say. It is public, so it has no texts of errors.
	Message string
	// Restarts counts how often functions of this worker were started again since the process
	// started.
	Restarts int

	// lastFailure is why one was started again last, and when.
	lastFailure   string
	lastFailureAt time.Time
}

// Workers lists the six workers of readiness, always all of them and in a fixed order. A worker
// that nobody registered is reported as not running. Functions with other names are supervised
// without being listed.
func (s *Supervisor) Workers() []WorkerStatus {
	s.mu.Lock()
	members := slices.Clone(s.members)
	s.mu.Unlock()
	names := [...]string{GPUMonitor, CleanupService, DetectionWorker, AnalysisWorker, FileWatcher, BatchWorker}
	statuses := make([]WorkerStatus, 0, len(names))
	for _, name := range names {
		statuses = append(statuses, combine(name, members))
	}
	return statuses
}

// combine makes one status from all functions of a worker: it runs when all of them run, and the
// message is the first one of a function that does not run, else what they have to say, each text
// once.
func combine(name string, members []*member) WorkerStatus {
	combined := WorkerStatus{Name: name, Running: true}
	found := false
	var messages []string
	for _, m := range members {
		if m.Name != name {
			continue
		}
		found = true
		status := m.status()
		combined.Restarts += status.Restarts
		if status.lastFailureAt.After(combined.lastFailureAt) {
			combined.lastFailure, combined.lastFailureAt = status.lastFailure, status.lastFailureAt
		}
		switch {
		case combined.Running && !status.Running:
			combined.Running, messages = false, []string{status.Message}
		case combined.Running && status.Message != "" && !slices.Contains(messages, status.Message):
			messages = append(messages, status.Message)
		}
	}
	if !found {
		return WorkerStatus{Name: name, Message: "not started"}
	}
	combined.Message = strings.Join(messages, "; ")
	combined.tellRestarts()
	return combined
}

// tellRestarts adds to the message how often the worker was started again.
func (w *WorkerStatus) tellRestarts() {
	if w.Restarts == 0 {
		return
	}
	often := "once"
	if w.Restarts > 1 {
		often = fmt.Sprintf("%d times", w.Restarts)
	}
	if w.Message != "" {
		w.Message += "; "
	}
	w.Message += fmt.Sprintf("started again %s, last after %s", often, w.lastFailure)
}
