// Package retention deletes what is older than the owner wants to keep: events with their
// detections and thumbnails, detections that belong to no event, GPU samples and log lines; and,
// when asked for, the cameras' original images. It also checks that rows, files, counters and the
// ledger agree.
//
// One plan says what is due. A dry run counts by it, a real run deletes by it, in small
// transactions that each leave everything consistent: rows go together with marks for their files,
// and only a committed mark lets media remove a file. So a run may die at any point, and the next
// start finishes it.
package retention

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/jmoiron/sqlx"

	"hsi.home.arpa/store"
	"hsi.home.arpa/store/media"
)

// ErrRunning says that another cleanup is at work, here or in another process on the same database.
var ErrRunning = errors.New("a cleanup is already running")

// ErrOutOfTime says that a run or a preview reached its deadline. What a run deleted stays deleted;
// the next one goes on.
var ErrOutOfTime = errors.New("out of time")

// ErrMediaUnavailable says that a media folder is missing, unreadable or the wrong one. Nothing is
// deleted then, rows included.
var ErrMediaUnavailable = media.ErrUnavailable

// cleanupLock is the advisory lock of the one cleanup that may run ("hsi-cln" in ASCII).
const cleanupLock = 0x6873692d636c6e

// Options of a Service. DB, Media and RetentionDays are required.
type Options struct {
	DB    *store.DB
	Media *media.Store
	// RetentionDays returns the value that is in force, read from the database and not from a copy:
	// a run on a stale value would delete what the owner has just decided to keep.
	RetentionDays func(ctx context.Context) (int, error)
	// DeleteImages also deletes the cameras' original images of expired detections.
	DeleteImages bool
	Log          *slog.Logger
	// Now is the clock. Defaults to time.Now.
	Now func() time.Time
	// Deadline ends a run; what is left is for the next. Defaults to 15 min.
	Deadline time.Duration
	// Interval is the time from one successful run to the next. Defaults to 24 h.
	Interval time.Duration
	// BatchSize is about how many rows one transaction deletes. Defaults to 1,000.
	BatchSize int
}

// Service runs cleanups. Create it with New; its methods may be called from several goroutines.
type Service struct {
	options Options
	db      *store.DB
	media   *media.Store
	log     *slog.Logger
	now     func() time.Time
	running atomic.Bool
	// previewing has room for the one dry run that may count.
	previewing chan struct{}

	// step is called between any two things that a crash could separate. Tests set it.
	step func(ctx context.Context, name string)
}

// Report is what a run deleted, or what a dry run found that a real one would delete.
type Report struct {
	EventsDeleted       int64
	DetectionsDeleted   int64
	GPUStatsDeleted     int64
	LogsDeleted         int64
	ThumbnailsDeleted   int64 // files
	ImagesDeleted       int64 // files
	SpaceReclaimedBytes int64 // size of all files that were really removed
	RetentionDays       int
	DryRun              bool
	// At is when the run began: what is older than RetentionDays at that moment is due.
	At time.Time
	// SetAside counts rows that the database refused to delete. They are in the log and are tried
	// again by the next run.
	SetAside int64
	// FilesFailed counts files that could not be removed. They stay marked and are tried again.
	FilesFailed int64
}

// New checks the options. It touches nothing.
func New(options Options) (*Service, error) {
	switch {
	case options.DB == nil:
		return nil, errors.New("retention: a database is required")
	case options.Media == nil:
		return nil, errors.New("retention: a media store is required")
	case options.RetentionDays == nil:
		return nil, errors.New("retention: a source for the retention period is required")
	}
	if options.Log == nil {
		options.Log = slog.New(slog.DiscardHandler)
	}
	if options.Now == nil {
		options.Now = time.Now
	}
	if options.Deadline == 0 {
		options.Deadline = 15 * time.Minute
	}
	if options.Interval == 0 {
		options.Interval = 24 * time.Hour
	}
	if options.BatchSize == 0 {
		options.BatchSize = 1000
	}
	return &Service{
		options: options,
		db:      options.DB,
		media:   options.Media,
		log:     options.Log,
		now:     options.Now,
		step:    func(context.Context, string) {},

		previewing: make(chan struct{}, 1),
	}, nil
}

// Cleanup deletes everything that is due, or with dryRun only counts it. It has its own deadline.
// It ends early when ctx ends, so a caller that answers a request must pass a context that outlives
// the client but not the server; what was committed until then stays deleted and is in the report
// that comes with the error.
//
// Errors: ErrRunning when another cleanup is at work (a dry run never minds; dry runs wait for each
// other), ErrOutOfTime, ErrMediaUnavailable, store.ErrUnavailable.
func (s *Service) Cleanup(ctx context.Context, dryRun bool) (Report, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, s.options.Deadline, ErrOutOfTime)
	defer cancel()
	if dryRun {
		// Each holds a snapshot and a connection for as long as it counts: many at once would take
		// the pool from everybody else.
		select {
		case s.previewing <- struct{}{}:
			defer func() { <-s.previewing }()
		case <-ctx.Done():
			return Report{DryRun: true, At: s.now().UTC()}, s.ended(ctx, ctx.Err())
		}
	}
	report, err := s.cleanup(ctx, dryRun)
	if !dryRun && !errors.Is(err, ErrRunning) && s.db.Ready() == nil {
		err = errors.Join(err, s.record(ctx, report, err))
	}
	return report, s.ended(ctx, err)
}

// ended names the error of a run or preview.
func (s *Service) ended(ctx context.Context, err error) error {
	if err != nil && errors.Is(context.Cause(ctx), ErrOutOfTime) {
		return fmt.Errorf("cleanup: %w after %s: %w (%v)", ErrOutOfTime, s.options.Deadline, context.DeadlineExceeded, err) //nolint:errorlint // what was slow is no kind of its own
	}
	return store.Classify(ctx, "cleanup", err)
}

func (s *Service) cleanup(ctx context.Context, dryRun bool) (Report, error) {
	if err := s.db.Ready(); err != nil {
		return Report{}, err
	}
	p, err := s.newPlan(ctx)
	if err != nil {
		return Report{DryRun: dryRun, At: s.now().UTC()}, err
	}
	report := Report{RetentionDays: p.days, DryRun: dryRun, At: p.at}
	if err := s.media.Available(ctx, p.deleteImages); err != nil {
		return report, err
	}
	if dryRun {
		err := s.preview(ctx, p, &report)
		return report, err
	}
	err = s.locked(ctx, func(conn *sqlx.Conn) error { return s.run(ctx, conn, p, &report) })
	return report, err
}

// newPlan fixes what is due in this run.
func (s *Service) newPlan(ctx context.Context) (plan, error) {
	days, err := s.options.RetentionDays(ctx)
	if err != nil {
		return plan{}, fmt.Errorf("read the retention period: %w", err)
	}
	if days < 1 {
		return plan{}, fmt.Errorf("a retention period of %d days is not possible", days)
	}
	// The database keeps microseconds; a finer cut-off would be rounded there and not here.
	at := s.now().UTC().Truncate(time.Microsecond)
	return plan{
		at:           at,
		cutoff:       at.Add(-time.Duration(days) * 24 * time.Hour),
		days:         days,
		deleteImages: s.options.DeleteImages,
	}, nil
}

// locked runs fn while no other cleanup can. The lock and all of the run's statements are on the
// same connection: when it breaks, the lock and the work end together.
func (s *Service) locked(ctx context.Context, fn func(conn *sqlx.Conn) error) (err error) {
	conn, err := s.db.SQL().Connx(ctx)
	if err != nil {
		return err
	}
	defer func() {
		if closeErr := conn.Close(); err == nil && closeErr != nil {
			err = closeErr
		}
	}()
	var got bool
	if err := conn.GetContext(ctx, &got, `SELECT pg_try_advisory_lock($1)`, int64(cleanupLock)); err != nil {
		return fmt.Errorf("take the cleanup lock: %w", err)
	}
	if !got {
		return ErrRunning
	}
	defer func() {
		// A connection whose context has ended is closed, and the lock with it; else it goes back
		// to the pool without it.
		if _, unlockErr := conn.ExecContext(ctx, `SELECT pg_advisory_unlock($1)`, int64(cleanupLock)); unlockErr != nil {
			discard(conn)
		}
	}()
	return fn(conn)
}
