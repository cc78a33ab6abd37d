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

	"hsi.home.arpa/store"
)

const (
	// chunk is how many files are looked up in the ledger at once.
	chunk = 2000
	// sortedFiles is how many new files are put in the order of their times before they are handed on. Folders list files in
	// no order, and images that come in a wild order make many small batches.
	sortedFiles = 100_000
)

// candidate is a file that the ledger does not know.
type candidate struct {
	path    string
	size    int64
	modTime time.Time
}

// scanner walks folders and hands on the files that are new. It opens folders, never files, and keeps one chunk in memory.
type scanner struct {
	root string
	// known tells for each key whether it is recorded.
	known func(ctx context.Context, keys []store.ImageKey) ([]bool, error)
	key   func(path, folder string, size int64, modTime time.Time) store.ImageKey
	// folder is called for each camera folder.
	folder func(ctx context.Context, name string) error
	// emit takes new files; it may block.
	emit func(ctx context.Context, found []candidate) error
	// link is told about links to folders, which are not entered.
	link func(ctx context.Context, path string)
	// trouble is told about folders that cannot be read; the rest proceeds.
	trouble func(ctx context.Context, path string, err error)
	// passed, when set, spares the look-up of files that an earlier scan found recorded.
	passed *passedSet

	files []candidate // to be looked up
	keys  []store.ImageKey
	fresh []candidate // to be handed on
	count int64       // files seen
}

// scan walks dir, which is root or lies below it.
func (s *scanner) scan(ctx context.Context, dir string) error {
	if err := s.walk(ctx, dir); err != nil {
		return err
	}
	if err := s.lookUp(ctx); err != nil {
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

func (s *scanner) walk(ctx context.Context, dir string) error {
	if dir != s.root {
		if name, below := cameraFolder(s.root, filepath.Join(dir, "x")); below && filepath.Dir(dir) == s.root {
			if err := s.folder(ctx, name); err != nil {
				return err
			}
		}
	}
	folder, err := os.Open(dir)
	if err != nil {
		return s.skip(ctx, dir, err)
	}
	var below []string // entered after this folder is closed, so that depth costs no descriptors
	for ctx.Err() == nil {
		entries, err := folder.ReadDir(512)
		for _, entry := range entries {
			path := filepath.Join(dir, entry.Name())
			if entry.IsDir() {
				if !ignoredFolder(entry.Name()) {
					below = append(below, path)
				}
				continue
			}
			if err := s.file(ctx, path, entry); err != nil {
				_ = folder.Close()
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			_ = folder.Close()
			return s.skip(ctx, dir, err)
		}
	}
	_ = folder.Close() // only read
	for _, path := range below {
		if err := s.walk(ctx, path); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// file takes note of one file.
func (s *scanner) file(ctx context.Context, path string, entry fs.DirEntry) error {
	if entry.Type()&fs.ModeSymlink != 0 && !ignoredFolder(entry.Name()) && linksToFolder(path) {
		s.link(ctx, path)
		return nil
	}
	folder, ok := cameraFolder(s.root, path)
	if !ok || kindOf(entry.Name()) == ignored {
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
		// A link to an image of ours is recorded by what it stands for, one out of the folders by itself.
		if target, err := os.Stat(path); err == nil && s.linksInside(path) {
			size, modTime = target.Size(), target.ModTime()
		}
	}
	found := candidate{path: path, size: size, modTime: modTime}
	if s.passed != nil && s.passed.has(found) {
		s.passed.add(found)
		return nil
	}
	s.files = append(s.files, found)
	s.keys = append(s.keys, s.key(path, folder, size, modTime))
	if len(s.files) < chunk {
		return nil
	}
	return s.lookUp(ctx)
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

// lookUp sorts the collected files into known and new ones.
func (s *scanner) lookUp(ctx context.Context) error {
	if len(s.files) == 0 {
		return nil
	}
	known, err := s.known(ctx, s.keys)
	if err != nil {
		return fmt.Errorf("look up files: %w", err)
	}
	for i, file := range s.files {
		switch {
		case !known[i]:
			s.fresh = append(s.fresh, file)
		case s.passed != nil:
			s.passed.add(file)
		}
	}
	s.files, s.keys = s.files[:0], s.keys[:0]
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
