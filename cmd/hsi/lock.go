package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/gofrs/flock"
)

// errDataDirInUse means that another process works on the same DATA_DIR.
var errDataDirInUse = errors.New("DATA_DIR is in use")

// lockDataDir creates the folder and locks it for this process; the kernel lets go of the lock
// however the process ends.
func lockDataDir(dir string) (release func(), err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // the camera folders in it are written by other users
		return nil, fmt.Errorf("create DATA_DIR: %w", err)
	}
	path := filepath.Join(dir, "hsi.lock")
	lock := flock.New(path)
	held, err := lock.TryLock()
	if err != nil {
		return nil, fmt.Errorf("lock DATA_DIR: %w", err)
	}
	if !held {
		owner, _ := os.ReadFile(path)
		return nil, fmt.Errorf("%w: %s is used by another hsi (process %s)", errDataDirInUse, dir, orUnknown(string(owner)))
	}
	if err := os.WriteFile(path, []byte(strconv.Itoa(os.Getpid())+"\n"), 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("lock DATA_DIR: %w", err), lock.Close())
	}
	return func() { _ = lock.Close() }, nil // closing lets go; the process is about to end
}

func orUnknown(s string) string {
	if s = strings.TrimSpace(s); s == "" {
		return "unknown"
	}
	return s
}
