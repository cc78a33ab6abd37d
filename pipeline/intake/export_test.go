package intake

import "os"

// SetOpen is for the tests of what cannot be read: root reads everything.
func (w *Watcher) SetOpen(open func(path string, flags int, mode os.FileMode) (*os.File, error)) {
	w.open = open
}
