package pipeline

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"
)

// member is one function and its state.
type member struct {
	Function
	heartbeat *Heartbeat

	mu            sync.Mutex
	running       bool      // guarded by mu
	message       string    // guarded by mu; why it does not run
	restarts      int       // guarded by mu
	lastFailure   string    // guarded by mu; of those that led to a restart
	lastFailureAt time.Time // guarded by mu
}

// panicError is a panic turned into an error.
type panicError struct {
	value any
	stack []byte
}

func (e *panicError) Error() string { return fmt.Sprintf("panic: %v", e.value) }

func runSafely(ctx context.Context, m *member) (err error) {
	defer func() {
		if value := recover(); value != nil {
			err = &panicError{value: value, stack: debug.Stack()}
		}
	}()
	return m.Run(ctx, m.currentHeartbeat())
}

func (m *member) setRunning() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.running = true
	m.message = ""
	m.heartbeat = newHeartbeat(m.heartbeat.now) // steps that the last run left open are gone with it
}

func (m *member) setStopped(message string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.running = false
	m.message = message
}

// setFailed notes the failure number attempt in a row, which leads to a restart.
func (m *member) setFailed(attempt int, kind string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.running = false
	m.message = fmt.Sprintf("failed, starts again (failure %d in a row)", attempt)
	m.restarts++
	m.lastFailure, m.lastFailureAt = kind, m.heartbeat.now()
}

// kindOfFailure says in public words how a function failed. The cause is in the log.
func kindOfFailure(err error) string {
	switch _, panicked := errors.AsType[*panicError](err); {
	case panicked:
		return "a panic"
	case errors.Is(err, errReturned):
		return "it ended by itself"
	}
	return "an error"
}

func (m *member) currentHeartbeat() *Heartbeat {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.heartbeat
}

func (m *member) isRunning() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.running
}

func (m *member) status() WorkerStatus {
	m.mu.Lock()
	heartbeat := m.heartbeat
	status := WorkerStatus{
		Name: m.Name, Running: m.running, Message: m.message, Restarts: m.restarts,
		lastFailure: m.lastFailure, lastFailureAt: m.lastFailureAt,
	}
	m.mu.Unlock()
	if status.Running {
		status.Running, status.Message = heartbeat.verdict(m.FreshFor)
	}
	return status
}
