// Package logtest collects what a server or a process writes while a test reads it.
package logtest

import (
	"bytes"
	"strings"
	"sync"
)

// Output collects what is written to it. The zero value is empty, and all methods may be called at
// once.
type Output struct {
	mu     sync.Mutex
	buffer bytes.Buffer // guarded by mu
}

func (o *Output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buffer.Write(p)
}

// String returns all that was written so far.
func (o *Output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buffer.String()
}

// Count returns how often a text was written so far.
func (o *Output) Count(text string) int { return strings.Count(o.String(), text) }
