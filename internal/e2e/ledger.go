package e2e

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/jmoiron/sqlx"

	"hsi.home.arpa/pipeline/aitest"
)

// Ledger is everything that the database says about a run, ordered by id.
type Ledger struct {
	Images     []Image
	Batches    []Batch
	Events     []Event
	Detections []Detection
}

// Image is a row of images.
type Image struct {
	ID              int64
	CameraID        string `db:"camera_id"`
	FilePath        string `db:"file_path"`
	SHA256          sql.NullString
	SizeBytes       int64 `db:"size_bytes"`
	State           string
	Reason          sql.NullString
	Attempts        int
	BatchID         sql.NullInt64 `db:"batch_id"`
	ModTime         time.Time     `db:"mtime"`
	SeenAt          time.Time     `db:"seen_at"`
	QueuedAt        sql.NullTime  `db:"queued_at"`
	DetectStartedAt sql.NullTime  `db:"detect_started_at"`
	BatchedAt       sql.NullTime  `db:"batched_at"`
	FilteredAt      sql.NullTime  `db:"filtered_at"`
}

// Batch is a row of batches.
type Batch struct {
	ID             int64
	CameraID       string `db:"camera_id"`
	State          string
	CreatedAt      time.Time     `db:"created_at"`
	FirstSeenAt    sql.NullTime  `db:"first_seen_at"`
	ClosedAt       sql.NullTime  `db:"closed_at"`
	EventID        sql.NullInt64 `db:"event_id"`
	ImageCount     int           `db:"image_count"`
	DetectionCount int           `db:"detection_count"`
}

// Event is a row of events.
type Event struct {
	ID        int64
	BatchID   string    `db:"batch_id"`
	CameraID  string    `db:"camera_id"`
	StartedAt time.Time `db:"started_at"`
	EndedAt   time.Time `db:"ended_at"`
	RiskScore int       `db:"risk_score"`
	RiskLevel string    `db:"risk_level"`
	Summary   string
	Reasoning string
	Analyzer  string
	CreatedAt time.Time `db:"created_at"`
}

// Detection is a row of detections.
type Detection struct {
	ID         int64
	CameraID   string        `db:"camera_id"`
	ImageID    sql.NullInt64 `db:"image_id"`
	BatchID    sql.NullInt64 `db:"batch_id"`
	EventID    sql.NullInt64 `db:"event_id"`
	FilePath   string        `db:"file_path"`
	FileType   string        `db:"file_type"`
	DetectedAt time.Time     `db:"detected_at"`
	ObjectType string        `db:"object_type"`
	Confidence float64
	X          int            `db:"bbox_x"`
	Y          int            `db:"bbox_y"`
	Width      int            `db:"bbox_width"`
	Height     int            `db:"bbox_height"`
	Thumbnail  sql.NullString `db:"thumbnail_path"`
	Detector   string
}

// seen is the detection in the words of the detector.
func (d *Detection) seen() aitest.Detection {
	return aitest.Detection{
		Class: d.ObjectType, Confidence: d.Confidence, Box: aitest.Box{
			X: d.X, Y: d.Y,
			Width: d.Width, Height: d.Height,
		},
	}
}

// ReadLedger reads all rows in one snapshot.
func ReadLedger(ctx context.Context, database *sqlx.DB) (*Ledger, error) {
	tx, err := database.BeginTxx(ctx, &sql.TxOptions{
		Isolation: sql.LevelRepeatableRead,
		ReadOnly:  true,
	})
	if err != nil {
		return nil, fmt.Errorf("read the ledger: %w", err)
	}
	defer func() { _ = tx.Rollback() }() // it changed nothing
	l := &Ledger{}
	for _, read := range []struct {
		into  any
		query string
	}{
		{&l.Images, `SELECT id, camera_id, file_path, sha256, size_bytes, state, reason, attempts, batch_id, mtime, seen_at, queued_at,
			detect_started_at, batched_at, filtered_at FROM images ORDER BY id`},
		{&l.Batches, `SELECT id, camera_id, state, created_at, first_seen_at, closed_at, event_id, image_count, detection_count
			FROM batches ORDER BY id`},
		{&l.Events, `SELECT id, batch_id, camera_id, started_at, ended_at, risk_score, risk_level, summary, reasoning, analyzer, created_at
			FROM events ORDER BY id`},
		{&l.Detections, `SELECT id, camera_id, image_id, batch_id, event_id, file_path, file_type, detected_at, object_type, confidence,
			bbox_x, bbox_y, bbox_width, bbox_height, thumbnail_path, detector FROM detections ORDER BY id`},
	} {
		if err := tx.SelectContext(ctx, read.into, read.query); err != nil {
			return nil, fmt.Errorf("read the ledger: %w", err)
		}
	}
	return l, nil
}
