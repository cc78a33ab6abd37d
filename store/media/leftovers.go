package media

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"time"

	"github.com/jmoiron/sqlx"

	"hsi.home.arpa/store"
)

// Times of the background work on what crashes left behind.
const (
	sweepPause  = time.Minute
	orphanPause = 6 * time.Hour
)

// orphansPerSecond bounds the files that are looked up in the database.
const orphansPerSecond = 20_000

// orphanWait is how long a file that no row named stays after it was marked: a transaction that was
// just about to name it has committed by then, and the sweep sees its row.
const orphanWait = 2 * time.Minute

// cleanLeftovers removes marked files that a crash or a failure left, and marks files that no row
// names.
func (s *Store) cleanLeftovers(ctx context.Context) error {
	var orphansAt time.Time
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.options.DB.Migrated():
		}
		if err := s.sweepQuietly(ctx); err != nil && !s.expected(ctx, err) {
			s.log.WarnContext(ctx, "removing marked media files failed", "error", err)
		}
		if !s.now().Before(orphansAt) {
			if _, err := s.MarkOrphans(ctx); err == nil {
				orphansAt = s.now().Add(orphanPause)
			} else if !s.expected(ctx, err) {
				s.log.WarnContext(ctx, "looking for media files without a row failed", "error", err)
			}
		}
		if !sleep(ctx, sweepPause) {
			return nil
		}
	}
}

// expected tells whether an error needs no log line here: the stop of the server, or a state that
// health shows.
func (s *Store) expected(ctx context.Context, err error) bool {
	return ctx.Err() != nil || errors.Is(err, ErrUnavailable) || errors.Is(err, store.ErrUnavailable)
}

// sweepQuietly removes due files page by page and lets a cleanup go first: it takes the right to
// sweep only when nobody has it, and gives it back after each page.
func (s *Store) sweepQuietly(ctx context.Context) error {
	var after int64
	for {
		last, err := s.sweepOnePage(ctx, after)
		if err != nil || last == 0 {
			return err
		}
		after = last
	}
}

func (s *Store) sweepOnePage(ctx context.Context, after int64) (last int64, err error) {
	sweeper, err := s.sweeper(ctx, `SELECT pg_try_advisory_lock($1)`)
	if err != nil || sweeper == nil {
		return 0, store.Classify(ctx, "take the media sweep", err)
	}
	defer func() {
		if closeErr := sweeper.Close(context.WithoutCancel(ctx)); err == nil {
			err = closeErr
		}
	}()
	removed, last, err := sweeper.page(ctx, after)
	if files := removed.Thumbnails + removed.Clips + removed.Images; files > 0 {
		s.log.InfoContext(ctx, "removed media files that were left over", "files", files, "bytes", removed.Bytes)
	}
	return last, store.Classify(ctx, "sweep media files", err)
}

// Orphans are files of ours that no row names.
type Orphans struct {
	Marked    int64 // files marked for deletion
	Temporary int64 // temporary files removed
	// Examples names the first few.
	Examples []string
}

// maxExamples is how many orphans are named.
const maxExamples = 5

func (o *Orphans) add(kind Kind, marked, temporary []string) {
	o.Marked += int64(len(marked))
	o.Temporary += int64(len(temporary))
	for _, rel := range slices.Concat(marked, temporary) {
		if len(o.Examples) < maxExamples {
			o.Examples = append(o.Examples, string(kind)+" "+rel)
		}
	}
}

// MarkOrphans marks the files in both folders that are older than Options.OrphanAge and that no row
// names, and removes temporary files of that age. Files that we did not write are never touched.
func (s *Store) MarkOrphans(ctx context.Context) (Orphans, error) {
	found, err := s.orphans(ctx, true)
	if found.Marked+found.Temporary > 0 {
		s.log.InfoContext(ctx, "found media files that no row names",
			"marked", found.Marked, "temporary", found.Temporary, "examples", found.Examples)
	}
	return found, err
}

// FindOrphans tells what MarkOrphans would do.
func (s *Store) FindOrphans(ctx context.Context) (Orphans, error) { return s.orphans(ctx, false) }

func (s *Store) orphans(ctx context.Context, remove bool) (Orphans, error) {
	var total Orphans
	for _, r := range s.markedRoots() {
		if err := s.orphansIn(ctx, r, remove, &total); err != nil {
			return total, err
		}
	}
	return total, nil
}

func (s *Store) orphansIn(ctx context.Context, r *root, remove bool, found *Orphans) (err error) {
	dir, err := s.openFolder(ctx, r.kind)
	if err != nil {
		return err
	}
	defer closeRoot(dir, &err)
	return s.strangers(ctx, r, dir, func(final, temporary []string) error {
		unnamed, err := s.unnamed(ctx, r, final, remove)
		if err != nil {
			return err
		}
		if remove {
			temporary = slices.DeleteFunc(temporary, func(rel string) bool {
				// No row can name a temporary file, so it needs no mark.
				err := dir.Remove(rel)
				if err != nil && !errors.Is(err, fs.ErrNotExist) {
					s.log.WarnContext(ctx, "temporary media file not removed", "kind", r.kind, "path", rel, "error", err)
				}
				return err != nil
			})
		}
		found.add(r.kind, unnamed, temporary)
		return nil
	})
}

// strangers gives use those files of ours that are old enough to have a row, in chunks, and old
// temporary files.
func (s *Store) strangers(ctx context.Context, r *root, dir *os.Root, use func(final, temporary []string) error) error {
	oldest := s.now().Add(-s.options.OrphanAge)
	rate := pacer{perSecond: orphansPerSecond}
	pace := rate.wait(ctx)
	var final, temporary []string
	flush := func() error {
		err := use(final, temporary)
		final, temporary = final[:0], temporary[:0]
		return err
	}
	for shard := range s.tallies[r.kind].shards {
		if shard == restShard {
			continue
		}
		if info, err := dir.Lstat(shard); err != nil || !info.IsDir() {
			continue // not made yet, or not ours
		}
		w := walker{
			dir:   dir,
			pace:  pace,
			enter: func(string, fs.FileInfo) bool { return false },
			visit: func(rel string, info fs.FileInfo) error {
				isFinal, isTemporary := ours(rel)
				if info.ModTime().After(oldest) || !isFinal && !isTemporary {
					return nil
				}
				if isTemporary {
					temporary = append(temporary, rel)
				} else {
					final = append(final, rel)
				}
				if len(final)+len(temporary) >= sweepPage {
					return flush()
				}
				return nil
			},
		}
		if err := w.walk(ctx, shard); err != nil {
			return fmt.Errorf("look through %s: %w", shard, err)
		}
	}
	return flush()
}

// unnamed returns those of the files that neither a row nor a mark names, and marks them when told
// to.
func (s *Store) unnamed(ctx context.Context, r *root, files []string, mark bool) (unnamed []string, err error) {
	if len(files) == 0 {
		return nil, nil
	}
	err = s.options.DB.InTx(ctx, "look for media files without a row", func(ctx context.Context, tx *sqlx.Tx) error {
		unnamed = nil
		rows, err := r.named(ctx, tx, namesQuery(r.kind), files)
		if err != nil {
			return err
		}
		marked, err := r.named(ctx, tx, marksQuery, files)
		if err != nil {
			return err
		}
		var marks []Mark
		for _, path := range files {
			if !rows[path] && !marked[path] {
				unnamed = append(unnamed, path)
				marks = append(marks, Mark{Kind: r.kind, Path: path, Wait: orphanWait})
			}
		}
		if !mark {
			return nil
		}
		return s.Mark(ctx, tx, marks)
	})
	return unnamed, err
}
