package store

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
)

// DeadLetter is an image that was given up, by itself or with its whole batch.
type DeadLetter struct {
	ImageID        int64      `db:"id"`
	CameraID       string     `db:"camera_id"`
	CameraFolder   string     `db:"folder_path"`
	FilePath       string     `db:"file_path"`
	Cause          string     `db:"reason"`
	Attempts       int        `db:"attempts"` // of the step that failed: the detector's, or the analyzer's for a batch
	BatchID        *int64     `db:"batch_id"` // set when the analysis of its batch was given up
	FirstFailedAt  *time.Time `db:"first_failed_at"`
	LastFailedAt   *time.Time `db:"last_failed_at"`
	DeadLetteredAt *time.Time `db:"dead_lettered_at"`
}

// DeadLetterSelection names dead letters; its fields narrow each other, an empty one selects all.
type DeadLetterSelection struct {
	ImageIDs []int64 // empty: any
	Cause    string  // exact; empty: any
}

// where returns the condition on images AS i and the arguments, with its own behind those given.
// Each selection has a text of its own, so that each is planned for its own index.
func (s DeadLetterSelection) where(args ...any) (condition string, all []any) {
	condition = `i.state = 'dead_lettered'`
	if len(s.ImageIDs) > 0 {
		args = append(args, pq.Array(s.ImageIDs))
		condition += ` AND i.id = ANY ($` + strconv.Itoa(len(args)) + `::bigint[])`
	}
	if s.Cause != "" {
		args = append(args, clean(s.Cause, maxCause))
		cause := `$` + strconv.Itoa(len(args)) + `::text`
		condition += ` AND md5(i.reason) = md5(` + cause + `) AND i.reason = ` + cause
	}
	return condition, args
}

// DeadLetters lists up to limit selected dead letters with an id above afterID, by id. Its cost
// follows limit, however many there are.
func (db *DB) DeadLetters(ctx context.Context, selection DeadLetterSelection, afterID int64, limit int) ([]DeadLetter, error) {
	query, args := deadLettersQuery(selection, afterID, limit)
	letters, err := list[DeadLetter](ctx, db, "list dead letters", query, args...)
	for i := range letters {
		toUTC(&letters[i].FirstFailedAt, &letters[i].LastFailedAt, &letters[i].DeadLetteredAt)
	}
	return letters, err
}

func deadLettersQuery(selection DeadLetterSelection, afterID int64, limit int) (query string, args []any) {
	condition, args := selection.where(afterID, limit)
	return `
		SELECT i.id, i.camera_id, c.folder_path, i.file_path, i.reason, coalesce(b.attempts, i.attempts) AS attempts, i.batch_id,
		       i.first_failed_at, i.last_failed_at, i.dead_lettered_at
		FROM images AS i JOIN cameras AS c ON c.id = i.camera_id LEFT JOIN batches AS b ON b.id = i.batch_id
		WHERE ` + condition + ` AND i.id > $1
		ORDER BY i.id LIMIT $2`, args
}

// CountDeadLetters counts the selected dead letters. Its cost follows their number, not the number
// of images.
func (db *DB) CountDeadLetters(ctx context.Context, selection DeadLetterSelection) (int64, error) {
	condition, args := selection.where()
	var n int64
	err := db.get(ctx, "count dead letters", &n, `SELECT count(*) FROM images AS i WHERE `+condition, args...)
	return n, err
}

// requeuePart is how many selected dead letters one transaction requeues. It keeps the transactions
// short; a batch comes back whole.
const requeuePart = 2000

// RequeueDeadLetters makes the selected images wait again with a clean slate and returns how many.
// An image that was given up with its batch brings the whole batch back. Many are requeued in
// parts, each in a transaction of its own with an audit entry; with an error the parts before it
// stay requeued.
func (db *DB) RequeueDeadLetters(ctx context.Context, selection DeadLetterSelection, actor Actor) (requeued int64, err error) {
	after, more := int64(0), true
	for more && err == nil {
		var part int64
		err = db.InTx(ctx, "requeue dead letters", func(ctx context.Context, tx *sqlx.Tx) (err error) {
			part, after, more, err = requeueSome(ctx, tx, selection, after)
			if err != nil || part == 0 {
				return err
			}
			return audit(ctx, tx, "dead_letters_requeued", "images", actor, map[string]any{
				"requeued": part, "image_ids": selection.ImageIDs, "cause": nullString(clean(selection.Cause, maxCause)),
			})
		})
		if err == nil {
			requeued += part
		}
	}
	return requeued, err
}

// requeueSome requeues the next selected dead letters, those with an id above after.
func requeueSome(ctx context.Context, tx *sqlx.Tx, selection DeadLetterSelection, after int64) (requeued, last int64, more bool, err error) {
	var chosen []struct {
		ID      int64  `db:"id"`
		BatchID *int64 `db:"batch_id"`
	}
	condition, args := selection.where(after, requeuePart)
	err = tx.SelectContext(ctx, &chosen, `
		SELECT i.id, i.batch_id FROM images AS i WHERE `+condition+` AND i.id > $1 ORDER BY i.id LIMIT $2`, args...)
	if err != nil || len(chosen) == 0 {
		return 0, after, false, err
	}
	ids, batches := make([]int64, 0, len(chosen)), make([]int64, 0, len(chosen))
	for _, image := range chosen {
		if image.BatchID == nil {
			ids = append(ids, image.ID)
		} else {
			batches = append(batches, *image.BatchID)
		}
	}
	// Rows are locked in the order of their ids, so that two of these never wait for each other in
	// a circle.
	var back []int64
	err = tx.SelectContext(ctx, &back, `
		WITH chosen AS (
			SELECT id FROM batches WHERE id = ANY ($1::bigint[]) AND state = 'dead_lettered' ORDER BY id FOR NO KEY UPDATE
		)
		UPDATE batches AS b
		SET state = 'closed', reason = NULL, attempts = 0, next_attempt_at = NULL, dead_lettered_at = NULL,
		    first_failed_at = NULL, last_failed_at = NULL
		FROM chosen WHERE b.id = chosen.id
		RETURNING b.id`, pq.Array(batches))
	if err != nil {
		return 0, after, false, fmt.Errorf("requeue batches: %w", err)
	}
	result, err := tx.ExecContext(ctx, `
		WITH chosen AS (
			SELECT id FROM images
			WHERE state = 'dead_lettered' AND id IN (
				SELECT id FROM images WHERE batch_id = ANY ($1::bigint[])
				UNION ALL
				SELECT id FROM images WHERE batch_id IS NULL AND id = ANY ($2::bigint[])
			)
			ORDER BY id FOR NO KEY UPDATE
		)
		UPDATE images AS i
		SET state = CASE WHEN batch_id IS NULL THEN 'seen' ELSE 'batched' END, reason = NULL,
		    attempts = CASE WHEN batch_id IS NULL THEN 0 ELSE attempts END, next_attempt_at = NULL,
		    dead_lettered_at = NULL, first_failed_at = NULL, last_failed_at = NULL
		FROM chosen WHERE i.id = chosen.id`, pq.Array(back), pq.Array(ids))
	if err != nil {
		return 0, after, false, fmt.Errorf("requeue images: %w", err)
	}
	requeued, err = result.RowsAffected()
	return requeued, chosen[len(chosen)-1].ID, len(chosen) == requeuePart, err
}
