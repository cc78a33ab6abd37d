package store

import (
	"context"
	"fmt"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
)

// DeadLetter is an image that was given up, by itself or with its whole batch.
type DeadLetter struct {
	ImageID        int64      `db:"id"`
	CameraID       string     `db:"camera_id"`
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

// DeadLetters lists up to limit selected dead letters with an id above afterID, by id.
func (db *DB) DeadLetters(ctx context.Context, selection DeadLetterSelection, afterID int64, limit int) ([]DeadLetter, error) {
	letters, err := list[DeadLetter](ctx, db, "list dead letters", `
		SELECT i.id, i.camera_id, i.file_path, i.reason, coalesce(b.attempts, i.attempts) AS attempts, i.batch_id,
		       i.first_failed_at, i.last_failed_at, i.dead_lettered_at
		FROM images AS i LEFT JOIN batches AS b ON b.id = i.batch_id
		WHERE i.state = 'dead_lettered' AND i.id > $1
		  AND ($2::bigint[] IS NULL OR i.id = ANY ($2)) AND ($3::text IS NULL OR i.reason = $3)
		ORDER BY i.id LIMIT $4`,
		afterID, idsOrNull(selection.ImageIDs), nullString(clean(selection.Cause, maxCause)), limit)
	for i := range letters {
		toUTC(&letters[i].FirstFailedAt, &letters[i].LastFailedAt, &letters[i].DeadLetteredAt)
	}
	return letters, err
}

// CountDeadLetters counts the selected dead letters.
func (db *DB) CountDeadLetters(ctx context.Context, selection DeadLetterSelection) (int64, error) {
	var n int64
	err := db.get(ctx, "count dead letters", &n, `
		SELECT count(*) FROM images
		WHERE state = 'dead_lettered' AND ($1::bigint[] IS NULL OR id = ANY ($1)) AND ($2::text IS NULL OR reason = $2)`,
		idsOrNull(selection.ImageIDs), nullString(clean(selection.Cause, maxCause)))
	return n, err
}

// RequeueDeadLetters makes the selected images wait again with a clean slate and returns how many. An image that
// was given up with its batch brings the whole batch back. One transaction, with an audit entry when any changed.
func (db *DB) RequeueDeadLetters(ctx context.Context, selection DeadLetterSelection, actor Actor) (int64, error) {
	var requeued int64
	err := db.InTx(ctx, "requeue dead letters", func(ctx context.Context, tx *sqlx.Tx) error {
		var batches []int64
		err := tx.SelectContext(ctx, &batches, `
			WITH chosen AS (
				SELECT DISTINCT batch_id FROM images
				WHERE state = 'dead_lettered' AND batch_id IS NOT NULL
				  AND ($1::bigint[] IS NULL OR id = ANY ($1)) AND ($2::text IS NULL OR reason = $2)
			)
			UPDATE batches AS b
			SET state = 'closed', reason = NULL, attempts = 0, next_attempt_at = NULL, dead_lettered_at = NULL,
			    first_failed_at = NULL, last_failed_at = NULL
			FROM chosen WHERE b.id = chosen.batch_id AND b.state = 'dead_lettered'
			RETURNING b.id`, idsOrNull(selection.ImageIDs), nullString(clean(selection.Cause, maxCause)))
		if err != nil {
			return fmt.Errorf("requeue batches: %w", err)
		}
		result, err := tx.ExecContext(ctx, `
			UPDATE images
			SET state = CASE WHEN batch_id IS NULL THEN 'seen' ELSE 'batched' END, reason = NULL,
			    attempts = CASE WHEN batch_id IS NULL THEN 0 ELSE attempts END, next_attempt_at = NULL,
			    dead_lettered_at = NULL, first_failed_at = NULL, last_failed_at = NULL
			WHERE state = 'dead_lettered' AND (batch_id = ANY ($3::bigint[])
			   OR batch_id IS NULL AND ($1::bigint[] IS NULL OR id = ANY ($1)) AND ($2::text IS NULL OR reason = $2))`,
			idsOrNull(selection.ImageIDs), nullString(clean(selection.Cause, maxCause)), pq.Array(batches))
		if err != nil {
			return fmt.Errorf("requeue images: %w", err)
		}
		if requeued, err = result.RowsAffected(); err != nil || requeued == 0 {
			return err
		}
		return audit(ctx, tx, "dead_letters_requeued", "images", actor, map[string]any{
			"requeued": requeued, "image_ids": selection.ImageIDs, "cause": nullString(clean(selection.Cause, maxCause)),
		})
	})
	if err != nil {
		return 0, err
	}
	return requeued, nil
}

func idsOrNull(ids []int64) any {
	if len(ids) == 0 {
		return nil
	}
	return pq.Array(ids)
}
