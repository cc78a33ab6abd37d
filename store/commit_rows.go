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

// The statements of CommitDetections. Arrays keep each the same for any number of rows, so that it
// is planned once.

// startBatch opens a batch with the image in it; nil when the camera has an open batch by now.
func startBatch(ctx context.Context, tx *sqlx.Tx, img Image, result DetectionResult) (*openBatch, error) {
	var batch Batch
	err := tx.GetContext(ctx, &batch, `
		INSERT INTO batches (camera_id, opened_at, last_at, first_seen_at, image_count, detection_count)
		VALUES ($1, $2, $2, $3, 1, $4)
		ON CONFLICT (camera_id) WHERE closed_at IS NULL DO NOTHING
		RETURNING `+batchColumns,
		img.CameraID, storable(result.ImageAt), img.SeenAt, len(result.Detections))
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil //nolint:nilnil // none was started, which is no error
	}
	if err != nil {
		return nil, fmt.Errorf("start batch: %w", err)
	}
	batch.toUTC()
	return &openBatch{Batch: batch}, nil
}

// growBatches writes what was added to batches whose rows the transaction holds.
func growBatches(ctx context.Context, tx *sqlx.Tx, batches ...*openBatch) error {
	var (
		ids, images, detections                          []int64
		openedTimes, lastTimes, touchedTimes, firstTimes []string
	)
	for _, b := range batches {
		if !b.grown {
			continue
		}
		b.grown = false
		ids, images, detections = append(ids, b.ID), append(images, int64(b.ImageCount)), append(detections, int64(b.DetectionCount))
		openedTimes, lastTimes = append(openedTimes, timestamp(b.OpenedAt)), append(lastTimes, timestamp(b.LastAt))
		touchedTimes, firstTimes = append(touchedTimes, timestamp(b.TouchedAt)), append(firstTimes, timestamp(b.FirstSeenAt))
	}
	if len(ids) == 0 {
		return nil
	}
	_, err := tx.ExecContext(ctx, `
		UPDATE batches AS b
		SET opened_at = g.opened_at, last_at = g.last_at, touched_at = g.touched_at, first_seen_at = g.first_seen_at,
		    image_count = g.image_count, detection_count = g.detection_count
		FROM unnest($1::bigint[], $2::timestamptz[], $3::timestamptz[], $4::timestamptz[], $5::timestamptz[], $6::integer[], $7::integer[])
			AS g (id, opened_at, last_at, touched_at, first_seen_at, image_count, detection_count)
		WHERE b.id = g.id`,
		pq.Array(ids), pq.Array(openedTimes), pq.Array(lastTimes), pq.Array(touchedTimes), pq.Array(firstTimes), pq.Array(images), pq.Array(detections))
	if err != nil {
		return fmt.Errorf("grow batches: %w", err)
	}
	return nil
}

func timestamp(t time.Time) string { return storable(t).Format(time.RFC3339Nano) }

// write stores the detections and moves the images on, and notes in images how they stand now. It
// returns the ids of each image's detections.
func (c *detectionCommit) write(ctx context.Context, images map[int64]*Image, detected []Detected) (map[int64][]int64, error) {
	grown := make([]*openBatch, 0, len(c.open))
	for _, batch := range c.open {
		grown = append(grown, batch)
	}
	if err := growBatches(ctx, c.tx, grown...); err != nil {
		return nil, err
	}
	var rows detectionRows
	ids, batchIDs, batchedTimes := make([]int64, len(detected)), make([]*int64, len(detected)), make([]*string, len(detected))
	for i, one := range detected {
		ids[i] = one.ImageID
		if at, batched := c.batched[one.ImageID]; batched {
			joined := timestamp(at.at)
			batchIDs[i], batchedTimes[i] = &at.joined.ID, &joined
			rows.add(*images[one.ImageID], at.joined.ID, one.DetectionResult)
		}
	}
	var moved []struct {
		Image
		DetectionIDs pq.Int64Array `db:"detection_ids"`
	}
	err := c.tx.SelectContext(ctx, &moved, `
		WITH added AS (
			INSERT INTO detections (camera_id, image_id, batch_id, file_path, file_type, detector, detected_at, object_type, confidence,
				bbox_x, bbox_y, bbox_width, bbox_height, thumbnail_path, media_type,
				picture_width, picture_height)
			SELECT * FROM unnest($4::text[], $5::bigint[], $6::bigint[], $7::text[], $8::text[], $9::text[], $10::timestamptz[], $11::text[],
				$12::double precision[], $13::integer[], $14::integer[], $15::integer[], $16::integer[], $17::text[], $18::text[],
				$19::integer[], $20::integer[])
			RETURNING id, image_id
		), moved AS (
			UPDATE images AS i
			SET state = CASE WHEN r.batch_id IS NULL THEN 'filtered' ELSE 'batched' END,
			    reason = CASE WHEN r.batch_id IS NULL THEN '`+ReasonNoDetections+`' END,
			    batch_id = r.batch_id, claimed_by = NULL, claimed_until = NULL, detected_at = clock_timestamp(),
			    batched_at = r.batched_at,
			    filtered_at = CASE WHEN r.batch_id IS NULL THEN clock_timestamp() END
			FROM unnest($1::bigint[], $2::bigint[], $3::timestamptz[]) AS r (id, batch_id, batched_at) WHERE i.id = r.id
			RETURNING `+imageColumnsOf("i")+`
		)
		SELECT moved.*, (SELECT array_agg(id ORDER BY id) FROM added WHERE added.image_id = moved.id) AS detection_ids FROM moved`,
		append([]any{pq.Array(ids), pq.Array(batchIDs), pq.Array(batchedTimes)}, rows.arrays()...)...)
	if err != nil {
		return nil, fmt.Errorf("store detections: %w", err)
	}
	detectionIDs := make(map[int64][]int64, len(moved))
	for i := range moved {
		moved[i].toUTC()
		images[moved[i].ID] = &moved[i].Image
		detectionIDs[moved[i].ID] = moved[i].DetectionIDs
	}
	return detectionIDs, nil
}

// detectionRows are new rows of detections, a list for each column.
type detectionRows struct {
	cameras, paths, objectTypes, mediaTypes, times []string
	fileTypes, detectors, thumbnails               []*string
	images, batches, xs, ys, widths, heights       []int64
	confidences                                    []float64
	pictureWidths, pictureHeights                  []*int64
}

func (r *detectionRows) add(img Image, batchID int64, result DetectionResult) {
	for _, d := range result.Detections {
		mediaType := d.MediaType
		if mediaType == "" {
			mediaType = "image"
		}
		r.cameras, r.images, r.batches = append(r.cameras, img.CameraID), append(r.images, img.ID), append(r.batches, batchID)
		r.paths, r.fileTypes = append(r.paths, img.FilePath), append(r.fileTypes, nullString(result.FileType))
		r.detectors, r.times = append(r.detectors, nullString(result.Detector)), append(r.times, timestamp(result.ImageAt.Add(d.Offset)))
		r.objectTypes, r.confidences = append(r.objectTypes, clean(d.ObjectType, maxObjectType)), append(r.confidences, d.Confidence)
		r.xs, r.ys = append(r.xs, int64(d.BBoxX)), append(r.ys, int64(d.BBoxY))
		r.widths, r.heights = append(r.widths, int64(d.BBoxWidth)), append(r.heights, int64(d.BBoxHeight))
		r.thumbnails, r.mediaTypes = append(r.thumbnails, nullString(d.ThumbnailPath)), append(r.mediaTypes, mediaType)
		r.pictureWidths = append(r.pictureWidths, nullInt(d.PictureWidth))
		r.pictureHeights = append(r.pictureHeights, nullInt(d.PictureHeight))
	}
}

// arrays are the columns in the order in which the statement names them.
func (r *detectionRows) arrays() []any {
	return []any{
		pq.Array(r.cameras), pq.Array(r.images), pq.Array(r.batches), pq.Array(r.paths), pq.Array(r.fileTypes), pq.Array(r.detectors),
		pq.Array(r.times), pq.Array(r.objectTypes), pq.Array(r.confidences), pq.Array(r.xs), pq.Array(r.ys), pq.Array(r.widths),
		pq.Array(r.heights), pq.Array(r.thumbnails), pq.Array(r.mediaTypes), pq.Array(r.pictureWidths), pq.Array(r.pictureHeights),
	}
}

// nullInt makes 0 null.
func nullInt(n int) *int64 {
	if n == 0 {
		return nil
	}
	return new(int64(n))
}
