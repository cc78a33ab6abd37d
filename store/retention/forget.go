package retention

import (
	"context"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"

	"hsi.home.arpa/store"
	"hsi.home.arpa/store/media"
)

// forgetPage and forgetPause hold the look at old image files to about 5,000 a second.
const (
	forgetPage  = 500
	forgetPause = 100 * time.Millisecond
)

// oldImage is a ledger row that is finished and older than the cut-off.
type oldImage struct {
	ID   int64  `db:"id"`
	Path string `db:"file_path"`
}

// forget removes ledger rows that nobody needs any more: finished, older than the cut-off, without
// detections, and without a file, which somebody else has deleted. A row whose file is there stays,
// or the next scan would take the file for a new image.
func (s *Service) forget(ctx context.Context, cutoff time.Time) error {
	var after int64
	for {
		var page []oldImage
		err := s.db.SQL().SelectContext(ctx, &page, `
			SELECT i.id, i.file_path FROM images AS i
			WHERE i.id > $1 AND i.state IN ('expired', 'filtered', 'dead_lettered') AND i.seen_at < $2 AND i.batch_id IS NULL
				AND NOT EXISTS (SELECT FROM detections AS d WHERE d.image_id = i.id)
			ORDER BY i.id LIMIT $3`, after, cutoff, forgetPage)
		if err != nil {
			return store.Classify(ctx, "find finished images", err)
		}
		if len(page) == 0 {
			return nil
		}
		after = page[len(page)-1].ID
		if err := s.forgetImages(ctx, s.withoutFile(ctx, page)); err != nil {
			return err
		}
		if !sleep(ctx, forgetPause) {
			return ctx.Err()
		}
	}
}

// withoutFile returns the images whose file is certainly gone.
func (s *Service) withoutFile(ctx context.Context, page []oldImage) (gone []int64) {
	files := s.media.Preview()
	defer files.Close()
	for _, image := range page {
		if files.Gone(ctx, media.Image, image.Path) {
			gone = append(gone, image.ID)
		}
	}
	return gone
}

func (s *Service) forgetImages(ctx context.Context, ids []int64) error {
	if len(ids) == 0 {
		return nil
	}
	return s.db.InTx(ctx, "forget images", func(ctx context.Context, tx *sqlx.Tx) error {
		_, err := tx.ExecContext(ctx, `DELETE FROM images WHERE id = ANY ($1) AND state IN ('expired', 'filtered', 'dead_lettered')`,
			pq.Array(ids))
		return err
	})
}
