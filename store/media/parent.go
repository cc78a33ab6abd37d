package media

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// maxParents is how many folders are held open at once.
const maxParents = 300

// fileState is what a path turned out to be.
type fileState int

const (
	fileMissing fileState = iota
	fileRegular
	fileOther // a folder, a symbolic link, a device: never ours
)

// inspected is what was found under a path. Size and time are those of a regular file.
type inspected struct {
	state     fileState
	sizeBytes int64
	modTime   time.Time
	parent    *parentFolder // of a regular file
	base      string
}

// parentFolder is an open folder below a media folder, reached without following any symbolic link.
type parentFolder struct {
	fd     int
	state  fileState // fileRegular stands for a folder that is there
	reason error     // why it cannot be opened
	rel    string
}

// folders holds a media folder open for a short piece of work, and the folders below it that the
// work has come by. Everything done through it happens in the media folder that was verified. Not
// safe for concurrent use.
type folders struct {
	dir     *os.Root
	self    *os.File // the media folder itself
	parents map[string]*parentFolder
}

func openFolders(r *root) (*folders, error) {
	dir, err := r.open()
	if err != nil {
		return nil, err
	}
	self, err := dir.Open(".")
	if err != nil {
		_ = dir.Close() // nothing was written through it
		return nil, r.unavailable(describe(err))
	}
	return &folders{dir: dir, self: self, parents: make(map[string]*parentFolder)}, nil
}

func (f *folders) close() {
	f.closeParents()
	_ = f.self.Close() // only read
	_ = f.dir.Close()  // nothing was written through it
}

func (f *folders) closeParents() {
	for rel, parent := range f.parents {
		if parent.state == fileRegular {
			_ = unix.Close(parent.fd) // only read
		}
		delete(f.parents, rel)
	}
}

// inspect looks at a path without following a symbolic link in any part of it. Where the folder
// above a missing file must exist and does not, the file's disk may just not be mounted: that is an
// error.
func (f *folders) inspect(rel string, parentMustExist bool) (inspected, error) {
	folder, base := path.Split(rel)
	parent := f.parent(strings.TrimSuffix(folder, "/"))
	switch {
	case parent.reason != nil:
		return inspected{}, parent.reason
	case parent.state == fileMissing && parentMustExist:
		return inspected{}, fmt.Errorf("the folder %q is missing", parent.rel)
	case parent.state != fileRegular:
		return inspected{state: parent.state}, nil
	}
	var stat unix.Stat_t
	err := retrying(func() error { return unix.Fstatat(parent.fd, base, &stat, unix.AT_SYMLINK_NOFOLLOW) })
	switch {
	case errors.Is(err, syscall.ENOENT):
		return inspected{state: fileMissing}, nil
	case errors.Is(err, syscall.ENAMETOOLONG):
		return inspected{state: fileOther}, nil
	case err != nil:
		return inspected{}, err
	case stat.Mode&unix.S_IFMT != unix.S_IFREG:
		return inspected{state: fileOther}, nil
	}
	return inspected{
		state: fileRegular, sizeBytes: stat.Size, modTime: time.Unix(stat.Mtim.Unix()), parent: parent, base: base,
	}, nil
}

// remove unlinks a file that inspect has found.
func (f *folders) remove(found inspected) error {
	return retrying(func() error { return unix.Unlinkat(found.parent.fd, found.base, 0) })
}

// parent opens the folder at a relative path, "" for the media folder itself, part by part.
func (f *folders) parent(rel string) *parentFolder {
	if known := f.parents[rel]; known != nil {
		return known
	}
	if len(f.parents) >= maxParents {
		f.closeParents()
	}
	opened := f.openParent(rel)
	f.parents[rel] = opened
	return opened
}

func (f *folders) openParent(rel string) *parentFolder {
	const flags = unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC
	opened := &parentFolder{rel: rel}
	at, owned := int(f.self.Fd()), false
	for part := range strings.SplitSeq(path.Join(".", rel), "/") {
		var fd int
		err := retrying(func() (err error) {
			fd, err = unix.Openat(at, part, flags, 0)
			return err
		})
		if owned {
			_ = unix.Close(at) // only read
		}
		if err != nil {
			opened.state, opened.reason = parentState(err)
			return opened
		}
		at, owned = fd, true
	}
	opened.fd, opened.state = at, fileRegular
	return opened
}

// parentState tells what is in the place of a folder that cannot be opened.
func parentState(err error) (fileState, error) {
	switch {
	case errors.Is(err, syscall.ENOENT):
		return fileMissing, nil
	case errors.Is(err, syscall.ENOTDIR), errors.Is(err, syscall.ELOOP), errors.Is(err, syscall.ENAMETOOLONG):
		return fileOther, nil
	}
	return fileMissing, err
}

// retrying repeats a system call that a signal has interrupted.
func retrying(call func() error) error {
	for {
		if err := call(); !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}

// openKinds holds the folders of the kinds that a piece of work needs, each opened once.
type openKinds struct {
	store *Store
	open  map[Kind]*folders
	away  map[Kind]error
}

// get opens a folder once and remembers when it is not available.
func (o *openKinds) get(ctx context.Context, kind Kind) (*folders, error) {
	if opened := o.open[kind]; opened != nil {
		return opened, nil
	}
	if err := o.away[kind]; err != nil {
		return nil, err
	}
	r := o.store.root(kind)
	err := o.store.prepare(ctx, r)
	var opened *folders
	if err == nil {
		opened, err = openFolders(r)
	}
	if err != nil {
		if o.away == nil {
			o.away = make(map[Kind]error)
		}
		o.away[kind] = err
		return nil, err
	}
	if o.open == nil {
		o.open = make(map[Kind]*folders)
	}
	o.open[kind] = opened
	return opened, nil
}

func (o *openKinds) close() {
	for _, opened := range o.open {
		opened.close()
	}
	o.open, o.away = nil, nil
}
