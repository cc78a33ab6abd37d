package retention

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"

	"hsi.home.arpa/store/media"
)

// timedBatchFactor is how much larger transactions may be for tables whose rows hang on nothing.
const timedBatchFactor = 5

// lockWait is how long a statement waits for somebody else's row lock.
const lockWait = 2 * time.Second

// maxSetAside is how many rows of one table may be refused before something must be wrong with the
// table itself.
const maxSetAside = 1000

// run is one real cleanup under way.
type run struct {
	service *Service
	plan    plan
	conn    *sqlx.Conn
	sweeper *media.Sweeper
	report  *Report
	batches int              // transactions since the last sweep
	sweeps  chan sweepResult // of the sweep that is under way; nil when there is none
}

// run deletes everything that is due. It goes on with the other tables when one fails, unless
// nothing can work any more.
func (s *Service) run(ctx context.Context, conn *sqlx.Conn, p plan, report *Report) (err error) {
	sweeper, err := s.media.Sweeper(ctx)
	if err != nil {
		return err
	}
	defer func() {
		if closeErr := sweeper.Close(ctx); closeErr != nil && err == nil {
			err = closeErr
		}
	}()
	r := &run{service: s, plan: p, conn: conn, sweeper: sweeper, report: report}
	defer func() {
		if sweepErr := r.awaitSweep(ctx); sweepErr != nil && err == nil {
			err = sweepErr
		}
	}()
	s.step(ctx, "begin")
	var failures []error
	for _, part := range []func(context.Context) error{
		r.events,
		r.strays,
		r.originals,
		r.sweep,
		func(ctx context.Context) error { return r.timed(ctx, gpuSamples, &report.GPUStatsDeleted) },
		func(ctx context.Context) error { return r.timed(ctx, logLines, &report.LogsDeleted) },
	} {
		err := part(ctx)
		switch {
		case err == nil:
		case !refused(err):
			return errors.Join(append(failures, err)...)
		default:
			failures = append(failures, err)
		}
	}
	s.step(ctx, "end")
	return errors.Join(failures...)
}

// position is where a page ended: rows are taken in the order of a time and the id.
type position struct {
	At time.Time `db:"at"`
	ID int64     `db:"id"`
}

// start lies before every row.
var start = position{At: time.Date(-4712, 1, 1, 0, 0, 0, 0, time.UTC)} //nolint:gochecknoglobals // a constant

// eventSize is a due event and how many rows go with it.
type eventSize struct {
	position
	Detections int `db:"detections"`
}

// events deletes due events with their detections, marks the files of both, and lets the ledger
// forget their images.
func (r *run) events(ctx context.Context) error {
	after := start
	for {
		var page []eventSize
		err := r.conn.SelectContext(ctx, &page, `
			SELECT coalesce(e.ended_at, e.started_at) AS at, e.id, (SELECT count(*) FROM detections AS d WHERE d.event_id = e.id) AS detections
			FROM events AS e
			WHERE `+eventDue+` AND (coalesce(e.ended_at, e.started_at), e.id) > ($2, $3)
			ORDER BY coalesce(e.ended_at, e.started_at), e.id LIMIT $4`,
			r.plan.cutoff, after.At, after.ID, r.service.options.BatchSize)
		if err != nil {
			return fmt.Errorf("find due events: %w", err)
		}
		if len(page) == 0 {
			return nil
		}
		for len(page) > 0 {
			ids, rest := r.fill(page)
			first := page[0]
			after, page = page[len(page)-len(rest)-1].position, rest
			if first.Detections > r.service.options.BatchSize { // fill took it alone
				if err := r.shrink(ctx, first.ID); err != nil {
					return err
				}
			}
			if err := r.batch(ctx, "events", ids, r.deleteEvents); err != nil {
				return err
			}
		}
	}
}

// shrink deletes the detections of an event that has more of them than one transaction should
// delete. When the database refuses, the event is left to the caller, which sets it aside.
func (r *run) shrink(ctx context.Context, event int64) error {
	for {
		var rows int64
		err := r.inTx(ctx, func(tx *sqlx.Tx, done *Report) error {
			err := r.deletePart(ctx, tx, event, done)
			rows = done.DetectionsDeleted
			return err
		})
		switch {
		case err != nil && refused(err) && ctx.Err() == nil:
			return nil
		case err != nil:
			return err
		}
		if err := r.maybeSweep(ctx); err != nil {
			return err
		}
		if rows < int64(r.service.options.BatchSize) {
			return nil
		}
		if err := r.service.media.Available(ctx, r.plan.deleteImages); err != nil {
			return err
		}
	}
}

// fill takes so many events that one transaction deletes about BatchSize rows, at least one event.
func (r *run) fill(page []eventSize) (ids []int64, rest []eventSize) {
	rows := 0
	for i, event := range page {
		rows += 1 + event.Detections
		if i > 0 && rows > r.service.options.BatchSize {
			return ids, page[i:]
		}
		ids = append(ids, event.ID)
	}
	return ids, nil
}

// strays deletes due detections that belong to no event, marks their thumbnails, and lets the
// ledger forget their images.
func (r *run) strays(ctx context.Context) error {
	return r.pages(ctx, `
		SELECT d.detected_at AS at, d.id FROM detections AS d
		WHERE `+strayDue+` AND (d.detected_at, d.id) > ($2, $3)
		ORDER BY d.detected_at, d.id LIMIT $4`, "detections", r.service.options.BatchSize, r.deleteStrays)
}

// timed deletes the due rows of a table whose rows hang on nothing.
func (r *run) timed(ctx context.Context, table timedTable, deleted *int64) error {
	return r.pages(ctx, `
		SELECT `+table.column+` AS at, id FROM `+table.name+`
		WHERE `+table.due()+` AND (`+table.column+`, id) > ($2, $3)
		ORDER BY `+table.column+`, id LIMIT $4`, table.name, timedBatchFactor*r.service.options.BatchSize,
		func(ctx context.Context, tx *sqlx.Tx, ids []int64, done *Report) error {
			result, err := tx.ExecContext(ctx, `DELETE FROM `+table.name+` AS t USING `+chosen+` WHERE t.id = chosen.id AND t.`+table.due(),
				r.plan.cutoff, pq.Array(ids))
			if err != nil {
				return fmt.Errorf("delete from %s: %w", table.name, err)
			}
			rows, err := result.RowsAffected()
			if deleted == &r.report.GPUStatsDeleted {
				done.GPUStatsDeleted = rows
			} else {
				done.LogsDeleted = rows
			}
			return err
		})
}

// pages goes through the rows that a query finds and deletes them page by page.
func (r *run) pages(ctx context.Context, query, table string, size int, remove remover) error {
	after := start
	for {
		var page []position
		if err := r.conn.SelectContext(ctx, &page, query, r.plan.cutoff, after.At, after.ID, size); err != nil {
			return fmt.Errorf("find what is due in %s: %w", table, err)
		}
		if len(page) == 0 {
			return nil
		}
		ids := make([]int64, len(page))
		for i := range page {
			ids[i] = page[i].ID
		}
		after = page[len(page)-1]
		if err := r.batch(ctx, table, ids, remove); err != nil {
			return err
		}
	}
}

// originals marks the image files of expired images, when the owner wants them deleted.
func (r *run) originals(ctx context.Context) error {
	if !r.plan.deleteImages {
		return nil
	}
	var after int64
	for {
		var last *int64
		err := r.inTx(ctx, func(tx *sqlx.Tx, _ *Report) error {
			return tx.GetContext(ctx, &last, `
				WITH page AS (
					SELECT i.id, i.file_path FROM images AS i
					WHERE i.state = 'expired' AND i.id > $1
						AND NOT EXISTS (SELECT FROM media_deletions AS m WHERE m.path = i.file_path AND m.image_id = i.id)
					ORDER BY i.id LIMIT $2
				), marked AS (
					INSERT INTO media_deletions (kind, path, image_id, marked_at) SELECT 'image', file_path, id, $3 FROM page
				)
				SELECT max(id) FROM page`, after, r.service.options.BatchSize, r.plan.at)
		})
		if err != nil {
			return fmt.Errorf("mark original images: %w", err)
		}
		if last == nil {
			return nil
		}
		after = *last
		if err := r.maybeSweep(ctx); err != nil {
			return err
		}
	}
}

// remover deletes rows by id in a transaction and adds to done what it deleted.
type remover func(ctx context.Context, tx *sqlx.Tx, ids []int64, done *Report) error

// batch deletes some rows in one transaction. When the database refuses, it tries halves, until the
// row that is to blame stands alone: that one is set aside and the rest proceeds.
func (r *run) batch(ctx context.Context, table string, ids []int64, remove remover) error {
	if err := r.service.media.Available(ctx, r.plan.deleteImages); err != nil {
		return err
	}
	aside := 0
	if err := r.halve(ctx, table, ids, remove, &aside); err != nil {
		return err
	}
	return r.maybeSweep(ctx)
}

func (r *run) halve(ctx context.Context, table string, ids []int64, remove remover, aside *int) error {
	err := r.inTx(ctx, func(tx *sqlx.Tx, done *Report) error { return remove(ctx, tx, ids, done) })
	switch {
	case err == nil:
		return nil
	case !refused(err) || ctx.Err() != nil:
		return err
	case len(ids) > 1:
		middle := len(ids) / 2
		if err := r.halve(ctx, table, ids[:middle], remove, aside); err != nil {
			return err
		}
		return r.halve(ctx, table, ids[middle:], remove, aside)
	}
	*aside++
	r.report.SetAside++
	r.service.log.WarnContext(ctx, "row cannot be deleted and is set aside", "table", table, "id", ids[0], "error", err)
	if *aside > maxSetAside {
		return fmt.Errorf("more than %d rows of %s cannot be deleted, the last: %w", maxSetAside, table, err)
	}
	return nil
}

// batchSettings holds for each transaction. A row lock of somebody else is not waited for long: the
// row is set aside. And each statement goes through an index: what the planner believes about the
// size of a table is old in the middle of a large deletion, and reading a whole table for each
// batch would make the run quadratic.
var batchSettings = fmt.Sprintf(`SET LOCAL lock_timeout = %d; SET LOCAL enable_seqscan = off`, lockWait.Milliseconds())

// inTx runs fn in one transaction on the connection that holds the lock. Only what was committed is
// counted.
func (r *run) inTx(ctx context.Context, fn func(tx *sqlx.Tx, done *Report) error) error {
	r.service.step(ctx, "before transaction")
	tx, err := r.conn.BeginTxx(ctx, nil)
	if err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	defer func() { _ = tx.Rollback() }() // without effect after the commit
	if _, err := tx.ExecContext(ctx, batchSettings); err != nil {
		return fmt.Errorf("prepare the transaction: %w", err)
	}
	var done Report
	if err := fn(tx, &done); err != nil {
		return err
	}
	r.service.step(ctx, "before commit")
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	r.report.EventsDeleted += done.EventsDeleted
	r.report.DetectionsDeleted += done.DetectionsDeleted
	r.report.GPUStatsDeleted += done.GPUStatsDeleted
	r.report.LogsDeleted += done.LogsDeleted
	r.service.step(ctx, "after commit")
	return nil
}

// refused tells whether the database refused rows, in contrast to not being able to work at all:
// gone, stopping, read-only, full.
func refused(err error) bool {
	pgErr, ok := errors.AsType[*pq.Error](err)
	if !ok {
		return false
	}
	switch pgErr.Code.Class() {
	case "08", "25", "28", "3D", "53", "57", "58", "42":
		return false
	}
	return true
}

// discard closes a connection that must not go back to the pool.
func discard(conn *sqlx.Conn) {
	_ = conn.Raw(func(any) error { return driver.ErrBadConn })
}
