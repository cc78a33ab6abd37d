package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
)

// BatchClaim is the right to finish one batch, held until its lease ends and somebody else claims
// it.
type BatchClaim struct {
	BatchID int64
	Token   string // unique for each claim
}

// WaitingBatch can be handed to the queue.
type WaitingBatch struct {
	ID       int64     `db:"id"`
	CameraID string    `db:"camera_id"`
	ClosedAt time.Time `db:"closed_at"`
}

// BatchWork is all that an analyzer needs to know.
type BatchWork struct {
	Batch      Batch
	Camera     Camera
	Detections []Detection // by image time
}

// batchWaits tells which closed batches can be handed to the queue; $2 is requeueAfter in seconds.
const batchWaits = `(
	   state = 'closed' AND (next_attempt_at IS NULL OR next_attempt_at <= now()
	                         OR next_attempt_at > now() + ` + farFuture + `)
	OR state = 'queued' AND (queued_at < now() - make_interval(secs => $2)
	                         OR queued_at > now() + ` + farFuture + `)
	OR state = 'analyzing' AND (claimed_until < now() OR claimed_until > now() + ` + farLease + `))`

// WaitingBatches lists up to limit closed batches that can be handed to the queue, oldest first:
// not handed over yet and due, handed over longer than requeueAfter ago and not claimed since, or
// claimed under a lease that has ended.
func (db *DB) WaitingBatches(ctx context.Context, limit int, requeueAfter time.Duration) ([]WaitingBatch, error) {
	batches, err := listInOrder[WaitingBatch](ctx, db, "list waiting batches", `
		SELECT id, camera_id, closed_at FROM batches
		WHERE state IN ('closed', 'queued', 'analyzing') AND `+batchWaits+`
		ORDER BY closed_at, id LIMIT $1`, limit, requeueAfter.Seconds())
	for i := range batches {
		batches[i].ClosedAt = batches[i].ClosedAt.UTC()
	}
	return batches, err
}

// MarkBatchesQueued marks those of the batches that still wait, by the same rule as WaitingBatches,
// as handed to the queue now and returns their ids.
func (db *DB) MarkBatchesQueued(ctx context.Context, ids []int64, requeueAfter time.Duration) ([]int64, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	return write[int64](ctx, db, "mark batches queued", `
		WITH waiting AS (
			SELECT id FROM batches WHERE id = ANY ($1::bigint[]) AND `+batchWaits+` FOR UPDATE SKIP LOCKED
		)
		UPDATE batches AS b
		SET state = 'queued', queued_at = clock_timestamp(), next_attempt_at = NULL, claimed_by = NULL, claimed_until = NULL
		FROM waiting AS w WHERE b.id = w.id
		RETURNING b.id`, pq.Array(ids), requeueAfter.Seconds())
}

// ClaimBatch takes a closed batch over for the length of the lease (at most 2 h 10 min), counts one
// attempt, and reads all that the analyzer needs. A live claim of somebody else, or a batch that is
// open or finished, gives ErrClaimLost. Claiming again with the same token extends the lease and
// counts no attempt.
func (db *DB) ClaimBatch(ctx context.Context, id int64, token string, lease time.Duration) (BatchWork, error) {
	if token == "" {
		return BatchWork{}, fmt.Errorf("claim batch: empty token: %w", ErrInvalid)
	}
	batches, err := write[Batch](ctx, db, "claim batch", `
		UPDATE batches
		SET attempts = attempts + CASE WHEN claimed_by = $2 THEN 0 ELSE 1 END,
		    analyze_started_at = CASE WHEN claimed_by = $2 THEN analyze_started_at ELSE clock_timestamp() END,
		    state = 'analyzing', claimed_by = $2, claimed_until = clock_timestamp() + make_interval(secs => $3), next_attempt_at = NULL
		WHERE id = $1 AND (state IN ('closed', 'queued')
		   OR state = 'analyzing' AND (claimed_by = $2 OR claimed_until < clock_timestamp()
		                               OR claimed_until > clock_timestamp() + `+farLease+`))
		RETURNING `+batchColumns,
		id, token, min(lease, maxLease).Seconds())
	if err != nil {
		return BatchWork{}, err
	}
	if len(batches) == 0 {
		return BatchWork{}, fmt.Errorf("claim batch %d: %w", id, db.claimFailure(ctx, `SELECT EXISTS (SELECT FROM batches WHERE id = $1)`, id))
	}
	work := BatchWork{Batch: batches[0]}
	work.Batch.toUTC()
	err = db.get(ctx, "read camera of batch", &work.Camera, `SELECT `+cameraColumns+` FROM cameras WHERE id = $1`, work.Batch.CameraID)
	if err != nil {
		return BatchWork{}, err
	}
	work.Camera.toUTC()
	work.Detections, err = list[Detection](ctx, db, "read detections of batch", `
		SELECT `+detectionColumns+` FROM detections WHERE batch_id = $1 ORDER BY detected_at, id`, id)
	for i := range work.Detections {
		work.Detections[i].DetectedAt = work.Detections[i].DetectedAt.UTC()
	}
	return work, err
}

// ReleaseBatch gives a claimed batch back for another attempt, with the cause of the failure. A nil
// retryAt means at once, and 30 min is the longest wait; refundAttempt does not count the attempt.
// ErrClaimLost when the claim is no longer held.
func (db *DB) ReleaseBatch(ctx context.Context, claim BatchClaim, retryAt *time.Time, cause string, refundAttempt bool) error {
	return db.changeClaimed(ctx, "release batch", `
		UPDATE batches
		SET state = 'closed', claimed_by = NULL, claimed_until = NULL,
		    next_attempt_at = clock_timestamp() + make_interval(secs => $3),
		    attempts = attempts - CASE WHEN $4 AND attempts > 0 THEN 1 ELSE 0 END,
		    last_error = coalesce($5, last_error),
		    first_failed_at = CASE WHEN $5 IS NULL THEN first_failed_at ELSE coalesce(first_failed_at, clock_timestamp()) END,
		    last_failed_at = CASE WHEN $5 IS NULL THEN last_failed_at ELSE clock_timestamp() END
		WHERE id = $1 AND claimed_by = $2`,
		claim.BatchID, claim.Token, db.secondsUntil(retryAt), refundAttempt, nullString(clean(cause, maxCause)))
}

// DeadLetterBatch gives a claimed batch and its images up with the cause, in one transaction.
// ErrClaimLost when the claim is no longer held.
func (db *DB) DeadLetterBatch(ctx context.Context, claim BatchClaim, cause string) error {
	cause = clean(cause, maxCause)
	return db.InTx(ctx, "dead-letter batch", func(ctx context.Context, tx *sqlx.Tx) error {
		if _, err := lockClaimedBatch(ctx, tx, claim); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `
			UPDATE batches
			SET state = 'dead_lettered', reason = $2, claimed_by = NULL, claimed_until = NULL, dead_lettered_at = clock_timestamp(),
			    last_error = $2, first_failed_at = coalesce(first_failed_at, clock_timestamp()), last_failed_at = clock_timestamp()
			WHERE id = $1`, claim.BatchID, cause)
		if err != nil {
			return fmt.Errorf("update batch: %w", err)
		}
		_, err = tx.ExecContext(ctx, `
			UPDATE images AS i
			SET state = 'dead_lettered', reason = $2, dead_lettered_at = clock_timestamp(), last_error = $2,
			    first_failed_at = coalesce(i.first_failed_at, b.first_failed_at), last_failed_at = b.last_failed_at
			FROM batches AS b
			WHERE b.id = $1 AND i.batch_id = b.id AND i.state = 'batched'`, claim.BatchID, cause)
		if err != nil {
			return fmt.Errorf("update images: %w", err)
		}
		return nil
	})
}

func lockClaimedBatch(ctx context.Context, tx *sqlx.Tx, claim BatchClaim) (Batch, error) {
	var batch Batch
	err := tx.GetContext(ctx, &batch, `
		SELECT `+batchColumns+` FROM batches WHERE id = $1 AND claimed_by = $2 FOR NO KEY UPDATE`,
		claim.BatchID, claim.Token)
	if errors.Is(err, sql.ErrNoRows) {
		return Batch{}, ErrClaimLost
	}
	if err != nil {
		return Batch{}, fmt.Errorf("lock batch: %w", err)
	}
	batch.toUTC()
	return batch, nil
}
