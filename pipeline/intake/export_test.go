package intake

import "os"

// SetOpen is for the tests of what cannot be read: root reads everything.
func (w *Watcher) SetOpen(open func(path string, flags int, mode os.FileMode) (*os.File, error)) {
	w.open = open
}

// SetExamined is told about each file that was looked at.
func (w *Watcher) SetExamined(examined func(path string, sizeBytes int64)) {
	w.examined = func(found finding) { examined(found.path, found.size) }
}
