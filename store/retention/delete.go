package retention

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"

	"hsi.home.arpa/store/media"
)

// deletedDetection is what a deleted detection leaves to be done.
type deletedDetection struct {
	ThumbnailPath sql.NullString `db:"thumbnail_path"`
	ImageID       sql.NullInt64  `db:"image_id"`
	BatchID       sql.NullInt64  `db:"batch_id"`
}

// deleteEvents deletes events with all their detections.
func (r *run) deleteEvents(ctx context.Context, tx *sqlx.Tx, ids []int64, done *Report) error {
	// Under the row lock: an event that has grown since it was found is no longer due.
	var due []int64
	err := tx.SelectContext(ctx, &due, `SELECT e.id FROM events AS e JOIN `+chosen+` ON e.id = chosen.id WHERE `+eventDue+` ORDER BY e.id FOR UPDATE OF e`,
		r.plan.cutoff, pq.Array(ids))
	if err != nil {
		return fmt.Errorf("lock events: %w", err)
	}
	if len(due) == 0 {
		return nil
	}
	var gone []deletedDetection
	err = tx.SelectContext(ctx, &gone, `DELETE FROM detections WHERE event_id = ANY ($1) RETURNING thumbnail_path, image_id, batch_id`,
		pq.Array(due))
	if err != nil {
		return fmt.Errorf("delete detections of events: %w", err)
	}
	var batches []int64
	if err := tx.SelectContext(ctx, &batches, `SELECT id FROM batches WHERE event_id = ANY ($1) ORDER BY id FOR UPDATE`, pq.Array(due)); err != nil {
		return fmt.Errorf("lock batches of events: %w", err)
	}
	images, _ := ledgerIDs(gone)
	if err := r.expire(ctx, tx, images, batches); err != nil {
		return err
	}
	if err := deleteBatches(ctx, tx, batches); err != nil {
		return err
	}
	var clips []sql.NullString
	if err := tx.SelectContext(ctx, &clips, `DELETE FROM events WHERE id = ANY ($1) RETURNING clip_path`, pq.Array(due)); err != nil {
		return fmt.Errorf("delete events: %w", err)
	}
	done.EventsDeleted, done.DetectionsDeleted = int64(len(clips)), int64(len(gone))
	marks := thumbnailMarks(gone)
	for _, clip := range clips {
		if clip.Valid {
			marks = append(marks, media.Mark{Kind: media.Clip, Path: clip.String})
		}
	}
	return r.service.media.Mark(ctx, tx, marks)
}

// deletePart deletes up to BatchSize detections of one due event. The event goes last, so that a
// crash leaves it to the next run.
func (r *run) deletePart(ctx context.Context, tx *sqlx.Tx, event int64, done *Report) error {
	var due []int64
	err := tx.SelectContext(ctx, &due, `SELECT e.id FROM events AS e WHERE e.id = $2 AND `+eventDue+` FOR UPDATE`, r.plan.cutoff, event)
	if err != nil {
		return fmt.Errorf("lock a large event: %w", err)
	}
	if len(due) == 0 {
		return nil
	}
	var gone []deletedDetection
	err = tx.SelectContext(ctx, &gone, `
		WITH part AS (SELECT id FROM detections WHERE event_id = $1 LIMIT $2)
		DELETE FROM detections AS d USING part WHERE d.id = part.id RETURNING d.thumbnail_path, d.image_id, d.batch_id`,
		event, r.service.options.BatchSize)
	if err != nil {
		return fmt.Errorf("delete detections of a large event: %w", err)
	}
	images, _ := ledgerIDs(gone)
	if err := r.expire(ctx, tx, images, nil); err != nil {
		return err
	}
	done.DetectionsDeleted = int64(len(gone))
	return r.service.media.Mark(ctx, tx, thumbnailMarks(gone))
}

// chosen are the rows of one page, joined by their key. With `id = ANY ($2)` a planner without
// statistics walks over everything that is due, for each page again: 60,000 rows took a second for
// each 1,000.
const chosen = `unnest($2::bigint[]) AS chosen (id)`

// deleteStrays deletes detections that belong to no event.
func (r *run) deleteStrays(ctx context.Context, tx *sqlx.Tx, ids []int64, done *Report) error {
	// Under the row locks: somebody may just have given a dead letter another try.
	for _, query := range []string{
		`SELECT FROM batches WHERE id IN (SELECT batch_id FROM detections WHERE id = ANY ($1)) ORDER BY id FOR NO KEY UPDATE`,
		`SELECT FROM images WHERE id IN (SELECT image_id FROM detections WHERE id = ANY ($1)) ORDER BY id FOR NO KEY UPDATE`,
	} {
		if _, err := tx.ExecContext(ctx, query, pq.Array(ids)); err != nil {
			return fmt.Errorf("lock the ledger of detections: %w", err)
		}
	}
	var gone []deletedDetection
	err := tx.SelectContext(ctx, &gone, `
		DELETE FROM detections AS d USING `+chosen+` WHERE d.id = chosen.id AND `+strayDue+` RETURNING d.thumbnail_path, d.image_id, d.batch_id`,
		r.plan.cutoff, pq.Array(ids))
	if err != nil {
		return fmt.Errorf("delete detections: %w", err)
	}
	images, batches := ledgerIDs(gone)
	if err := r.expire(ctx, tx, images, nil); err != nil {
		return err
	}
	var empty []int64
	err = tx.SelectContext(ctx, &empty, `
		SELECT b.id FROM batches AS b WHERE b.id = ANY ($1) AND b.state = 'dead_lettered'
			AND NOT EXISTS (SELECT FROM detections AS d WHERE d.batch_id = b.id)`, pq.Array(batches))
	if err != nil {
		return fmt.Errorf("find empty batches: %w", err)
	}
	if err := deleteBatches(ctx, tx, empty); err != nil {
		return err
	}
	done.DetectionsDeleted = int64(len(gone))
	return r.service.media.Mark(ctx, tx, thumbnailMarks(gone))
}

// expire moves images on that have lost their last detection, or their event. The row stays as long
// as the file, so that a scan does not take the file for a new one.
func (r *run) expire(ctx context.Context, tx *sqlx.Tx, images, batches []int64) error {
	_, err := tx.ExecContext(ctx, `
		UPDATE images AS i SET state = 'expired', expired_at = $3, batch_id = NULL
		WHERE (i.id = ANY ($1) AND i.state IN ('analyzed', 'dead_lettered') OR i.batch_id = ANY ($2) AND i.state = 'analyzed')
			AND NOT EXISTS (SELECT FROM detections AS d WHERE d.image_id = i.id)`,
		pq.Array(images), pq.Array(batches), r.plan.at)
	if err != nil {
		return fmt.Errorf("expire images: %w", err)
	}
	return nil
}

func deleteBatches(ctx context.Context, tx *sqlx.Tx, ids []int64) error {
	if len(ids) == 0 {
		return nil
	}
	if _, err := tx.ExecContext(ctx, `DELETE FROM batches WHERE id = ANY ($1)`, pq.Array(ids)); err != nil {
		return fmt.Errorf("delete batches: %w", err)
	}
	return nil
}

// ledgerIDs are the images and batches that deleted detections belonged to, each once.
func ledgerIDs(gone []deletedDetection) (images, batches []int64) {
	seenImages, seenBatches := make(map[int64]bool), make(map[int64]bool)
	for _, d := range gone {
		if d.ImageID.Valid && !seenImages[d.ImageID.Int64] {
			seenImages[d.ImageID.Int64] = true
			images = append(images, d.ImageID.Int64)
		}
		if d.BatchID.Valid && !seenBatches[d.BatchID.Int64] {
			seenBatches[d.BatchID.Int64] = true
			batches = append(batches, d.BatchID.Int64)
		}
	}
	return images, batches
}

// thumbnailMarks are the marks for the thumbnails of deleted detections, each once.
func thumbnailMarks(gone []deletedDetection) []media.Mark {
	seen := make(map[string]bool)
	var marks []media.Mark
	for _, d := range gone {
		if d.ThumbnailPath.Valid && !seen[d.ThumbnailPath.String] {
			seen[d.ThumbnailPath.String] = true
			marks = append(marks, media.Mark{Kind: media.Thumbnail, Path: d.ThumbnailPath.String})
		}
	}
	return marks
}
