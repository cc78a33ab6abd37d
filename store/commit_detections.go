package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/jmoiron/sqlx"
)

// JoinDecision says what to do with an image and the open batch of its camera.
type JoinDecision int

// The decisions.
const (
	JoinOpen      JoinDecision = iota // add the image to the open batch
	CloseAndStart                     // close the open batch and start another with this image
)

// Committed is what CommitDetections stored.
type Committed struct {
	Image        Image   // as it stands now; Image.State is ImageBatched or ImageFiltered
	Batch        *Batch  // the batch it belongs to now, nil when filtered
	Closed       *Batch  // the batch that this image closed, nil when none
	DetectionIDs []int64 // in the order of the result
}

// CommitDetections stores what the detector made of a claimed image, in one transaction: the detections, the
// image's place in the camera's open batch, and its state. join is asked under the row lock of that batch, and
// only when there is one; it must be quick and touch nothing. ErrClaimLost, and nothing stored, when the claim
// is no longer held.
func (db *DB) CommitDetections(
	ctx context.Context, claim ImageClaim, result DetectionResult, join func(open Batch) JoinDecision,
) (Committed, error) {
	for i, d := range result.Detections {
		if !(d.Confidence >= 0 && d.Confidence <= 1) { // false for NaN too
			return Committed{}, fmt.Errorf("commit detections: confidence %v of detection %d: %w", d.Confidence, i, ErrInvalid)
		}
	}
	var committed Committed
	err := db.InTx(ctx, "commit detections", func(ctx context.Context, tx *sqlx.Tx) error {
		committed = Committed{}
		img, err := lockClaimedImage(ctx, tx, claim)
		if err != nil {
			return err
		}
		if len(result.Detections) == 0 {
			committed.Image, err = finishDetection(ctx, tx, img.ID, nil)
			return err
		}
		batch, closed, err := joinBatch(ctx, tx, img, result, join)
		if err != nil {
			return err
		}
		committed.Batch, committed.Closed = &batch, closed
		if committed.DetectionIDs, err = insertDetections(ctx, tx, img, batch.ID, result); err != nil {
			return err
		}
		committed.Image, err = finishDetection(ctx, tx, img.ID, &batch.ID)
		return err
	})
	if err != nil {
		return Committed{}, err
	}
	return committed, nil
}

func lockClaimedImage(ctx context.Context, tx *sqlx.Tx, claim ImageClaim) (Image, error) {
	var img Image
	err := tx.GetContext(ctx, &img, `
		SELECT `+imageColumns+` FROM images WHERE id = $1 AND claimed_by = $2 FOR NO KEY UPDATE`,
		claim.ImageID, claim.Token)
	if errors.Is(err, sql.ErrNoRows) {
		return Image{}, ErrClaimLost
	}
	if err != nil {
		return Image{}, fmt.Errorf("lock image: %w", err)
	}
	img.toUTC()
	return img, nil
}

// finishDetection moves the image on: into the batch, or out when there is none.
func finishDetection(ctx context.Context, tx *sqlx.Tx, id int64, batchID *int64) (Image, error) {
	var img Image
	err := tx.GetContext(ctx, &img, `
		UPDATE images
		SET state = CASE WHEN $2::bigint IS NULL THEN 'filtered' ELSE 'batched' END,
		    reason = CASE WHEN $2::bigint IS NULL THEN '`+ReasonNoDetections+`' END,
		    batch_id = $2, claimed_by = NULL, claimed_until = NULL, detected_at = clock_timestamp(),
		    batched_at = CASE WHEN $2::bigint IS NOT NULL THEN clock_timestamp() END,
		    filtered_at = CASE WHEN $2::bigint IS NULL THEN clock_timestamp() END
		WHERE id = $1
		RETURNING `+imageColumns, id, batchID)
	if err != nil {
		return Image{}, fmt.Errorf("move image on: %w", err)
	}
	img.toUTC()
	return img, nil
}

// joinBatch adds the image to the camera's open batch, or to a new one, and returns it with the one it closed.
func joinBatch(
	ctx context.Context, tx *sqlx.Tx, img Image, result DetectionResult, join func(open Batch) JoinDecision,
) (joined Batch, closed *Batch, err error) {
	for {
		open, err := lockOpenBatch(ctx, tx, img.CameraID)
		if err != nil {
			return Batch{}, nil, err
		}
		if open != nil && join(*open) == JoinOpen {
			joined, err = growBatch(ctx, tx, open.ID, img, result)
			return joined, closed, err
		}
		if open != nil {
			c, err := closeBatch(ctx, tx, open.ID)
			if err != nil {
				return Batch{}, nil, err
			}
			closed = &c
		}
		started, ok, err := startBatch(ctx, tx, img, result)
		if err != nil || ok {
			return started, closed, err
		}
		// Somebody else started one at the same moment: wait for its row and ask again.
	}
}

// growBatch adds the image to a batch whose row the transaction holds.
func growBatch(ctx context.Context, tx *sqlx.Tx, id int64, img Image, result DetectionResult) (Batch, error) {
	var batch Batch
	err := tx.GetContext(ctx, &batch, `
		UPDATE batches
		SET opened_at = least(opened_at, $2), last_at = greatest(last_at, $2), touched_at = clock_timestamp(),
		    first_seen_at = least(first_seen_at, $3), image_count = image_count + 1, detection_count = detection_count + $4
		WHERE id = $1
		RETURNING `+batchColumns,
		id, storable(result.ImageAt), img.SeenAt, len(result.Detections))
	if err != nil {
		return Batch{}, fmt.Errorf("grow batch: %w", err)
	}
	batch.toUTC()
	return batch, nil
}

// startBatch opens a batch with the image in it; false when the camera has an open batch by now.
func startBatch(ctx context.Context, tx *sqlx.Tx, img Image, result DetectionResult) (Batch, bool, error) {
	var batch Batch
	err := tx.GetContext(ctx, &batch, `
		INSERT INTO batches (camera_id, opened_at, last_at, first_seen_at, image_count, detection_count)
		VALUES ($1, $2, $2, $3, 1, $4)
		ON CONFLICT (camera_id) WHERE closed_at IS NULL DO NOTHING
		RETURNING `+batchColumns,
		img.CameraID, storable(result.ImageAt), img.SeenAt, len(result.Detections))
	if errors.Is(err, sql.ErrNoRows) {
		return Batch{}, false, nil
	}
	if err != nil {
		return Batch{}, false, fmt.Errorf("start batch: %w", err)
	}
	batch.toUTC()
	return batch, true, nil
}

// BatchClaim is the right to finish one batch, held until its lease ends and somebody else claims it.
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
