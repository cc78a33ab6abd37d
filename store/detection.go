package store

import "time"

// Detection is one object found in one image. Rows loaded from elsewhere may lack everything that
// is a pointer.
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
	PictureWidth  int // pixels; 0: not known
	PictureHeight int
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
