package media

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"hsi.home.arpa/store"
)

// recountPause is how often the maintained figures are checked against the disk: somebody may have
// changed files by hand.
const recountPause = time.Hour

// countMarked counts the folders that we write: at the start, after a folder was away, and now and
// then to be sure.
func (s *Store) countMarked(ctx context.Context) error {
	s.startFromKeptFigures(ctx)
	next := make(map[Kind]time.Time)
	for {
		for _, r := range s.markedRoots() {
			if s.now().Before(next[r.kind]) && !s.tallies[r.kind].needsCount() {
				continue
			}
			err := s.prepare(ctx, r)
			if err == nil {
				err = s.countRoot(ctx, r)
			}
			switch {
			case ctx.Err() != nil:
				return nil //nolint:nilerr // the stop of the server is not an error
			case errors.Is(err, ErrUnavailable), errors.Is(err, store.ErrUnavailable):
				// Health says so; the count starts when the folder or the database is back.
			case err != nil:
				s.log.WarnContext(ctx, "counting media files failed", "kind", r.kind, "error", err)
			default:
				next[r.kind] = s.now().Add(recountPause)
				s.keepFigures(ctx)
			}
		}
		s.noteCounted()
		if !sleep(ctx, 2*s.options.CheckInterval) {
			return nil
		}
	}
}

// startFromKeptFigures takes over the figures of an earlier process, unless the database is slower
// to come than a count.
func (s *Store) startFromKeptFigures(ctx context.Context) {
	timer := time.NewTimer(5 * time.Second)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return
	case <-timer.C:
		return
	case <-s.options.DB.Migrated():
	}
	if err := s.loadFigures(ctx); err != nil && ctx.Err() == nil {
		s.log.WarnContext(ctx, "no media figures from the last run", "error", err)
	}
}

// countRoot counts one folder shard by shard.
func (s *Store) countRoot(ctx context.Context, r *root) (err error) {
	dir, err := r.open()
	if err != nil {
		return err
	}
	defer closeRoot(dir, &err)
	t := s.tallies[r.kind]
	for name := range t.shards {
		err := t.recount(ctx, name, func() (files, bytes int64, err error) { return countShard(ctx, dir, t, name) })
		if err != nil {
			return fmt.Errorf("count folder %q: %w", name, err)
		}
	}
	if err := r.verify(dir); err != nil {
		return err
	}
	t.counted(s.now())
	return nil
}

// countShard counts the regular files below one shard, or outside all of them. Our marker and
// temporary files do not count.
func countShard(ctx context.Context, dir *os.Root, t *tally, name string) (files, bytes int64, err error) {
	w := walker{dir: dir, visit: func(rel string, info fs.FileInfo) error {
		if _, temporary := ours(rel); !temporary && !strings.HasPrefix(rel, ownPrefix) {
			files++
			bytes += info.Size()
		}
		return nil
	}}
	start := name
	if name == restShard {
		start = "."
		w.enter = func(rel string, _ fs.FileInfo) bool { return t.shards[rel] == nil }
	} else if info, err := dir.Lstat(name); errors.Is(err, fs.ErrNotExist) {
		return 0, 0, nil
	} else if err != nil {
		return 0, 0, err
	} else if !info.IsDir() {
		return 0, 0, nil // it is not ours; the rest counts it when it is a file
	}
	if err := w.walk(ctx, start); err != nil {
		return 0, 0, err
	}
	if w.unreadable.count > 0 {
		return 0, 0, fmt.Errorf("unreadable: %s", &w.unreadable)
	}
	return files, bytes, nil
}

// imageFigure is the result of the walk over the camera images.
type imageFigure struct {
	mu      sync.Mutex
	figure  *Figure // guarded by mu; nil as long as nobody ever counted
	counted bool    // guarded by mu; by this process
	partial string  // guarded by mu; what could not be read in the last walk
}

func (f *imageFigure) set(figure Figure, partial string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.figure = &figure
	f.counted = true
	f.partial = partial
}

func (f *imageFigure) start(figure Figure) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.figure == nil {
		f.figure = &figure
	}
}

func (f *imageFigure) get() (Figure, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.figure == nil {
		return Figure{}, false
	}
	return *f.figure, true
}

func (f *imageFigure) done() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.counted
}

func (f *imageFigure) problem() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.partial == "" {
		return nil
	}
	return errors.New(f.partial)
}

// countImages walks over the camera images again and again, gently. Only the first walk of a new
// installation hurries, because until then there is no figure at all.
func (s *Store) countImages(ctx context.Context) error {
	s.startFromKeptFigures(ctx)
	lastFailure := "" // the same cause is logged once
	for {
		started := time.Now()
		err := s.walkImages(ctx)
		switch {
		case ctx.Err() != nil:
			return nil //nolint:nilerr // the stop of the server is not an error
		case err != nil && err.Error() == lastFailure:
		case err != nil:
			lastFailure = err.Error()
			s.log.WarnContext(ctx, "counting the camera images failed; the last figure stays", "error", err)
		default:
			lastFailure = ""
			s.keepFigures(ctx)
		}
		s.noteCounted()
		if !sleep(ctx, max(s.options.WalkPause, 20*time.Since(started))) {
			return nil
		}
	}
}

// walkImages counts the camera images once.
func (s *Store) walkImages(ctx context.Context) (err error) {
	dir, err := s.cameras.open()
	if err != nil {
		return err
	}
	defer closeRoot(dir, &err)
	figure := Figure{AsOf: s.now()}
	skip := s.foldersOfOurs()
	rate := pacer{perSecond: s.options.ImagesPerSecond}
	w := walker{
		dir: dir,
		visit: func(_ string, info fs.FileInfo) error {
			figure.FileCount++
			figure.SizeBytes += info.Size()
			return nil
		},
		enter: func(_ string, info fs.FileInfo) bool {
			return !slices.ContainsFunc(skip, func(ours os.FileInfo) bool { return os.SameFile(ours, info) })
		},
	}
	if _, known := s.images.get(); known {
		w.pace = rate.wait(ctx)
	}
	if err := w.walk(ctx, "."); err != nil {
		return fmt.Errorf("walk over %s: %w", s.cameras.path, err)
	}
	partial := ""
	if w.unreadable.count > 0 {
		partial = s.cameras.unavailable("has parts that cannot be read and are not counted: " + w.unreadable.String()).Error()
	}
	s.images.set(figure, partial)
	return nil
}

// foldersOfOurs are the folders that may lie below the camera folder but hold no camera's images.
func (s *Store) foldersOfOurs() []os.FileInfo {
	var found []os.FileInfo
	for _, r := range s.markedRoots() {
		if info, err := os.Stat(r.path); err == nil {
			found = append(found, info)
		}
	}
	return found
}

// Counted is closed as soon as every kind was counted once by this process.
func (s *Store) Counted() <-chan struct{} { return s.walked }

func (s *Store) noteCounted() {
	for _, t := range s.tallies {
		if t.needsCount() {
			return
		}
	}
	if s.images.done() {
		s.walkedOne.Do(func() { close(s.walked) })
	}
}
