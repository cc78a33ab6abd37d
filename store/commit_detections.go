package store

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
)

// JoinDecision says what to do with an image and the open batch of its camera.
type JoinDecision int

// The decisions.
const (
	JoinOpen      JoinDecision = iota // add the image to the open batch
	CloseAndStart                     // close the open batch and start another with this image
)

// Join decides about an image taken at imageAt and its camera's open batch, as the row stands with
// the images of the same commit that came before. It is asked under the row lock of the batch, only
// when there is one; it must be quick and touch nothing.
type Join func(open Batch, imageAt time.Time) JoinDecision

// Detected is a claimed image with what the detector made of it.
type Detected struct {
	ImageID int64
	DetectionResult
}

// Committed is what CommitDetections stored of one image.
type Committed struct {
	Image        Image   // as it stands now; Image.State is ImageBatched or ImageFiltered
	Batch        *Batch  // the batch it belongs to now, nil when filtered
	Closed       *Batch  // the batch that this image closed, nil when none
	DetectionIDs []int64 // in the order of the result
}

// CommitDetections stores what the detector made of images that were claimed with one token, in one
// transaction: the detections, the images' places in the open batches of their cameras, and their
// states. Images of one camera join in the order given. An image whose claim is no longer held is
// left out and nothing of it is stored; what was stored is returned in the order given.
func (db *DB) CommitDetections(ctx context.Context, token string, detected []Detected, join Join) ([]Committed, error) {
	empty := true
	for _, one := range detected {
		for i, d := range one.Detections {
			if !(d.Confidence >= 0 && d.Confidence <= 1) { // false for NaN too
				return nil, fmt.Errorf("commit detections: confidence %v of detection %d of image %d: %w", d.Confidence, i, one.ImageID, ErrInvalid)
			}
			empty = false
		}
	}
	if empty {
		return db.commitNothingFound(ctx, token, detected)
	}
	var committed []Committed
	err := db.InTx(ctx, "commit detections", func(ctx context.Context, tx *sqlx.Tx) (err error) {
		committed, err = commitDetections(ctx, tx, token, detected, join)
		return err
	})
	if err != nil {
		return nil, err
	}
	return committed, nil
}

// CommitDetection is CommitDetections for one image. ErrClaimLost, and nothing stored, when the
// claim is no longer held.
func (db *DB) CommitDetection(ctx context.Context, claim ImageClaim, result DetectionResult, join Join) (Committed, error) {
	committed, err := db.CommitDetections(ctx, claim.Token, []Detected{{claim.ImageID, result}}, join)
	if err != nil {
		return Committed{}, err
	}
	if len(committed) == 0 {
		return Committed{}, fmt.Errorf("commit detections of image %d: %w", claim.ImageID, ErrClaimLost)
	}
	return committed[0], nil
}

// commitNothingFound filters images on which there is nothing, which most are: one statement.
func (db *DB) commitNothingFound(ctx context.Context, token string, detected []Detected) ([]Committed, error) {
	ids := make([]int64, len(detected))
	for i, one := range detected {
		ids[i] = one.ImageID
	}
	images, err := write[Image](ctx, db, "commit detections", `
		WITH held AS (SELECT id FROM images WHERE id = ANY ($1::bigint[]) AND claimed_by = $2 ORDER BY id FOR NO KEY UPDATE)
		UPDATE images AS i
		SET state = 'filtered', reason = '`+ReasonNoDetections+`', claimed_by = NULL, claimed_until = NULL,
		    detected_at = clock_timestamp(), filtered_at = clock_timestamp()
		FROM held WHERE i.id = held.id
		RETURNING `+imageColumnsOf("i"), pq.Array(ids), token)
	if err != nil {
		return nil, err
	}
	slices.SortFunc(images, func(a, b Image) int { return cmp.Compare(slices.Index(ids, a.ID), slices.Index(ids, b.ID)) })
	committed := make([]Committed, len(images))
	for i := range images {
		images[i].toUTC()
		committed[i].Image = images[i]
	}
	return committed, nil
}

// detectionCommit is one transaction of CommitDetections.
type detectionCommit struct {
	tx   *sqlx.Tx
	join Join
	// open are the open batches by camera, whose rows the transaction holds.
	open map[string]*openBatch
	// batched says where each image with detections goes.
	batched map[int64]place
}

// openBatch is an open batch with what this transaction adds to it. What it adds is written when
// the batch is closed or at the end.
type openBatch struct {
	Batch
	grown bool
}

// place says where an image went: the batch that it joined and when, and the one that it closed.
type place struct {
	joined *openBatch
	at     time.Time
	closed *Batch
}

func commitDetections(ctx context.Context, tx *sqlx.Tx, token string, detected []Detected, join Join) ([]Committed, error) {
	images, err := lockClaimedImages(ctx, tx, token, detected)
	if err != nil {
		return nil, err
	}
	detected = slices.DeleteFunc(slices.Clone(detected), func(one Detected) bool { _, held := images[one.ImageID]; return !held })
	c := &detectionCommit{tx: tx, join: join, batched: make(map[int64]place, len(detected))}
	if err := c.joinBatches(ctx, images, detected); err != nil {
		return nil, err
	}
	detectionIDs, err := c.write(ctx, images, detected)
	if err != nil {
		return nil, err
	}
	committed := make([]Committed, len(detected))
	for i, one := range detected {
		committed[i] = Committed{Image: *images[one.ImageID], DetectionIDs: detectionIDs[one.ImageID]}
		if at, batched := c.batched[one.ImageID]; batched {
			committed[i].Batch, committed[i].Closed = &at.joined.Batch, at.closed
		}
	}
	return committed, nil
}

// lockClaimedImages reads and locks the images whose claim is still held, by id.
func lockClaimedImages(ctx context.Context, tx *sqlx.Tx, token string, detected []Detected) (map[int64]*Image, error) {
	ids := make([]int64, len(detected))
	for i, one := range detected {
		ids[i] = one.ImageID
	}
	var list []Image
	err := tx.SelectContext(ctx, &list, `
		SELECT `+imageColumns+` FROM images WHERE id = ANY ($1::bigint[]) AND claimed_by = $2 ORDER BY id FOR NO KEY UPDATE`,
		pq.Array(ids), token)
	if err != nil {
		return nil, fmt.Errorf("lock images: %w", err)
	}
	images := make(map[int64]*Image, len(list))
	for i := range list {
		list[i].toUTC()
		images[list[i].ID] = &list[i]
	}
	return images, nil
}

// joinBatches decides for each image with detections which batch it joins. Cameras come in one
// order in every transaction, so that two never wait for each other.
func (c *detectionCommit) joinBatches(ctx context.Context, images map[int64]*Image, detected []Detected) error {
	found := slices.DeleteFunc(slices.Clone(detected), func(one Detected) bool { return len(one.Detections) == 0 })
	camera := func(one Detected) string { return images[one.ImageID].CameraID }
	slices.SortStableFunc(found, func(a, b Detected) int { return cmp.Compare(camera(a), camera(b)) })
	cameras := make([]string, len(found))
	for i, one := range found {
		cameras[i] = camera(one)
	}
	if err := c.lockOpen(ctx, slices.Compact(cameras)); err != nil {
		return err
	}
	for _, one := range found {
		if err := c.joinBatch(ctx, images[one.ImageID], one.DetectionResult); err != nil {
			return err
		}
	}
	return nil
}

// lockOpen reads and locks the open batches of the cameras.
func (c *detectionCommit) lockOpen(ctx context.Context, cameras []string) error {
	var list []Batch
	err := c.tx.SelectContext(ctx, &list, `
		SELECT `+batchColumns+` FROM batches WHERE camera_id = ANY ($1::text[]) AND closed_at IS NULL
		ORDER BY camera_id FOR UPDATE`, pq.Array(cameras))
	if err != nil {
		return fmt.Errorf("lock open batches: %w", err)
	}
	if c.open == nil {
		c.open = make(map[string]*openBatch, len(list))
	}
	for _, batch := range list {
		batch.toUTC()
		c.open[batch.CameraID] = &openBatch{Batch: batch}
	}
	return nil
}

// joinBatch adds an image to the camera's open batch, or to a new one.
func (c *detectionCommit) joinBatch(ctx context.Context, img *Image, result DetectionResult) error {
	var closed *Batch
	for {
		open := c.open[img.CameraID]
		if open != nil && c.join(open.Batch, result.ImageAt) == JoinOpen {
			open.grow(*img, result)
			c.batched[img.ID] = place{open, open.ReadAt, closed}
			return nil
		}
		if open != nil {
			if err := growBatches(ctx, c.tx, open); err != nil {
				return err
			}
			gone, err := closeBatch(ctx, c.tx, open.ID)
			if err != nil {
				return err
			}
			open.Batch, closed = gone, &gone
			delete(c.open, img.CameraID)
		}
		started, err := startBatch(ctx, c.tx, *img, result)
		if err != nil {
			return err
		}
		if started != nil {
			c.open[img.CameraID] = started
			c.batched[img.ID] = place{started, started.CreatedAt, closed}
			return nil
		}
		// Somebody else started one at the same moment: wait for its row and ask again.
		if err := c.lockOpen(ctx, []string{img.CameraID}); err != nil {
			return err
		}
	}
}

// grow adds an image to a batch whose row the transaction holds. It is written later.
func (b *openBatch) grow(img Image, result DetectionResult) {
	at := storable(result.ImageAt)
	if at.Before(b.OpenedAt) {
		b.OpenedAt = at
	}
	if at.After(b.LastAt) {
		b.LastAt = at
	}
	if img.SeenAt.Before(b.FirstSeenAt) {
		b.FirstSeenAt = img.SeenAt
	}
	b.TouchedAt = b.ReadAt
	b.ImageCount++
	b.DetectionCount += len(result.Detections)
	b.grown = true
}
