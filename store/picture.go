package store

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/lib/pq"
)

// Picture says where the picture of a detection or of a camera lies. Rows of other programs may
// lack everything that is a pointer.
type Picture struct {
	CameraID string `db:"camera_id"`
	FilePath string `db:"file_path"`

	// Of a detection.
	DetectionID   int64   `db:"detection_id"`
	ThumbnailPath *string `db:"thumbnail_path"`
	BBoxX         *int    `db:"bbox_x"` // pixels of the original image, origin at the top left
	BBoxY         *int    `db:"bbox_y"`
	BBoxWidth     *int    `db:"bbox_width"`
	BBoxHeight    *int    `db:"bbox_height"`

	// Of the ledger. Only a file of this size and time is the one that was recorded.
	SizeBytes *int64     `db:"size_bytes"`
	ModTime   *time.Time `db:"mtime"`
	SHA256    *string    `db:"sha256"` // lower-case hex
}

// pictureOfDetection reads detections d.
const pictureOfDetection = `
	SELECT d.camera_id, d.file_path, d.id AS detection_id, d.thumbnail_path,
	       d.bbox_x, d.bbox_y, d.bbox_width, d.bbox_height, i.size_bytes, i.mtime, i.sha256
	FROM detections AS d LEFT JOIN images AS i ON i.id = d.image_id `

// DetectionPicture returns where the picture of a detection lies, or ErrNotFound.
func (db *DB) DetectionPicture(ctx context.Context, id int64) (Picture, error) {
	var found Picture
	const query = pictureOfDetection + `WHERE d.id = $1`
	err := db.get(ctx, "find picture of detection", &found, query, id)
	return found, err
}

// EventPicture returns where the picture of an event's best detection lies: that with the highest
// confidence, of several the first. It is nil when the event has no detection, and the error is
// ErrNotFound when there is no such event.
func (db *DB) EventPicture(ctx context.Context, eventID int64) (*Picture, error) {
	const op = "find picture of event"
	var listed *string
	err := db.get(ctx, op, &listed, `SELECT detection_ids FROM events WHERE id = $1`, eventID)
	if err != nil {
		return nil, err
	}
	const best = ` ORDER BY d.confidence DESC NULLS LAST, d.id LIMIT 1`
	var found Picture
	err = db.get(ctx, op, &found, pictureOfDetection+`WHERE d.event_id = $1`+best, eventID)
	if ids := listedDetections(listed); errors.Is(err, ErrNotFound) && len(ids) > 0 {
		const byList = pictureOfDetection + `WHERE d.id = ANY ($1) AND d.event_id IS NULL` + best
		err = db.get(ctx, op, &found, byList, pq.Array(ids))
	}
	if errors.Is(err, ErrNotFound) {
		return nil, nil //nolint:nilnil // an event without a detection is no error
	}
	return &found, err
}

// listedDetections reads the JSON array in which other programs keep the detections of an event.
// What is no array of ids has none.
func listedDetections(listed *string) []int64 {
	var ids []int64
	if listed == nil || json.Unmarshal([]byte(*listed), &ids) != nil {
		return nil
	}
	return ids
}

// CameraPictures returns where the newest files of a camera lie, newest first. The error is
// ErrNotFound when there is no such camera.
func (db *DB) CameraPictures(ctx context.Context, cameraID string, limit int) ([]Picture, error) {
	const op = "find pictures of camera"
	var known bool
	err := db.get(ctx, op, &known, `SELECT true FROM cameras WHERE id = $1`, cameraID)
	if err != nil {
		return nil, err
	}
	return listInOrder[Picture](ctx, db, op, `
		SELECT camera_id, file_path, size_bytes, mtime, sha256 FROM images
		WHERE camera_id = $1 ORDER BY seen_at DESC, id DESC LIMIT $2`, cameraID, limit)
}
