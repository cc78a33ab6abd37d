package store

import (
	"context"
	"fmt"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
)

// Detection is one object found in one image. Rows loaded from elsewhere may lack everything that is a pointer.
type Detection struct {
	ID            int64     `db:"id"`
	CameraID      string    `db:"camera_id"`
	ImageID       *int64    `db:"image_id"`
	BatchID       *int64    `db:"batch_id"`
	EventID       *int64    `db:"event_id"`
	FilePath      string    `db:"file_path"`
	FileType      *string   `db:"file_type"`   // MIME type
	DetectedAt    time.Time `db:"detected_at"` // image time
	ObjectType    *string   `db:"object_type"`
	Confidence    *float64  `db:"confidence"`
	BBoxX         *int      `db:"bbox_x"` // pixels of the original image, origin at the top left
	BBoxY         *int      `db:"bbox_y"`
	BBoxWidth     *int      `db:"bbox_width"`
	BBoxHeight    *int      `db:"bbox_height"`
	ThumbnailPath *string   `db:"thumbnail_path"`
	Detector      *string   `db:"detector"` // what made the row
}

const detectionColumns = `id, camera_id, image_id, batch_id, event_id, file_path, file_type, detected_at, object_type,
	confidence, bbox_x, bbox_y, bbox_width, bbox_height, thumbnail_path, detector`

// NewDetection is one object that a detector found, above the threshold.
type NewDetection struct {
	ObjectType    string
	Confidence    float64
	BBoxX         int // pixels of the original image, origin at the top left
	BBoxY         int
	BBoxWidth     int
	BBoxHeight    int
	ThumbnailPath string        // empty: none. The file must be safely there
	MediaType     string        // image or video; empty means image
	Offset        time.Duration // position in a video: added to the image time
}

// DetectionResult is what a detector made of one image.
type DetectionResult struct {
	Detector   string         // what looked: rtdetr, motion
	ImageAt    time.Time      // image time: becomes detected_at and drives the window
	FileType   string         // MIME type, empty when unknown
	Detections []NewDetection // none: the image is filtered with ReasonNoDetections
}

// insertDetections writes the rows of one image and returns their ids in order. Arrays keep the statement the same
// for any number of rows, so that it is planned once.
func insertDetections(ctx context.Context, tx *sqlx.Tx, img Image, batchID int64, result DetectionResult) ([]int64, error) {
	n := len(result.Detections)
	objectTypes, thumbnails, mediaTypes := make([]string, n), make([]*string, n), make([]string, n)
	confidences, times := make([]float64, n), make([]string, n)
	xs, ys, widths, heights := make([]int64, n), make([]int64, n), make([]int64, n), make([]int64, n)
	for i, d := range result.Detections {
		objectTypes[i], thumbnails[i], confidences[i] = clean(d.ObjectType, maxObjectType), nullString(d.ThumbnailPath), d.Confidence
		times[i] = storable(result.ImageAt.Add(d.Offset)).Format(time.RFC3339Nano)
		xs[i], ys[i], widths[i], heights[i] = int64(d.BBoxX), int64(d.BBoxY), int64(d.BBoxWidth), int64(d.BBoxHeight)
		mediaTypes[i] = d.MediaType
		if d.MediaType == "" {
			mediaTypes[i] = "image"
		}
	}
	ids := make([]int64, 0, n)
	err := tx.SelectContext(ctx, &ids, `
		INSERT INTO detections (camera_id, image_id, batch_id, file_path, file_type, detector, detected_at, object_type, confidence,
			bbox_x, bbox_y, bbox_width, bbox_height, thumbnail_path, media_type)
		SELECT $1, $2, $3, $4, $5, $6, d.*
		FROM unnest($7::timestamptz[], $8::text[], $9::double precision[], $10::integer[], $11::integer[], $12::integer[],
			$13::integer[], $14::text[], $15::text[]) AS d
		RETURNING id`,
		img.CameraID, img.ID, batchID, img.FilePath, nullString(result.FileType), nullString(result.Detector),
		pq.Array(times), pq.Array(objectTypes), pq.Array(confidences),
		pq.Array(xs), pq.Array(ys), pq.Array(widths), pq.Array(heights), pq.Array(thumbnails), pq.Array(mediaTypes))
	if err != nil {
		return nil, fmt.Errorf("insert detections: %w", err)
	}
	return ids, nil
}
