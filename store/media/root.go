package media

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
)

// markerName is the file in a media folder that carries the folder's id. The same id is in the
// database, so that an unmounted disk, an exchanged disk or another installation's folder is
// noticed before anything is written or deleted.
const markerName = ownPrefix + "media"

// ownPrefix begins the names of our own files directly in a media folder.
const ownPrefix = ".hsi-"

// maxMarkerBytes bounds what is read from a marker.
const maxMarkerBytes = 256

// Kind says which folder a file belongs to.
type Kind string

// The kinds of files. Images are the cameras' own and live in a folder that may be read-only and
// carries no marker.
const (
	Thumbnail Kind = "thumbnail"
	Clip      Kind = "clip"
	Image     Kind = "image"
)

// waitsForDatabase is the reason of a folder whose id was not read yet.
const waitsForDatabase = "waits for the database"

// root is one folder of files. It holds nothing open between calls, so that the disk can be
// unmounted.
type root struct {
	kind   Kind
	path   string // absolute and clean
	marked bool   // whether the folder must carry a marker

	mu sync.Mutex
	id string // guarded by mu; the id from the database, empty until it was read
	// refused is why the folder could not be taken into use. Guarded by mu.
	refused string
}

func newRoot(kind Kind, path string, marked bool) (*root, error) {
	if path == "" {
		return nil, fmt.Errorf("media: no folder is set for kind %q", kind)
	}
	absolute, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("media: folder for kind %q: %w", kind, err)
	}
	return &root{kind: kind, path: absolute, marked: marked}, nil
}

func (r *root) expectedID() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.id
}

func (r *root) expect(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.id = id
}

// refuse remembers why the folder could not be taken into use, if that is what err says.
func (r *root) refuse(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refused = waitsForDatabase
	if unavailable, ok := errors.AsType[*UnavailableError](err); ok {
		r.refused = unavailable.Reason
	}
}

func (r *root) whyRefused() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.refused == "" {
		return waitsForDatabase
	}
	return r.refused
}

// open opens the folder and proves that it is the right one. Everything done through the returned
// handle happens in exactly that folder, even when another one is mounted over it meanwhile. Errors
// wrap ErrUnavailable.
func (r *root) open() (*os.Root, error) {
	dir, err := os.OpenRoot(r.path)
	if err != nil {
		if info, statErr := os.Stat(r.path); statErr == nil && !info.IsDir() {
			return nil, r.unavailable("is not a folder")
		}
		return nil, r.unavailable(describe(err))
	}
	if err := r.verify(dir); err != nil {
		_ = dir.Close() // nothing was written through it
		return nil, err
	}
	return dir, nil
}

// verify compares the folder's marker with the expected id.
func (r *root) verify(dir *os.Root) error {
	if !r.marked {
		return nil
	}
	want := r.expectedID()
	if want == "" {
		return r.unavailable(r.whyRefused())
	}
	got, err := readMarker(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return &UnavailableError{
			Kind: r.kind, Path: r.path, Reason: "has no marker: is its disk mounted?",
			Hint: "If the folder is new on purpose, run: echo " + want + " > '" + filepath.Join(r.path, markerName) + "'",
		}
	case err != nil:
		return r.unavailable("has an unreadable marker: " + describe(err))
	case got != want:
		return r.unavailable("belongs to another installation (its marker " + markerName + " has another id)")
	}
	return nil
}

func (r *root) unavailable(why string) error {
	return &UnavailableError{Kind: r.kind, Path: r.path, Reason: why}
}

// relative turns a path as a row names it into the path below the folder. Only two spellings are
// ours: the clean relative one that Write returns, and the same below the folder's absolute path.
// Any other names a file that is not ours to touch.
func (r *root) relative(path string) (string, bool) {
	rel := path
	if filepath.IsAbs(path) {
		var below bool
		rel, below = strings.CutPrefix(path, r.prefix())
		if !below {
			return "", false
		}
	}
	if rel == "." || filepath.Clean(rel) != rel || !filepath.IsLocal(rel) || strings.HasPrefix(rel, ownPrefix) || strings.ContainsRune(rel, 0) {
		return "", false
	}
	return rel, true
}

// prefix begins the absolute spelling of a path in the folder.
func (r *root) prefix() string {
	return strings.TrimSuffix(r.path, string(filepath.Separator)) + string(filepath.Separator)
}

// readMarker returns the id in the folder's marker.
func readMarker(dir *os.Root) (string, error) {
	info, err := dir.Lstat(markerName)
	if err != nil {
		return "", err
	}
	if !info.Mode().IsRegular() || info.Size() > maxMarkerBytes {
		return "", errors.New("not a small regular file")
	}
	content, err := dir.ReadFile(markerName)
	if err != nil {
		return "", err
	}
	id := strings.TrimSpace(string(content))
	if id == "" {
		return "", errors.New("the file is empty")
	}
	return id, nil
}

// writeMarker stores the id durably, replacing a damaged marker.
func writeMarker(dir *os.Root, id string) error {
	temporary := markerName + ".tmp"
	if err := dir.Remove(temporary); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove an old temporary marker: %w", err)
	}
	if err := writeFileDurably(dir, temporary, []byte(id+"\n")); err != nil {
		return fmt.Errorf("write the marker: %w", err)
	}
	if err := dir.Rename(temporary, markerName); err != nil {
		return fmt.Errorf("rename the marker: %w", err)
	}
	return syncDir(dir, ".")
}

// writeFileDurably creates a file that must not exist and puts its content on the disk.
func writeFileDurably(dir *os.Root, name string, data []byte) (err error) {
	file, err := dir.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, filePermissions)
	if err != nil {
		return err
	}
	defer func() {
		if closeErr := file.Close(); err == nil {
			err = closeErr
		}
	}()
	if _, err := file.Write(data); err != nil {
		return err
	}
	return file.Sync()
}

// syncDir makes the entries of a folder durable.
func syncDir(dir *os.Root, name string) error {
	file, err := dir.Open(name)
	if err != nil {
		return fmt.Errorf("open the folder to sync it: %w", err)
	}
	err = file.Sync()
	if closeErr := file.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return fmt.Errorf("sync the folder: %w", err)
	}
	return nil
}

// describe is the reason of a file error without the path, which the caller names.
func describe(err error) string {
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		switch errno {
		case syscall.ENOENT:
			return "is missing"
		case syscall.ENOTDIR:
			return "is not a folder"
		default:
			return "cannot be read: " + errno.Error()
		}
	}
	return rootReason(err)
}

// lock is a mutex that gives up when ctx ends.
type lock chan struct{}

func newLock() lock { return make(lock, 1) }

func (l lock) acquire(ctx context.Context) error {
	select {
	case l <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (l lock) release() { <-l }
