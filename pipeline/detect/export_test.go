package detect

// Count counts one image, as a worker does.
func Count(a *Activity) { a.add() }

// Scenes is how many cameras a detector remembers.
func Scenes(m *Motion) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.scenes)
}
