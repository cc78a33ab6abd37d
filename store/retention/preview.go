package retention

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/jmoiron/sqlx"

	"hsi.home.arpa/store/media"
)

// fetchSize is how many rows of a cursor are held at once.
const fetchSize = 1000

// preview counts what is due, in one snapshot of the database and without a lock.
func (s *Service) preview(ctx context.Context, p plan, report *Report) error {
	return s.snapshot(ctx, func(tx *sqlx.Tx) error { return s.previewIn(ctx, tx, p, report) })
}

func (s *Service) previewIn(ctx context.Context, tx *sqlx.Tx, p plan, report *Report) error {
	if err := countRows(ctx, tx, p, report); err != nil {
		return err
	}
	files := s.media.Preview()
	defer files.Close()
	var removed media.Removed
	for _, kind := range []media.Kind{media.Thumbnail, media.Clip, media.Image} {
		query, args := s.dueFiles(kind, p)
		err := eachRow(ctx, tx, query, args, func(row fileRow) error {
			one, err := files.Look(ctx, media.Candidate{
				Kind: kind, Path: row.Path, SizeBytes: row.SizeBytes.Int64, ModTime: row.ModTime.Time,
			})
			removed.Add(one)
			return err
		})
		if err != nil && !p.mayIgnore(err) {
			return fmt.Errorf("preview files of kind %q: %w", kind, err)
		}
	}
	report.take(removed)
	return nil
}

func countRows(ctx context.Context, tx *sqlx.Tx, p plan, report *Report) error {
	for query, count := range map[string]*int64{
		`SELECT count(*) FROM events AS e WHERE ` + eventDue: &report.EventsDeleted,
		`SELECT (SELECT count(*) FROM events AS e JOIN detections AS d ON d.event_id = e.id WHERE ` + eventDue + `)
			+ (SELECT count(*) FROM detections AS d WHERE ` + strayDue + `)`: &report.DetectionsDeleted,
		`SELECT count(*) FROM gpu_stats WHERE ` + gpuSamples.due(): &report.GPUStatsDeleted,
		`SELECT count(*) FROM logs WHERE ` + logLines.due():        &report.LogsDeleted,
	} {
		if err := tx.GetContext(ctx, count, query, p.cutoff); err != nil {
			return fmt.Errorf("count what is due: %w", err)
		}
	}
	return nil
}

// fileRow is a file that the run would mark or has already marked. Size and time are of images
// only.
type fileRow struct {
	Path      string        `db:"path"`
	SizeBytes sql.NullInt64 `db:"size_bytes"`
	ModTime   sql.NullTime  `db:"mtime"`
}

// dueFiles is the query for the files that a run would let go, each once: those of due rows, as
// long as no row that stays names them too, and those marked earlier and not gone yet.
func (s *Service) dueFiles(kind media.Kind, p plan) (query string, args []any) {
	// Only the first spelling within the folder's prefix is ours, see media.
	const relative = `CASE WHEN starts_with(path, $3) AND substr(path, length($3) + 1, 1) <> '/' THEN substr(path, length($3) + 1) ELSE path END`
	switch kind {
	case media.Thumbnail:
		return `
		SELECT DISTINCT ` + relative + ` AS path FROM (
			SELECT d.thumbnail_path FROM events AS e JOIN detections AS d ON d.event_id = e.id
				WHERE d.thumbnail_path IS NOT NULL AND ` + eventDue + `
			UNION ALL SELECT d.thumbnail_path FROM detections AS d WHERE d.thumbnail_path IS NOT NULL AND ` + strayDue + `
			UNION ALL ` + markedBefore + ` AND m.kind = 'thumbnail'
		) AS due (path)
		WHERE NOT EXISTS (SELECT FROM detections AS d WHERE d.thumbnail_path = due.path AND NOT ` + detectionDue + `)
			AND NOT EXISTS (SELECT FROM detections AS d WHERE d.thumbnail_path = ` + media.OtherSpelling("due.path", "$3") + `
				AND NOT ` + detectionDue + `)`, []any{p.cutoff, p.at, s.media.Prefix(kind)}
	case media.Clip:
		return `
		SELECT DISTINCT ` + relative + ` AS path FROM (
			SELECT e.clip_path FROM events AS e WHERE e.clip_path IS NOT NULL AND ` + eventDue + `
			UNION ALL ` + markedBefore + ` AND m.kind = 'clip'
		) AS due (path)
		WHERE NOT EXISTS (SELECT FROM events AS e WHERE e.clip_path = due.path AND NOT ` + eventDue + `)
			AND NOT EXISTS (SELECT FROM events AS e WHERE e.clip_path = ` + media.OtherSpelling("due.path", "$3") + `
				AND NOT ` + eventDue + `)`, []any{p.cutoff, p.at, s.media.Prefix(kind)}
	case media.Image:
		if p.deleteImages {
			return `
			SELECT i.file_path AS path, i.size_bytes, i.mtime FROM images AS i
			WHERE (i.state = 'expired' OR ` + imageExpires + `)
				AND NOT EXISTS (SELECT FROM media_deletions AS m
					WHERE m.path = i.file_path AND m.image_id = i.id AND m.not_before > $2)`, []any{p.cutoff, p.at}
		}
		return `
		SELECT DISTINCT i.file_path AS path, i.size_bytes, i.mtime FROM images AS i JOIN media_deletions AS m ON m.image_id = i.id
		WHERE m.kind = 'image' AND i.state = 'expired' AND (m.not_before IS NULL OR m.not_before <= $1)`, []any{p.at}
	}
	return "", nil
}

// markedBefore selects the files that a run before this one marked; $2 is now.
const markedBefore = `SELECT m.path FROM media_deletions AS m WHERE (m.not_before IS NULL OR m.not_before <= $2)`

// eachRow reads a query through a cursor, so that neither side holds all rows.
func eachRow[T any](ctx context.Context, tx *sqlx.Tx, query string, args []any, use func(row T) error) error {
	if _, err := tx.ExecContext(ctx, `DECLARE due_rows NO SCROLL CURSOR FOR `+query, args...); err != nil {
		return fmt.Errorf("open the cursor: %w", err)
	}
	// The cursor is closed with the transaction when this ends early.
	for {
		rows := make([]T, 0, fetchSize)
		if err := tx.SelectContext(ctx, &rows, fmt.Sprintf(`FETCH %d FROM due_rows`, fetchSize)); err != nil {
			return fmt.Errorf("read the cursor: %w", err)
		}
		for _, row := range rows {
			if err := use(row); err != nil {
				return err
			}
		}
		if len(rows) < fetchSize {
			break
		}
	}
	if _, err := tx.ExecContext(ctx, `CLOSE due_rows`); err != nil {
		return fmt.Errorf("close the cursor: %w", err)
	}
	return nil
}

// take adds removed files to the report.
func (r *Report) take(removed media.Removed) {
	r.ThumbnailsDeleted += removed.Thumbnails
	r.ImagesDeleted += removed.Images
	r.SpaceReclaimedBytes += removed.Bytes
	r.FilesFailed += removed.Failed
}
