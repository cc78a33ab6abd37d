package intake

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// watchMask is what we want to hear of each folder: files that were closed after writing or moved
// in, and new folders and links.
const watchMask = unix.IN_CLOSE_WRITE | unix.IN_MOVED_TO | unix.IN_CREATE | unix.IN_DELETE_SELF | unix.IN_MOVE_SELF | unix.IN_ONLYDIR

// notifier tells what happens below a folder, as the kernel sees it.
type notifier struct {
	file *os.File
	open openFunc
	emit func(ctx context.Context, n notice) error

	mu      sync.Mutex
	folders map[int32]string  // guarded by mu; watch descriptor to path
	ids     map[string]fileID // guarded by mu; what was watched under a path
	missed  map[string]bool   // guarded by mu; folders that could not be watched with all below them
}

// newNotifier makes a notifier that watches nothing yet.
func newNotifier(open openFunc, emit func(ctx context.Context, n notice) error) (*notifier, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("start inotify: %w", err)
	}
	// A non-blocking descriptor goes through the runtime's poller, so that Close ends a read.
	return &notifier{
		file: os.NewFile(uintptr(fd), "inotify"), open: open, emit: emit, folders: make(map[int32]string), ids: make(map[string]fileID),
		missed: make(map[string]bool),
	}, nil
}

// addTree watches a folder and all folders below it. A folder that vanishes meanwhile is no error.
// Links are not followed, but for a dir that is one and ends with a separator.
func (n *notifier) addTree(ctx context.Context, dir string) error {
	if info, err := os.Lstat(dir); err != nil || !info.IsDir() {
		n.noteMissed(dir, false)
		return nil //nolint:nilerr // gone or hidden; the scan says so
	}
	err := n.addAll(ctx, dir)
	if unreadable, ok := errors.AsType[*folderError](err); ok {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return fmt.Errorf("watch folder: %w", unreadable)
	}
	return err
}

// addAll is addTree for what is a folder. Folders below it that cannot be read are left out; the
// scan says so.
func (n *notifier) addAll(ctx context.Context, dir string) error {
	watched, err := n.add(filepath.Clean(dir))
	if err != nil {
		return err
	}
	var below []string
	err = eachEntry(ctx, n.open, dir, func(entry fs.DirEntry) error {
		if entry.IsDir() && !ignoredFolder(entry.Name()) {
			below = append(below, filepath.Join(dir, entry.Name()))
		}
		return nil
	})
	n.noteMissed(dir, !watched || err != nil)
	if err != nil {
		return err
	}
	for _, path := range below {
		err := n.addAll(ctx, path)
		if _, unreadable := errors.AsType[*folderError](err); err != nil && !unreadable {
			return err
		}
	}
	return nil
}

// add watches one folder, unless it is gone or hidden from us.
func (n *notifier) add(dir string) (watched bool, err error) {
	conn, err := n.file.SyscallConn()
	if err != nil {
		return false, fmt.Errorf("watch folder: %w", err)
	}
	// Looked at before it is watched: if it is exchanged in between, the next check sees another
	// one and watches that.
	info, err := os.Stat(dir)
	if err != nil {
		return false, nil // it is noted as missed
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	var watch int
	var addErr error
	if err := conn.Control(func(fd uintptr) { watch, addErr = unix.InotifyAddWatch(int(fd), dir, watchMask) }); err != nil {
		return false, fmt.Errorf("watch folder: %w", err)
	}
	switch {
	case errors.Is(addErr, unix.ENOENT), errors.Is(addErr, unix.ENOTDIR), errors.Is(addErr, unix.EACCES):
		return false, nil
	case addErr != nil:
		return false, fmt.Errorf("watch folder %s: %w", dir, addErr)
	}
	n.folders[int32(watch)] = dir //nolint:gosec // the kernel's watch descriptors are 32 bits
	n.ids[dir] = folderID(info)
	return true, nil
}

// noteMissed remembers a folder that could not be watched with all below it, or forgets it. A scan
// that comes later may be able to read it, and then nobody else would know that what comes next is
// not heard.
func (n *notifier) noteMissed(dir string, missed bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if dir = filepath.Clean(dir); missed {
		n.missed[dir] = true
	} else {
		delete(n.missed, dir)
	}
}

// missedFolders lists the folders that are to be watched once they can be.
func (n *notifier) missedFolders() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Sorted(maps.Keys(n.missed))
}

// watched lists the folders that are watched.
func (n *notifier) watched() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Sorted(maps.Keys(n.ids))
}

// exchanged tells whether another folder now has the path, which the kernel does not tell when a
// file system is mounted on a folder or taken off it. A path without a folder is forgotten: if
// there is one again, that is told.
func (n *notifier) exchanged(dir string) bool {
	n.mu.Lock()
	was, known := n.ids[dir]
	n.mu.Unlock()
	if !known {
		return false
	}
	info, err := os.Lstat(dir)
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.ids[dir] != was {
		return false // watched anew while we looked
	}
	if errors.Is(err, fs.ErrNotExist) || err == nil && !info.IsDir() {
		delete(n.ids, dir)
		return false
	}
	return err == nil && folderID(info) != was
}

// run reads notices until ctx ends or close is called.
func (n *notifier) run(ctx context.Context) error {
	stop := context.AfterFunc(ctx, n.close)
	defer stop()
	buffer := make([]byte, 64<<10)
	for {
		size, err := n.file.Read(buffer)
		if err != nil {
			if ctx.Err() != nil || errors.Is(err, os.ErrClosed) {
				return nil
			}
			return fmt.Errorf("read inotify: %w", err)
		}
		if err := n.handle(ctx, buffer[:size]); err != nil {
			return err
		}
	}
}

func (n *notifier) close() { _ = n.file.Close() } // nothing was written

// handle passes on all notices of one read.
func (n *notifier) handle(ctx context.Context, buffer []byte) error {
	for len(buffer) >= unix.SizeofInotifyEvent {
		event := (*unix.InotifyEvent)(unsafe.Pointer(&buffer[0])) // the layout is the kernel's
		end := unix.SizeofInotifyEvent + int(event.Len)
		if end > len(buffer) {
			return errors.New("read inotify: short event")
		}
		name := strings.TrimRight(string(buffer[unix.SizeofInotifyEvent:end]), "\x00")
		if err := n.handleEvent(ctx, event.Wd, event.Mask, name); err != nil {
			return err
		}
		buffer = buffer[end:]
	}
	return nil
}

func (n *notifier) handleEvent(ctx context.Context, watch int32, mask uint32, name string) error {
	if mask&unix.IN_Q_OVERFLOW != 0 {
		return n.emit(ctx, notice{overflow: true})
	}
	n.mu.Lock()
	dir, known := n.folders[watch]
	if mask&unix.IN_IGNORED != 0 {
		delete(n.folders, watch)
	}
	n.mu.Unlock()
	switch path := filepath.Join(dir, name); {
	case !known:
		return nil
	case mask&(unix.IN_DELETE_SELF|unix.IN_MOVE_SELF|unix.IN_UNMOUNT|unix.IN_IGNORED) != 0:
		return n.emit(ctx, notice{path: dir, folderGone: true})
	case mask&unix.IN_ISDIR != 0:
		if ignoredFolder(name) {
			return nil
		}
		// Watched before it is scanned, so that nothing falls between.
		if err := leaveOutUnreadable(n.addTree(ctx, path)); err != nil {
			return err
		}
		return n.emit(ctx, notice{path: path, folder: true})
	case mask&unix.IN_CREATE != 0:
		// A file that is being written is heard of again when it is closed; one that was written
		// without a name is not. Links are not written.
		info, err := os.Lstat(path)
		if err != nil {
			return nil //nolint:nilerr // gone already
		}
		if info.Mode()&fs.ModeSymlink != 0 && linksToFolder(path) {
			return n.emit(ctx, notice{path: dir, folder: true}) // the scan tells about it
		}
		return n.emit(ctx, notice{path: path, unclosed: info.Mode().IsRegular() && linkCount(info) < 2})
	}
	return n.emit(ctx, notice{path: filepath.Join(dir, name)})
}
