package seen

import (
	"context"
	"fmt"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"

	"hsi.home.arpa/store"
)

// Detection is one object in one picture. Rows of other programs may lack everything that is a
// pointer.
type Detection struct {
	ID            int64     `db:"id"`
	CameraID      string    `db:"camera_id"`
	EventID       *int64    `db:"event_id"`
	FilePath      string    `db:"file_path"` // of the server's file system
	FileType      *string   `db:"file_type"`
	DetectedAt    time.Time `db:"detected_at"` // image time
	ObjectType    *string   `db:"object_type"`
	Confidence    *float64  `db:"confidence"`
	BBoxX         *int32    `db:"bbox_x"` // pixels of the picture, origin at the top left
	BBoxY         *int32    `db:"bbox_y"`
	BBoxWidth     *int32    `db:"bbox_width"`
	BBoxHeight    *int32    `db:"bbox_height"`
	PictureWidth  *int32    `db:"picture_width"` // pixels
	PictureHeight *int32    `db:"picture_height"`
	MediaType     *string   `db:"media_type"`
	Detector      *string   `db:"detector"`
	Duration      *float64  `db:"duration"` // of a video, in seconds
	VideoCodec    *string   `db:"video_codec"`
	VideoWidth    *int32    `db:"video_width"`
	VideoHeight   *int32    `db:"video_height"`
}

const detectionColumns = `d.id, d.camera_id, d.event_id, d.file_path, d.file_type, d.detected_at, d.object_type, d.confidence,
	d.bbox_x, d.bbox_y, d.bbox_width, d.bbox_height, d.picture_width, d.picture_height, d.media_type, d.detector, d.duration,
	d.video_codec, d.video_width, d.video_height`

func readDetections(ctx context.Context, q sqlx.QueryerContext, query string, args ...any) ([]Detection, error) {
	detections := make([]Detection, 0)
	if err := sqlx.SelectContext(ctx, q, &detections, query, args...); err != nil {
		return nil, fmt.Errorf("read detections: %w", err)
	}
	for i := range detections {
		detections[i].DetectedAt = detections[i].DetectedAt.UTC()
	}
	return detections, nil
}

// detectionsByTime reads some of the detections with these ids, the oldest first.
func detectionsByTime(ctx context.Context, q sqlx.QueryerContext, ids []int64, limit, offset int) ([]Detection, error) {
	return readDetections(ctx, q, `
		SELECT `+detectionColumns+` FROM detections AS d WHERE d.id = ANY ($1::bigint[])
		ORDER BY d.detected_at, d.id LIMIT $2 OFFSET $3`, pq.Array(ids), limit, offset)
}

// Detections lists one page of the detections that fit, the newest first or as the page says.
func (s *Store) Detections(ctx context.Context, filter DetectionFilter, page Page) (Listed[Detection], error) {
	var listed Listed[Detection]
	err := s.read(ctx, "list detections", func(ctx context.Context, tx *sqlx.Tx) error {
		position, err := streamPosition(ctx, tx)
		if err != nil {
			return err
		}
		f, err := run(ctx, tx, page, filter.scan)
		if err != nil {
			return err
		}
		rows, err := readDetections(ctx, tx, `
			SELECT `+detectionColumns+` FROM unnest($1::bigint[]) WITH ORDINALITY AS chosen (id, place)
			JOIN detections AS d ON d.id = chosen.id ORDER BY chosen.place`, pq.Array(f.ids))
		listed = Listed[Detection]{Rows: rows, Next: f.next, Count: f.count, CountIsMinimum: f.countIsMinimum, Position: position}
		return err
	})
	return listed, err
}

// Detection reads one detection. ErrNotFound when there is none.
func (s *Store) Detection(ctx context.Context, id int64) (Detection, error) {
	var detection Detection
	err := s.read(ctx, "read detection", func(ctx context.Context, tx *sqlx.Tx) error {
		found, err := detectionsByTime(ctx, tx, []int64{id}, 1, 0)
		if err == nil && len(found) == 0 {
			err = store.ErrNotFound
		}
		if err == nil {
			detection = found[0]
		}
		return err
	})
	return detection, err
}

// DetectionsOfEvent lists some of the detections of an event, the oldest first. ErrNotFound when
// there is no such event.
func (s *Store) DetectionsOfEvent(ctx context.Context, id int64, limit, offset int) (Listed[Detection], error) {
	var listed Listed[Detection]
	err := s.read(ctx, "list detections of an event", func(ctx context.Context, tx *sqlx.Tx) (err error) {
		if listed.Position, err = streamPosition(ctx, tx); err != nil {
			return err
		}
		event, err := oneEvent(ctx, tx, id)
		if err != nil {
			return err
		}
		listed.Count = int64(len(event.DetectionIDs))
		listed.Rows, err = detectionsByTime(ctx, tx, event.DetectionIDs, limit, offset)
		return err
	})
	return listed, err
}
