package main

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/jmoiron/sqlx"

	"hsi.home.arpa/pipeline/aitest"
)

// ledger is everything that the database says about a run.
type ledger struct {
	images     []imageRow
	batches    map[int64]*batchRow
	events     []eventRow
	detections []detectionRow
	cameras    map[string]string // names by id
}

type imageRow struct {
	ID        int64
	CameraID  string `db:"camera_id"`
	FilePath  string `db:"file_path"`
	SHA256    sql.NullString
	SizeBytes int64 `db:"size_bytes"`
	State     string
	Reason    sql.NullString
	BatchID   sql.NullInt64 `db:"batch_id"`
}

type batchRow struct {
	ID             int64
	CameraID       string `db:"camera_id"`
	State          string
	EventID        sql.NullInt64 `db:"event_id"`
	ImageCount     int           `db:"image_count"`
	DetectionCount int           `db:"detection_count"`
}

type eventRow struct {
	ID        int64
	BatchID   string `db:"batch_id"`
	CameraID  string `db:"camera_id"`
	RiskScore int    `db:"risk_score"`
	RiskLevel string `db:"risk_level"`
	Summary   string
	Reasoning string
	Analyzer  string
	CreatedAt time.Time `db:"created_at"`
}

type detectionRow struct {
	ID         int64
	CameraID   string        `db:"camera_id"`
	ImageID    sql.NullInt64 `db:"image_id"`
	BatchID    sql.NullInt64 `db:"batch_id"`
	EventID    sql.NullInt64 `db:"event_id"`
	FilePath   string        `db:"file_path"`
	ObjectType string        `db:"object_type"`
	Confidence float64
	X          int            `db:"bbox_x"`
	Y          int            `db:"bbox_y"`
	Width      int            `db:"bbox_width"`
	Height     int            `db:"bbox_height"`
	Thumbnail  sql.NullString `db:"thumbnail_path"`
}

func (d detectionRow) found() aitest.Detection {
	return aitest.Detection{
		Class: d.ObjectType, Confidence: d.Confidence, Box: aitest.Box{X: d.X, Y: d.Y, Width: d.Width, Height: d.Height},
	}
}

// readLedger reads all rows in one snapshot.
func readLedger(ctx context.Context, database *sqlx.DB) (*ledger, error) {
	tx, err := database.BeginTxx(ctx, &sql.TxOptions{Isolation: sql.LevelRepeatableRead, ReadOnly: true})
	if err != nil {
		return nil, fmt.Errorf("read the ledger: %w", err)
	}
	defer func() { _ = tx.Rollback() }() // it changed nothing
	l := &ledger{batches: map[int64]*batchRow{}, cameras: map[string]string{}}
	var batches []*batchRow
	var cameras []struct{ ID, Name string }
	for _, read := range []struct {
		into  any
		query string
	}{
		{&l.images, `SELECT id, camera_id, file_path, sha256, size_bytes, state, reason, batch_id FROM images ORDER BY id`},
		{&batches, `SELECT id, camera_id, state, event_id, image_count, detection_count FROM batches`},
		{&l.events, `SELECT id, batch_id, camera_id, risk_score, risk_level, summary, reasoning, analyzer, created_at FROM events ORDER BY id`},
		{&l.detections, `SELECT id, camera_id, image_id, batch_id, event_id, file_path, object_type, confidence,
			bbox_x, bbox_y, bbox_width, bbox_height, thumbnail_path FROM detections ORDER BY id`},
		{&cameras, `SELECT id, name FROM cameras`},
	} {
		if err := tx.SelectContext(ctx, read.into, read.query); err != nil {
			return nil, fmt.Errorf("read the ledger: %w", err)
		}
	}
	for _, b := range batches {
		l.batches[b.ID] = b
	}
	for _, c := range cameras {
		l.cameras[c.ID] = c.Name
	}
	return l, nil
}
