package media

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"

	"hsi.home.arpa/store"
)

// sweepLock is the advisory lock of whoever removes marked files ("hsi-swp" in ASCII).
const sweepLock = 0x6873692d737770

// sweepPage is how many marks are worked on at once.
const sweepPage = 1000

// Mark names a file to be removed.
type Mark struct {
	Kind Kind
	// Path is the path as the row named it.
	Path string
	// ImageID is the ledger row of an image, 0 for other kinds. The file is removed only while it
	// is still the one the row describes, and the row goes with it.
	ImageID int64
	// Wait is how long the file must stay at least.
	Wait time.Duration
}

// Mark records in the caller's transaction that files are to be removed. Nothing happens to them
// before that transaction has been committed and a sweep comes by. A file that a row still names by
// then stays.
func (s *Store) Mark(ctx context.Context, tx *sqlx.Tx, marks []Mark) error {
	if len(marks) == 0 {
		return nil
	}
	kinds := make([]string, len(marks))
	paths := make([]string, len(marks))
	images := make([]sql.NullInt64, len(marks))
	waits := make([]float64, len(marks))
	for i, mark := range marks {
		kinds[i] = string(mark.Kind)
		paths[i] = mark.Path
		images[i] = sql.NullInt64{Int64: mark.ImageID, Valid: mark.ImageID != 0}
		waits[i] = mark.Wait.Seconds()
	}
	_, err := tx.ExecContext(ctx, `
		INSERT INTO media_deletions (kind, path, image_id, marked_at, not_before)
		SELECT m.kind, m.path, m.image_id, $5::timestamptz, CASE WHEN m.wait > 0 THEN $5::timestamptz + make_interval(secs => m.wait) END
		FROM unnest($1::text[], $2::text[], $3::bigint[], $4::float8[]) AS m (kind, path, image_id, wait)`,
		pq.Array(kinds), pq.Array(paths), pq.Array(images), pq.Array(waits), s.now())
	if err != nil {
		return fmt.Errorf("mark files: %w", err)
	}
	return nil
}

// Removed is what a sweep took off the disk.
type Removed struct {
	Thumbnails, Clips, Images int64
	// Bytes is the sum of the sizes of these files.
	Bytes int64
	// Failed counts files that could not be removed. They stay marked and are tried again later.
	Failed int64
}

// Add adds another sweep.
func (r *Removed) Add(other Removed) {
	r.Thumbnails += other.Thumbnails
	r.Clips += other.Clips
	r.Images += other.Images
	r.Bytes += other.Bytes
	r.Failed += other.Failed
}

// Sweeper has the sole right to remove marked files, in all processes that share the database.
// Close it.
type Sweeper struct {
	store  *Store
	conn   *sqlx.Conn
	failed int // files that could not be removed so far
}

// maxWarnings is how many files that cannot be removed one sweep names in the log.
const maxWarnings = 20

// Sweeper waits for the right to remove marked files and returns it. The background gives it up
// after each page of files, so the wait is short.
func (s *Store) Sweeper(ctx context.Context) (*Sweeper, error) {
	sweeper, err := s.sweeper(ctx, `SELECT pg_advisory_lock($1) IS NOT NULL`)
	return sweeper, store.Classify(ctx, "wait for the media sweep", err)
}

func (s *Store) sweeper(ctx context.Context, takeLock string) (*Sweeper, error) {
	if err := s.options.DB.Ready(); err != nil {
		return nil, err
	}
	conn, err := s.sql.Connx(ctx)
	if err != nil {
		return nil, err
	}
	var got bool
	if err := conn.GetContext(ctx, &got, takeLock, int64(sweepLock)); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	if !got {
		return nil, conn.Close()
	}
	return &Sweeper{store: s, conn: conn}, nil
}

// Close gives the right back.
func (w *Sweeper) Close(ctx context.Context) error {
	_, err := w.conn.ExecContext(ctx, `SELECT pg_advisory_unlock($1)`, int64(sweepLock))
	if err != nil {
		// A session that may still hold the lock must not go back to the pool.
		_ = w.conn.Raw(func(any) error { return driver.ErrBadConn })
	}
	return errors.Join(err, w.conn.Close())
}

// Sweep removes all marked files that are due, and their marks. A file that is already gone counts
// as done. What cannot be removed is set aside and does not stop the rest. The error wraps
// ErrUnavailable when a media folder is missing; what was removed until then is in the result.
func (w *Sweeper) Sweep(ctx context.Context) (Removed, error) {
	var (
		total       Removed
		after       int64
		unavailable error
	)
	for {
		removed, last, err := w.page(ctx, after)
		total.Add(removed)
		if err != nil {
			if !errors.Is(err, ErrUnavailable) {
				return total, store.Classify(ctx, "sweep media files", err)
			}
			unavailable = err
		}
		if last == 0 {
			if w.failed > maxWarnings {
				w.store.log.WarnContext(ctx, "more media files not removed, will try again", "count", w.failed-maxWarnings)
			}
			return total, unavailable
		}
		after = last
	}
}

// Sweep takes the right to remove files, sweeps once, and gives the right back.
func (s *Store) Sweep(ctx context.Context) (removed Removed, err error) {
	sweeper, err := s.Sweeper(ctx)
	if err != nil {
		return Removed{}, err
	}
	defer func() {
		// The lock is given back also when ctx has ended; the time is bounded by the session.
		if closeErr := sweeper.Close(context.WithoutCancel(ctx)); err == nil {
			err = closeErr
		}
	}()
	return sweeper.Sweep(ctx)
}

// mark is a row of media_deletions with what the ledger knows of its image.
type mark struct {
	ID        int64         `db:"id"`
	Kind      Kind          `db:"kind"`
	Path      string        `db:"path"`
	ImageID   sql.NullInt64 `db:"image_id"`
	SizeBytes sql.NullInt64 `db:"size_bytes"`
	ModTime   sql.NullTime  `db:"mtime"`
	Expired   bool          `db:"expired"`
	named     bool          // a row still names the file
}

// dueMarks selects marks after an id.
const dueMarks = `
	SELECT d.id, d.kind, d.path, d.image_id, i.size_bytes, i.mtime, coalesce(i.state = 'expired', false) AS expired
	FROM media_deletions AS d LEFT JOIN images AS i ON i.id = d.image_id
	WHERE d.id > $1 AND (d.not_before IS NULL OR d.not_before <= $2)
	ORDER BY d.id
	LIMIT $3`

// Prefix begins the absolute spelling of the paths of a kind.
func (s *Store) Prefix(kind Kind) string { return s.root(kind).prefix() }

// page works on the next marks after an id and returns the last id it saw, 0 when there are none
// left.
func (w *Sweeper) page(ctx context.Context, after int64) (removed Removed, last int64, err error) {
	s := w.store
	var marks []mark
	err = w.inTx(ctx, func(tx *sqlx.Tx) error {
		if err := tx.SelectContext(ctx, &marks, dueMarks, after, s.now(), sweepPage); err != nil {
			return fmt.Errorf("read marks: %w", err)
		}
		for _, r := range s.markedRoots() {
			if err := markNamed(ctx, tx, r, marks); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil || len(marks) == 0 {
		return Removed{}, 0, err
	}
	done, removed, unlinkErr := w.unlink(ctx, marks)
	if err := w.settle(ctx, done); err != nil {
		return removed, 0, err
	}
	return removed, marks[len(marks)-1].ID, unlinkErr
}

// outcome is how one mark ended. A nil failure means that its file is gone or is not ours to
// remove.
type outcome struct {
	mark    *mark
	failure error
	forget  bool // the ledger row goes too
}

// unlink removes the files of a page. Marks of a folder that is not available are left as they are,
// and the error says so.
func (w *Sweeper) unlink(ctx context.Context, marks []mark) (done []outcome, removed Removed, err error) {
	dirs := openKinds{store: w.store}
	defer dirs.close()
	var unavailable error
	for i := range marks {
		result, one, err := w.store.removeMarked(ctx, &dirs, &marks[i])
		switch {
		case errors.Is(err, ErrUnavailable):
			unavailable = err
		case err != nil:
			return done, removed, err
		default:
			removed.Add(one)
			done = append(done, result)
		}
	}
	return done, removed, unavailable
}

// removeMarked removes one file. The error is for what concerns more than this file; the rest is in
// the outcome.
func (s *Store) removeMarked(ctx context.Context, dirs *openKinds, m *mark) (outcome, Removed, error) {
	if err := ctx.Err(); err != nil {
		return outcome{}, Removed{}, err
	}
	target, err := s.judge(ctx, dirs, m)
	switch {
	case err != nil:
		return outcome{}, Removed{}, err
	case target.failure != nil:
		return outcome{mark: m, failure: target.failure}, Removed{Failed: 1}, nil //nolint:nilerr // kept with the mark
	case !target.remove:
		return outcome{mark: m, forget: target.forget}, Removed{}, nil
	}
	gone := false
	unlink := func() error {
		err := target.in.remove(target.found)
		gone = errors.Is(err, fs.ErrNotExist) // somebody was faster: it is not ours to count
		return err
	}
	if t := s.tallies[m.Kind]; t != nil {
		err = t.change(ctx, t.shardOf(target.rel), unlink, -1, -target.found.sizeBytes)
	} else {
		err = unlink()
	}
	switch {
	case gone:
		return outcome{mark: m, forget: target.forget}, Removed{}, nil
	case err != nil && ctx.Err() != nil:
		return outcome{}, Removed{}, err
	case err != nil:
		return outcome{mark: m, failure: err}, Removed{Failed: 1}, nil //nolint:nilerr // kept with the mark
	}
	return outcome{mark: m, forget: target.forget}, one(m.Kind, target.found.sizeBytes), nil
}

// one is a single removed file.
func one(kind Kind, size int64) Removed {
	removed := Removed{Bytes: size}
	switch kind {
	case Thumbnail:
		removed.Thumbnails = 1
	case Clip:
		removed.Clips = 1
	case Image:
		removed.Images = 1
	}
	return removed
}

// settle removes the marks that are done, with the ledger rows of removed images, and notes what
// failed.
func (w *Sweeper) settle(ctx context.Context, done []outcome) error {
	if len(done) == 0 {
		return nil
	}
	var finished, forgotten, failed []int64
	var reasons []string
	for _, o := range done {
		if o.failure != nil {
			failed = append(failed, o.mark.ID)
			reasons = append(reasons, rootReason(o.failure))
			if w.failed++; w.failed <= maxWarnings {
				w.store.log.WarnContext(ctx, "media file not removed, will try again",
					"kind", o.mark.Kind, "path", o.mark.Path, "error", o.failure)
			}
			continue
		}
		finished = append(finished, o.mark.ID)
		if o.forget && o.mark.ImageID.Valid {
			forgotten = append(forgotten, o.mark.ImageID.Int64)
		}
	}
	return w.inTx(ctx, func(tx *sqlx.Tx) error {
		if _, err := tx.ExecContext(ctx, `DELETE FROM media_deletions WHERE id = ANY ($1)`, pq.Array(finished)); err != nil {
			return fmt.Errorf("remove marks: %w", err)
		}
		if len(forgotten) > 0 {
			_, err := tx.ExecContext(ctx, `DELETE FROM images WHERE id = ANY ($1) AND state = 'expired'`, pq.Array(forgotten))
			if err != nil {
				return fmt.Errorf("remove ledger rows: %w", err)
			}
		}
		if len(failed) > 0 {
			// The wait doubles from a minute to about a day.
			_, err := tx.ExecContext(ctx, `
				UPDATE media_deletions AS d SET attempts = d.attempts + 1, last_error = f.reason,
					not_before = $3::timestamptz + make_interval(mins => (2 ^ least(d.attempts, 10))::integer)
				FROM unnest($1::bigint[], $2::text[]) AS f (id, reason) WHERE d.id = f.id`,
				pq.Array(failed), pq.Array(reasons), w.store.now())
			if err != nil {
				return fmt.Errorf("note failures: %w", err)
			}
		}
		return nil
	})
}

// inTx runs fn in one transaction. Its statements go through an index: what the planner believes
// about the size of a table is old in the middle of a large deletion, and reading a whole table for
// each page would make the sweep quadratic.
func (w *Sweeper) inTx(ctx context.Context, fn func(tx *sqlx.Tx) error) error {
	tx, err := w.conn.BeginTxx(ctx, nil)
	if err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	defer func() { _ = tx.Rollback() }() // without effect after the commit
	if _, err := tx.ExecContext(ctx, `SET LOCAL enable_seqscan = off`); err != nil {
		return fmt.Errorf("prepare the transaction: %w", err)
	}
	if err := fn(tx); err != nil {
		return err
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	return nil
}
