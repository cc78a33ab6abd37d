package intake

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// What may be wrong with a folder that a camera is to have.
var (
	// ErrNoCameraFolder is a path that is no folder directly below the root.
	ErrNoCameraFolder = errors.New("no folder directly below the camera root")
	// ErrReadOnlyRoot is a root in which we may not make a folder.
	ErrReadOnlyRoot = errors.New("the camera root is read-only")
)

// MakeFolder makes a camera's folder below root where it is not there yet, and returns its path and
// whether it was made. asked is its name, or its whole path below root.
func MakeFolder(root, asked string) (path string, isNew bool, err error) {
	name := filepath.Clean(asked)
	if filepath.IsAbs(name) {
		if name, err = filepath.Rel(root, name); err != nil {
			return "", false, fmt.Errorf("%w: %w", ErrNoCameraFolder, err)
		}
	}
	if !filepath.IsLocal(name) || name == "." || strings.ContainsRune(name, filepath.Separator) || ignoredFolder(name) {
		return "", false, ErrNoCameraFolder
	}
	folders, err := os.OpenRoot(root)
	if err != nil {
		return "", false, fmt.Errorf("open the camera root: %w", err)
	}
	defer folders.Close()
	err = folders.Mkdir(name, 0o775) // cameras upload into it, often as another user of our group
	switch {
	case errors.Is(err, fs.ErrExist):
		info, err := folders.Stat(name)
		if err != nil || !info.IsDir() {
			return "", false, ErrNoCameraFolder
		}
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		return "", false, fmt.Errorf("%w: %w", ErrReadOnlyRoot, err)
	case errors.Is(err, syscall.ENAMETOOLONG), errors.Is(err, syscall.EINVAL):
		return "", false, fmt.Errorf("%w: %w", ErrNoCameraFolder, err)
	case err != nil:
		return "", false, fmt.Errorf("make a camera's folder: %w", err)
	}
	return filepath.Join(root, name), err == nil, nil
}
