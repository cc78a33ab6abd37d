package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/jmoiron/sqlx"
)

// RecordImage writes the ledger row of a file, once however many scans and watchers report it. The
// same bytes from the same camera within img.DedupeWindow are stored as filtered with
// ReasonDuplicate. A camera that was not ensured before gives ErrNotFound.
func (db *DB) RecordImage(ctx context.Context, img NewImage) (RecordedImage, error) {
	if img.State != ImageSeen && img.State != ImageFiltered {
		return RecordedImage{}, fmt.Errorf("record image: state %q: %w", img.State, ErrInvalid)
	}
	var recorded RecordedImage
	err := db.InTx(ctx, "record image", func(ctx context.Context, tx *sqlx.Tx) error {
		var err error
		recorded, err = recordImage(ctx, tx, img)
		return err
	})
	return recorded, err
}

// recordedRow is what the statements below return.
type recordedRow struct {
	ID     int64      `db:"id"`
	State  ImageState `db:"state"`
	Reason *string    `db:"reason"`
}

func recordImage(ctx context.Context, tx *sqlx.Tx, img NewImage) (RecordedImage, error) {
	// The camera's row is the lock under which "was it seen before" and "now it is" become one
	// step.
	var seenAt time.Time
	err := tx.GetContext(ctx, &seenAt, `
		SELECT coalesce($2::timestamptz, clock_timestamp()) FROM cameras WHERE id = $1 FOR NO KEY UPDATE`,
		img.CameraID, nullTime(img.SeenAt))
	if err != nil {
		return RecordedImage{}, fmt.Errorf("lock camera: %w", err)
	}
	row, err := insertImage(ctx, tx, img, seenAt)
	if err == nil {
		return RecordedImage{ID: row.ID, State: row.State, Reason: row.Reason, Created: true}, nil
	}
	if !errors.Is(err, sql.ErrNoRows) {
		return RecordedImage{}, fmt.Errorf("insert image: %w", err)
	}
	err = tx.GetContext(ctx, &row, `
		SELECT id, state, reason FROM images WHERE identity = image_identity($1, $2, $3, $4)`,
		img.CameraID, img.FilePath, img.SizeBytes, storable(img.ModTime))
	if err != nil {
		return RecordedImage{}, fmt.Errorf("read recorded image: %w", err)
	}
	return RecordedImage{ID: row.ID, State: row.State, Reason: row.Reason}, nil
}

// insertImage stores the image, as a duplicate when another file brought the same bytes, and
// touches the camera; sql.ErrNoRows when the same file was recorded before.
func insertImage(ctx context.Context, tx *sqlx.Tx, img NewImage, seenAt time.Time) (recordedRow, error) {
	var sought *string // the hash to look for, nil: duplicates do not matter
	if img.State == ImageSeen && img.DedupeWindow > 0 {
		sought = nullString(img.SHA256)
	}
	query, args, err := sqlx.Named(`
		WITH duplicate AS (
			SELECT EXISTS (
				SELECT FROM images
				WHERE camera_id = :camera_id AND sha256 = :sought AND `+isOriginal+`
				  AND seen_at > :from AND seen_at < :until) AS found
		), inserted AS (
			INSERT INTO images (camera_id, file_path, size_bytes, mtime, sha256, state, reason, seen_at, filtered_at)
			SELECT :camera_id, :file_path, :size_bytes, :mtime, :sha256,
			       CASE WHEN found THEN 'filtered' ELSE :state END,
			       CASE WHEN found THEN '`+ReasonDuplicate+`' ELSE :reason END, :seen_at,
			       CASE WHEN found OR :state = 'filtered' THEN clock_timestamp() END
			FROM duplicate
			ON CONFLICT (identity) DO NOTHING
			RETURNING id, state, reason
		), touched AS (
			UPDATE cameras SET last_seen_at = :seen_at
			WHERE id = :camera_id AND EXISTS (SELECT FROM inserted)
			  AND (last_seen_at IS NULL OR last_seen_at < CAST(:seen_at AS timestamptz) - interval '1 second')
		)
		SELECT id, state, reason FROM inserted`,
		map[string]any{
			"camera_id": img.CameraID, "file_path": img.FilePath, "size_bytes": img.SizeBytes, "mtime": storable(img.ModTime),
			"sha256": nullString(img.SHA256), "state": string(img.State), "reason": nullString(clean(img.Reason, maxCause)), "seen_at": seenAt,
			"sought": sought, "from": storable(seenAt.Add(-img.DedupeWindow)), "until": storable(seenAt.Add(img.DedupeWindow)),
		})
	if err != nil {
		return recordedRow{}, fmt.Errorf("bind image: %w", err)
	}
	var row recordedRow
	err = tx.GetContext(ctx, &row, tx.Rebind(query), args...)
	return row, err
}

// Image reads one image, ErrNotFound when there is none.
func (db *DB) Image(ctx context.Context, id int64) (Image, error) {
	var img Image
	err := db.get(ctx, "read image", &img, `SELECT `+imageColumns+` FROM images WHERE id = $1`, id)
	img.toUTC()
	return img, err
}

func nullTime(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = storable(t)
	return &t
}

func nullString(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
