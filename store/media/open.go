package media

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// ErrOutside says that a path names no file of its folder: it leads elsewhere, by its spelling or
// by a link, or what lies there is no regular file.
var ErrOutside = errors.New("not a file of the media folder")

// Open opens the file that a row names, to read it. Whatever the path and the links on the way say,
// it lies in the folder of its kind. The error wraps ErrOutside, fs.ErrNotExist, or ErrUnavailable
// when the folder or its disk cannot be read.
func (s *Store) Open(ctx context.Context, kind Kind, path string) (*os.File, error) {
	r := s.root(kind)
	rel, ok := r.relative(path)
	if !ok {
		return nil, ErrOutside
	}
	if err := s.prepare(ctx, r); err != nil {
		return nil, err
	}
	dir, err := r.open()
	if err != nil {
		return nil, err
	}
	defer func() { _ = dir.Close() }() // only read
	// Not blocking, because what was a file may be a pipe now.
	file, err := dir.OpenFile(rel, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, r.notOpened(dir, err)
	}
	info, err := file.Stat()
	switch {
	case err != nil:
		err = r.unavailable("cannot be read: " + rootReason(err))
	case !info.Mode().IsRegular():
		err = ErrOutside
	default:
		return file, nil
	}
	_ = file.Close() // only read
	return nil, err
}

// notOpened says why a file could not be opened. A camera folder that is empty is taken for the
// mount point of a disk: one that held the file has had files.
func (r *root) notOpened(dir *os.Root, err error) error {
	errno, known := errors.AsType[syscall.Errno](err)
	switch {
	case errors.Is(err, fs.ErrNotExist), known && errno == syscall.ENOTDIR:
		if !r.marked && isEmpty(dir) {
			return r.unavailable("is empty: is its disk mounted?")
		}
		return fmt.Errorf("open %s: %w", r.kind, fs.ErrNotExist)
	case !known, // a link that leaves
		errno == syscall.ELOOP, errno == syscall.ENAMETOOLONG, errno == syscall.ENXIO:
		return ErrOutside
	}
	return r.unavailable("cannot be read: " + errno.Error())
}

func isEmpty(dir *os.Root) bool {
	folder, err := dir.Open(".")
	if err != nil {
		return true
	}
	defer func() { _ = folder.Close() }() // only read
	names, _ := folder.Readdirnames(1)
	return len(names) == 0
}

// Own tells whether a path of a row is one that Write has returned: what lies there never changes.
func Own(path string) bool {
	final, _ := ours(path)
	return final
}
