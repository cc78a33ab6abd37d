// Package media keeps the files that the database names: thumbnails and clips, written by us, and
// the cameras' images, which are only counted and, when the owner asks for it, deleted.
//
// Two rules hold through every crash. A row names a file only after the file is safely on the disk:
// Write returns when it is. And a file is removed only after a committed transaction has marked it:
// Mark, then Sweep. What a crash leaves behind, a later sweep finishes: marked files that still
// exist, temporary files, and files that no row ever named.
//
// The folders of thumbnails and clips carry a marker with an id that the database knows. Where it
// is missing or another one, the disk is not mounted or was exchanged: nothing is written and
// nothing is deleted until it is back, and Health says so.
package media

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jmoiron/sqlx"
	"golang.org/x/sync/errgroup"

	"hsi.home.arpa/store"
)

// ErrUnavailable is in every error that says that a media folder is missing, unreadable or the
// wrong one.
var ErrUnavailable = errors.New("a media folder is not available")

// UnavailableError tells which folder cannot be used, and why. It wraps ErrUnavailable.
type UnavailableError struct {
	Kind   Kind
	Path   string
	Reason string // continues "the thumbnail folder /x …"
	// Hint is a command that may help. It names places and marks, so it is for the log alone.
	Hint string
}

func (e *UnavailableError) Error() string {
	if e.Hint != "" {
		return e.outward() + " " + e.Hint
	}
	return e.outward()
}

// outward is the message without what is for the log alone.
func (e *UnavailableError) outward() string {
	return fmt.Sprintf("the %s folder %s %s", e.Kind, e.Path, e.Reason)
}

// Is makes errors.Is(err, ErrUnavailable) true.
func (e *UnavailableError) Is(target error) bool { return target == ErrUnavailable }

// Permissions of what we create: pictures of a home are not for everybody on the machine.
const (
	filePermissions   = 0o640
	folderPermissions = 0o750
)

// Options of a Store. The folders and DB are required, the rest has defaults.
type Options struct {
	DB *store.DB
	// Thumbnails and Clips are written by us and must be different folders.
	Thumbnails, Clips string
	// Cameras holds the cameras' own images and may be read-only.
	Cameras string
	Log     *slog.Logger
	// Now is the clock. Defaults to time.Now.
	Now func() time.Time
	// CheckInterval is how often the state and the free space of the folders are looked at.
	// Defaults to 500 ms.
	CheckInterval time.Duration
	// ImagesPerSecond bounds the background walk over the camera images. Defaults to 5,000 files
	// per second.
	ImagesPerSecond int
	// WalkPause is the least time between two walks. Defaults to 30 s. A walk also waits 20 times
	// as long as the last one took, so that it is at work at most 5 % of the time.
	WalkPause time.Duration
	// OrphanAge is how old a file must be before it counts as left behind when no row names it. It
	// must be longer than a detection may take from writing a thumbnail to its commit. Defaults to
	// 1 h.
	OrphanAge time.Duration
	// MinFreeBytes is the free space below which the disk counts as full. Defaults to 64 MiB.
	MinFreeBytes int64
}

// Store keeps media files. Create it with New; its methods may be called from several goroutines.
type Store struct {
	options Options
	sql     *sqlx.DB
	log     *slog.Logger
	now     func() time.Time

	thumbnails, clips, cameras *root
	tallies                    map[Kind]*tally // of the two marked folders
	images                     imageFigure

	preparing lock // held while the folders' ids are read or made

	condition atomic.Pointer[condition]
	writes    writeState
	running   atomic.Bool
	walked    chan struct{} // closed after the first complete count of every kind
	walkedOne sync.Once
}

// New checks the options. It touches neither the disk nor the database.
func New(options Options) (*Store, error) {
	if options.DB == nil {
		return nil, errors.New("media: a database is required")
	}
	setDefaults(&options)
	s := &Store{
		options:   options,
		sql:       options.DB.SQL(),
		log:       options.Log,
		now:       options.Now,
		preparing: newLock(),
		walked:    make(chan struct{}),
	}
	var err error
	if s.thumbnails, err = newRoot(Thumbnail, options.Thumbnails, true); err != nil {
		return nil, err
	}
	if s.clips, err = newRoot(Clip, options.Clips, true); err != nil {
		return nil, err
	}
	if s.cameras, err = newRoot(Image, options.Cameras, false); err != nil {
		return nil, err
	}
	if within(s.thumbnails.path, s.clips.path) || within(s.clips.path, s.thumbnails.path) {
		return nil, fmt.Errorf("media: the folders of thumbnails (%s) and clips (%s) must not contain each other",
			s.thumbnails.path, s.clips.path)
	}
	if within(s.thumbnails.path, s.cameras.path) || within(s.clips.path, s.cameras.path) {
		return nil, fmt.Errorf("media: the camera folder %s must not lie in the folder of thumbnails or clips", s.cameras.path)
	}
	s.tallies = map[Kind]*tally{Thumbnail: newTally(), Clip: newTally()}
	return s, nil
}

func setDefaults(options *Options) {
	if options.Log == nil {
		options.Log = slog.New(slog.DiscardHandler)
	}
	if options.Now == nil {
		options.Now = time.Now
	}
	if options.CheckInterval == 0 {
		options.CheckInterval = 500 * time.Millisecond
	}
	if options.ImagesPerSecond == 0 {
		options.ImagesPerSecond = 5000
	}
	if options.WalkPause == 0 {
		options.WalkPause = 30 * time.Second
	}
	if options.OrphanAge == 0 {
		options.OrphanAge = time.Hour
	}
	if options.MinFreeBytes == 0 {
		options.MinFreeBytes = 64 << 20
	}
}

// within tells whether path is folder or lies below it.
func within(folder, path string) bool {
	return path == folder || strings.HasPrefix(path, strings.TrimSuffix(folder, string(filepath.Separator))+string(filepath.Separator))
}

// Run watches the folders, counts the files, and removes in the background what crashes left
// behind, until ctx ends. Health and Storage answer from what it found. A second Run returns an
// error.
func (s *Store) Run(ctx context.Context) error {
	if !s.running.CompareAndSwap(false, true) {
		return errors.New("media: already running")
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return s.watchCondition(ctx) })
	group.Go(func() error { return s.countMarked(ctx) })
	group.Go(func() error { return s.countImages(ctx) })
	group.Go(func() error { return s.cleanLeftovers(ctx) })
	if err := group.Wait(); err != nil && ctx.Err() == nil {
		return err
	}
	s.keepFigures(context.WithoutCancel(ctx)) // bounded by its own deadline
	return nil
}

func (s *Store) root(kind Kind) *root {
	switch kind {
	case Thumbnail:
		return s.thumbnails
	case Clip:
		return s.clips
	case Image:
		return s.cameras
	default:
		return nil
	}
}

// markedRoots are the folders that we write.
func (s *Store) markedRoots() []*root { return []*root{s.thumbnails, s.clips} }

// sleep waits, or returns false when ctx ends first.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
