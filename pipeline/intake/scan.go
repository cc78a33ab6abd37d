package intake

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"hsi.home.arpa/store"
)

const (
	// chunk is how many files are looked up in the ledger at once.
	chunk = 2000
	// sortedFiles is how many new files are put in the order of their times before they are handed
	// on. Folders list files in no order, and images that come in a wild order make many small
	// batches.
	sortedFiles = 100_000
)

// candidate is a file that the ledger does not know.
type candidate struct {
	path    string
	size    int64
	modTime time.Time
}

// batch is a number of files that are looked up in the ledger at once.
type batch struct {
	files []candidate
	keys  []store.ImageKey // of the files
}

// scanner walks folders and hands on the files that are new. It opens folders, never files, and
// keeps few batches in memory. While one is looked up the next is collected.
type scanner struct {
	root string
	// known tells for each key whether it is recorded.
	known func(ctx context.Context, keys []store.ImageKey) ([]bool, error)
	// folder is called for each camera folder.
	folder func(ctx context.Context, name string) error
	// emit takes new files; it may block.
	emit func(ctx context.Context, found []candidate) error
	// link is told about links to folders, which are not entered.
	link func(ctx context.Context, path string)
	// trouble is told about folders that cannot be read; the rest proceeds.
	trouble func(ctx context.Context, path string, err error)
	// open opens a folder.
	open openFunc
	// passed, when set, spares the look-up of files that an earlier scan found recorded.
	passed *passedSet

	full      chan batch  // to be looked up
	collected batch       // belongs to the goroutine that walks
	count     int64       // files seen; belongs to it too
	fresh     []candidate // to be handed on; belongs to the goroutine that looks up
}

// scan walks dir, which is root or lies below it.
func (s *scanner) scan(ctx context.Context, dir string) error {
	s.full = make(chan batch)
	group, groupCtx := errgroup.WithContext(ctx)
	group.Go(guarded(func() error {
		defer close(s.full)
		if err := s.walk(groupCtx, dir); err != nil {
			return err
		}
		return s.flush(groupCtx)
	}))
	group.Go(guarded(func() error { return s.lookUpAll(groupCtx) }))
	if err := group.Wait(); err != nil {
		return err
	}
	if err := s.handOn(ctx); err != nil {
		return err
	}
	if s.passed != nil && dir == s.root {
		s.passed.turn()
	}
	return nil
}

// flush hands the files that were collected over to be looked up.
func (s *scanner) flush(ctx context.Context) error {
	if len(s.collected.files) == 0 {
		return nil
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case s.full <- s.collected:
	}
	s.collected = batch{files: make([]candidate, 0, chunk), keys: make([]store.ImageKey, 0, chunk)}
	return nil
}

func (s *scanner) walk(ctx context.Context, dir string) error {
	at := place{dir: dir}
	if name, below := cameraFolder(s.root, filepath.Join(dir, "x")); below {
		at.cameraID = CameraID(name)
		if filepath.Dir(dir) == s.root {
			if err := s.folder(ctx, name); err != nil {
				return err
			}
		}
	}
	var below []string // entered after this folder is closed, so that depth costs no descriptors
	err := eachEntry(ctx, s.open, dir, func(entry fs.DirEntry) error {
		if !entry.IsDir() {
			return s.file(ctx, at, entry)
		}
		if !ignoredFolder(entry.Name()) {
			below = append(below, filepath.Join(dir, entry.Name()))
		}
		return nil
	})
	if unreadable, ok := errors.AsType[*folderError](err); ok {
		return s.skip(ctx, dir, unreadable.err)
	}
	if err != nil {
		return err
	}
	for _, path := range below {
		if err := s.walk(ctx, path); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// folderError says that a folder could not be read, or not to its end.
type folderError struct{ err error }

func (e *folderError) Error() string { return e.err.Error() }
func (e *folderError) Unwrap() error { return e.err }

// eachEntry calls visit for each entry of a folder, in no order. It keeps few of them in memory: a
// folder may hold a million files.
func eachEntry(ctx context.Context, open openFunc, dir string, visit func(entry fs.DirEntry) error) error {
	folder, err := open(dir, os.O_RDONLY, 0)
	if err != nil {
		return &folderError{err: err}
	}
	defer func() { _ = folder.Close() }() // only read
	for ctx.Err() == nil {
		entries, err := folder.ReadDir(512)
		for _, entry := range entries {
			if err := visit(entry); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return &folderError{err: err}
		}
	}
	return ctx.Err()
}

// place is a folder that is being read; dir is clean. A folder that belongs to no camera has no
// camera id.
type place struct{ dir, cameraID string }

// file takes note of one file.
func (s *scanner) file(ctx context.Context, at place, entry fs.DirEntry) error {
	isLink := entry.Type()&fs.ModeSymlink != 0
	if !isLink && kindOf(entry.Name()) == ignored {
		return nil
	}
	path := at.dir + string(filepath.Separator) + entry.Name()
	if isLink && !ignoredFolder(entry.Name()) && linksToFolder(path) {
		s.link(ctx, path)
		return nil
	}
	if at.cameraID == "" || kindOf(entry.Name()) == ignored {
		return nil
	}
	info, err := entry.Info()
	if err != nil {
		return nil //nolint:nilerr // gone between listing and looking
	}
	if !info.Mode().IsRegular() && info.Mode()&fs.ModeSymlink == 0 {
		return nil
	}
	s.count++
	size, modTime := info.Size(), info.ModTime()
	if info.Mode()&fs.ModeSymlink != 0 {
		// A link to an image of ours is recorded by what it stands for, one out of the folders by
		// itself.
		if target, err := os.Stat(path); err == nil && s.linksInside(path) {
			size, modTime = target.Size(), target.ModTime()
		}
	}
	found := candidate{path: path, size: size, modTime: modTime}
	if s.passed != nil && s.passed.has(found) {
		s.passed.add(found)
		return nil
	}
	s.collected.files = append(s.collected.files, found)
	s.collected.keys = append(s.collected.keys, store.ImageKey{CameraID: at.cameraID, FilePath: storablePath(path), SizeBytes: size, ModTime: modTime})
	if len(s.collected.files) < chunk {
		return nil
	}
	return s.flush(ctx)
}

func linksToFolder(path string) bool {
	target, err := os.Stat(path)
	return err == nil && target.IsDir()
}

func (s *scanner) linksInside(path string) bool {
	target, err := filepath.EvalSymlinks(path)
	if err != nil {
		return false
	}
	root, err := filepath.EvalSymlinks(s.root)
	return err == nil && inside(root, target)
}

// lookUpAll looks up what was collected until there is no more.
func (s *scanner) lookUpAll(ctx context.Context) error {
	for b := range s.full {
		if err := s.lookUp(ctx, b); err != nil {
			return err
		}
	}
	return nil
}

// lookUp sorts files into known and new ones.
func (s *scanner) lookUp(ctx context.Context, b batch) error {
	known, err := s.known(ctx, b.keys)
	if err != nil {
		return fmt.Errorf("look up files: %w", err)
	}
	for i, file := range b.files {
		switch {
		case !known[i]:
			s.fresh = append(s.fresh, file)
		case s.passed != nil:
			s.passed.add(file)
		}
	}
	if len(s.fresh) < sortedFiles {
		return nil
	}
	return s.handOn(ctx)
}

// handOn hands the new files on, the oldest first.
func (s *scanner) handOn(ctx context.Context) error {
	slices.SortFunc(s.fresh, func(a, b candidate) int { return a.modTime.Compare(b.modTime) })
	for part := range slices.Chunk(s.fresh, chunk) {
		if err := s.emit(ctx, part); err != nil {
			return err
		}
	}
	s.fresh = nil // the receiver keeps parts of it
	return nil
}

// skip leaves a folder out that cannot be read. One that is gone is no trouble.
func (s *scanner) skip(ctx context.Context, dir string, err error) error {
	if !errors.Is(err, fs.ErrNotExist) {
		s.trouble(ctx, dir, err)
	}
	return ctx.Err()
}
