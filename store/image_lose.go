package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/jmoiron/sqlx"
)

// isOriginal tells which images stand for their bytes, so that the same bytes again are a
// duplicate: all but duplicates themselves, so that the window does not creep, and those whose
// bytes were lost before a detector saw them.
const isOriginal = `(reason IS DISTINCT FROM '` + ReasonDuplicate + `'
	AND coalesce(reason, '') NOT IN ('` + ReasonReplaced + `', '` + ReasonFileGone + `'))`

// heirQuery finds the first duplicate that was recorded after image $1 and before the next original
// of the same bytes.
const heirQuery = `
	SELECT id FROM images
	WHERE camera_id = $2 AND sha256 = $3 AND reason = '` + ReasonDuplicate + `' AND state = 'filtered' AND id > $1
	  AND id < coalesce((SELECT min(id) FROM images WHERE camera_id = $2 AND sha256 = $3 AND id > $1 AND ` + isOriginal + `),
	                    9223372036854775807)
	ORDER BY id LIMIT 1`

// LoseImage filters a claimed image whose bytes cannot be had any more, with ReasonReplaced or
// ReasonFileGone. Where the same bytes also came under another name and were left out as a
// duplicate of this image, the first such one waits for the detector instead, in the same
// transaction. ErrClaimLost when the claim is no longer held.
func (db *DB) LoseImage(ctx context.Context, claim ImageClaim, reason string) error {
	if reason != ReasonReplaced && reason != ReasonFileGone {
		return fmt.Errorf("lose image: reason %q: %w", reason, ErrInvalid)
	}
	return db.InTx(ctx, "lose image", func(ctx context.Context, tx *sqlx.Tx) error {
		// RecordImage decides under the same lock what is a duplicate.
		_, err := tx.ExecContext(ctx, `
			SELECT FROM cameras WHERE id = (SELECT camera_id FROM images WHERE id = $1) FOR NO KEY UPDATE`, claim.ImageID)
		if err != nil {
			return fmt.Errorf("lock camera: %w", err)
		}
		img, err := lockClaimedImage(ctx, tx, claim)
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `
			UPDATE images
			SET state = 'filtered', reason = $2, claimed_by = NULL, claimed_until = NULL, filtered_at = clock_timestamp()
			WHERE id = $1`, img.ID, reason)
		if err != nil {
			return fmt.Errorf("filter image: %w", err)
		}
		_, err = tx.ExecContext(ctx, `
			UPDATE images SET state = 'seen', reason = NULL, filtered_at = NULL WHERE id = (`+heirQuery+`)`,
			img.ID, img.CameraID, img.SHA256)
		if err != nil {
			return fmt.Errorf("wake duplicate: %w", err)
		}
		return nil
	})
}

// lockClaimedImage reads and locks the image of a claim that is still held, else ErrClaimLost.
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
