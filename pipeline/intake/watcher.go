// Package intake finds the images that cameras put into their folders and writes them into the
// ledger: each file once, as waiting for the detector or as filtered with a reason. It hears of new
// files from the kernel, or looks for them where the kernel does not tell, as on network mounts;
// and it scans all folders at the start, after the database or a folder came back, and hourly, so
// that a file that it did not hear of is found too.
package intake

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"hsi.home.arpa/pipeline/picture"
	"hsi.home.arpa/store"
)

// ledger is what the watcher needs of the store.
type ledger interface {
	EnsureCamera(ctx context.Context, camera store.Camera) error
	RecordImage(ctx context.Context, img store.NewImage) (store.RecordedImage, error)
	KnownImages(ctx context.Context, keys []store.ImageKey) ([]bool, error)
	Clock(ctx context.Context) (time.Time, error)
	SameContent(ctx context.Context, cameraID, path, sha256 string) (recorded, decided bool, err error)
}

// videos tells whether images can be taken out of videos; nil when they can.
type videos interface{ Available() error }

// heartbeat shows that a function is alive; see pipeline.Heartbeat.
type heartbeat interface {
	Beat()
	Say(message string)
}

// Options of a Watcher. Zero durations mean their defaults.
type Options struct {
	// Root holds one folder for each camera. It may be missing for a while, and be read-only.
	// Required.
	Root string
	// Ledger, Log and Recorded are required. Recorded is called after an image was recorded that
	// waits for the detector; it must not block.
	Ledger   ledger
	Log      *slog.Logger
	Recorded func()
	// DedupeWindow is how far back the same bytes from the same camera make a duplicate; 0 switches
	// that off.
	DedupeWindow time.Duration
	// Polling looks for files every PollInterval (default 1 s) instead of listening to the kernel.
	// A file that was changed within SettleTime is taken when it was the same at two looks, an
	// older one at the first look. A look that takes long is repeated less often, so that looking
	// never takes more than a tenth of the time.
	Polling      bool
	PollInterval time.Duration
	// Limits bound what is accepted.
	Limits picture.Limits
	// Videos tells whether videos are accepted. Nil: they are not.
	Videos videos
	// SettleTime is how long a file that a scan finds must be unchanged. Defaults to 2 s.
	SettleTime time.Duration
	// GiveUpTime is how long a file may stay unchanged and unfinished before it is recorded as
	// such. Defaults to 2 min.
	GiveUpTime time.Duration
	// ScanInterval is how often all folders are scanned. Defaults to 1 h.
	ScanInterval time.Duration
	// CheckInterval is how often it is checked that the folders are still the same. Defaults to 2
	// s.
	CheckInterval time.Duration
	// Now is the clock. Defaults to time.Now.
	Now func() time.Time
}

// examiners is how many files are examined side by side. They are of different cameras.
const examiners = 4

// Watcher is the intake. Make it with New and call Run.
type Watcher struct {
	options Options
	log     *slog.Logger
	now     func() time.Time

	cameras sync.Map // names of folders whose camera is stored
	same    sameSet
	links   onceSet // links that were told about
	// unreadable has the files that were told about because we may not read them.
	unreadable onceSet
	open       openFunc
	// examined is told about each file that was looked at; for tests.
	examined func(found finding)
	clock    databaseClock
	real     string // Root without links; set when a session starts, before anything else runs
}

// New makes a watcher that does nothing yet.
func New(options Options) *Watcher {
	setDefault(&options.PollInterval, time.Second)
	setDefault(&options.SettleTime, 2*time.Second)
	setDefault(&options.GiveUpTime, 2*time.Minute)
	setDefault(&options.ScanInterval, time.Hour)
	setDefault(&options.CheckInterval, 2*time.Second)
	if options.Now == nil {
		options.Now = time.Now
	}
	options.Root = filepath.Clean(options.Root)
	w := &Watcher{options: options, log: options.Log, now: options.Now, open: os.OpenFile, examined: func(finding) {}}
	w.clock.now = options.Now
	w.clock.read = func(ctx context.Context) (time.Time, error) { return options.Ledger.Clock(ctx) }
	return w
}

func setDefault(d *time.Duration, value time.Duration) {
	if *d == 0 {
		*d = value
	}
}

func (w *Watcher) realRoot() string { return w.real }

// openFunc opens a file or a folder, as os.OpenFile does.
type openFunc func(path string, flags int, mode os.FileMode) (*os.File, error)

// fileID identifies a folder.
type fileID struct{ device, inode uint64 }

// notice is one thing that the kernel told.
type notice struct {
	path string
	// folder says that path is a new folder, folderGone that a watched folder is no longer where it
	// was.
	folder, folderGone bool
	// unclosed says that the file may still be written.
	unclosed bool
	// overflow says that notices were lost.
	overflow bool
}

// errFoldersChanged ends a session because the root was exchanged: another disk was mounted, or it
// was made anew.
var errFoldersChanged = errors.New("the camera folders were exchanged")

// Run takes in images until ctx ends. A missing root folder and a database that is away are waited
// for.
func (w *Watcher) Run(ctx context.Context, alive heartbeat) error {
	missing := false
	for ctx.Err() == nil {
		root, err := os.Stat(w.options.Root)
		if err == nil && !root.IsDir() {
			err = &fs.PathError{Op: "watch", Path: w.options.Root, Err: errors.New("is no folder")}
		}
		if err != nil {
			if !missing {
				w.log.WarnContext(ctx, "camera folder is not there", "error", err)
			}
			missing = true
			alive.Say("waiting for the camera folder, which is missing") // its path is in the log
			wait(ctx, w.options.CheckInterval)
			continue
		}
		missing = false
		alive.Say("")
		err = w.session(ctx, alive, folderID(root))
		switch {
		case errors.Is(err, errFoldersChanged):
			w.log.WarnContext(ctx, "camera folder was exchanged or is gone")
		case err != nil && ctx.Err() == nil:
			return err
		}
	}
	return nil
}

// session watches one incarnation of the root folder.
func (w *Watcher) session(ctx context.Context, alive heartbeat, id fileID) error {
	resolved, err := filepath.EvalSymlinks(w.options.Root)
	if err != nil {
		return errFoldersChanged // gone between two looks
	}
	w.real = resolved
	group, ctx := errgroup.WithContext(ctx)
	s := newSession(w, alive, id, group.Go)
	if err := s.listen(ctx); err != nil {
		return err
	}
	defer s.deafen()
	for _, work := range s.work {
		group.Go(guarded(func() error { return s.examineAll(ctx, work) }))
	}
	group.Go(guarded(func() error { return s.scanAll(ctx) }))
	if s.notifier != nil {
		group.Go(guarded(func() error { return s.notifier.run(ctx) }))
	}
	group.Go(guarded(func() error { return s.loop(ctx) }))
	return group.Wait()
}

// guarded turns a panic of a goroutine into an error, so that the supervisor of the whole sees it.
func guarded(f func() error) func() error {
	return func() (err error) {
		defer func() {
			if value := recover(); value != nil {
				err = fmt.Errorf("panic: %v\n%s", value, debug.Stack())
			}
		}()
		return f()
	}
}

func wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
