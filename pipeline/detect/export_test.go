package detect

import "time"

// Count counts one image, as a worker does.
func Count(a *Activity) { a.add() }

// SetRoundTime is for a worker that does not run yet.
func SetRoundTime(w *Worker, d time.Duration) { w.roundTime = d }

// Scenes is how many cameras a detector remembers.
func Scenes(m *Motion) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.scenes)
}
