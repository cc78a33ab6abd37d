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

// RecordImage writes the ledger row of a file, once however many scans and watchers report it. The same bytes
// from the same camera within img.DedupeWindow are stored as filtered with ReasonDuplicate. A camera that was
// not ensured before gives ErrNotFound.
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

func recordImage(ctx context.Context, tx *sqlx.Tx, img NewImage) (RecordedImage, error) {
	// The camera's row is the lock under which "was it seen before" and "now it is" become one step.
	var seenAt time.Time
	err := tx.GetContext(ctx, &seenAt, `
		SELECT coalesce($2::timestamptz, clock_timestamp()) FROM cameras WHERE id = $1 FOR NO KEY UPDATE`,
		img.CameraID, nullTime(img.SeenAt))
	if err != nil {
		return RecordedImage{}, fmt.Errorf("lock camera: %w", err)
	}
	if img.State == ImageSeen && img.SHA256 != "" && img.DedupeWindow > 0 {
		duplicate, err := isDuplicate(ctx, tx, img, seenAt)
		if err != nil {
			return RecordedImage{}, err
		}
		if duplicate {
			img.State, img.Reason = ImageFiltered, ReasonDuplicate
		}
	}
	recorded, err := insertImage(ctx, tx, img, seenAt)
	if err != nil || !recorded.Created {
		return recorded, err
	}
	_, err = tx.ExecContext(ctx, `
		UPDATE cameras SET last_seen_at = $2
		WHERE id = $1 AND (last_seen_at IS NULL OR last_seen_at < $2::timestamptz - interval '1 second')`,
		img.CameraID, seenAt)
	if err != nil {
		return RecordedImage{}, fmt.Errorf("touch camera: %w", err)
	}
	return recorded, nil
}

// isDuplicate looks for the same bytes in another file. The same file reported again is not its own duplicate.
func isDuplicate(ctx context.Context, tx *sqlx.Tx, img NewImage, seenAt time.Time) (bool, error) {
	var duplicate bool
	err := tx.GetContext(ctx, &duplicate, `
		SELECT EXISTS (
			SELECT FROM images
			WHERE camera_id = $1 AND sha256 = $2 AND reason IS DISTINCT FROM 'duplicate'
			  AND seen_at > $3 AND seen_at < $4
			  AND identity <> image_identity($1, $5, $6, $7))`,
		img.CameraID, img.SHA256, storable(seenAt.Add(-img.DedupeWindow)), storable(seenAt.Add(img.DedupeWindow)),
		img.FilePath, img.SizeBytes, storable(img.ModTime))
	if err != nil {
		return false, fmt.Errorf("look for duplicate: %w", err)
	}
	return duplicate, nil
}

func insertImage(ctx context.Context, tx *sqlx.Tx, img NewImage, seenAt time.Time) (RecordedImage, error) {
	recorded := RecordedImage{State: img.State, Created: true}
	if img.Reason != "" {
		recorded.Reason = &img.Reason
	}
	err := tx.GetContext(ctx, &recorded.ID, `
		INSERT INTO images (camera_id, file_path, size_bytes, mtime, sha256, state, reason, seen_at, filtered_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, CASE WHEN $6 = 'filtered' THEN clock_timestamp() END)
		ON CONFLICT (identity) DO NOTHING
		RETURNING id`,
		img.CameraID, img.FilePath, img.SizeBytes, storable(img.ModTime), nullString(img.SHA256),
		string(img.State), recorded.Reason, seenAt)
	if err == nil || !errors.Is(err, sql.ErrNoRows) {
		return recorded, err
	}
	var known struct {
		ID     int64      `db:"id"`
		State  ImageState `db:"state"`
		Reason *string    `db:"reason"`
	}
	err = tx.GetContext(ctx, &known, `
		SELECT id, state, reason FROM images WHERE identity = image_identity($1, $2, $3, $4)`,
		img.CameraID, img.FilePath, img.SizeBytes, storable(img.ModTime))
	if err != nil {
		return RecordedImage{}, fmt.Errorf("read recorded image: %w", err)
	}
	return RecordedImage{ID: known.ID, State: known.State, Reason: known.Reason}, nil
}

// KnownImages tells for each key, in the same order, whether the ledger has it. One query serves thousands.
func (db *DB) KnownImages(ctx context.Context, keys []ImageKey) ([]bool, error) {
	known := make([]bool, len(keys))
	if len(keys) == 0 {
		return known, nil
	}
	cameras, paths := make([]string, len(keys)), make([]string, len(keys))
	sizes, mtimes := make([]int64, len(keys)), make([]string, len(keys))
	for i, key := range keys {
		cameras[i], paths[i], sizes[i] = key.CameraID, key.FilePath, key.SizeBytes
		mtimes[i] = storable(key.ModTime).Format(time.RFC3339Nano)
	}
	positions, err := list[int64](ctx, db, "look up images", `
		SELECT k.position
		FROM unnest($1::text[], $2::text[], $3::bigint[], $4::timestamptz[])
			WITH ORDINALITY AS k (camera_id, file_path, size_bytes, mtime, position)
		JOIN images AS i ON i.identity = image_identity(k.camera_id, k.file_path, k.size_bytes, k.mtime)`,
		pq.Array(cameras), pq.Array(paths), pq.Array(sizes), pq.Array(mtimes))
	if err != nil {
		return nil, err
	}
	for _, position := range positions {
		known[position-1] = true
	}
	return known, nil
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
