// Package program writes programs that tests then start.
package program

import (
	"os"
	"syscall"
	"testing"
)

// Write writes a program. No process is forked meanwhile: a child of another test would hold the
// file open for writing until it starts its own program, and to start ours would fail with "text
// file busy".
func Write(tb testing.TB, path string, content []byte, mode os.FileMode) {
	tb.Helper()
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	if err := os.WriteFile(path, content, mode); err != nil {
		tb.Fatalf("write a program: %v", err)
	}
}
