package seen

import (
	"context"
	"fmt"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
)

// CameraCount is how many events a camera has.
type CameraCount struct {
	CameraID string `db:"camera_id"`
	Name     string `db:"name"` // Unknown when the camera is gone
	Events   int64  `db:"events"`
}

// Stats are counts of events.
type Stats struct {
	Total    int64
	ByLevel  map[string]int64 // by the level as it was stored; events without one are in Total alone
	ByCamera []CameraCount    // by falling count
}

// EventStats counts the events of a time range.
func (s *Store) EventStats(ctx context.Context, from, before *time.Time) (Stats, error) {
	stats := Stats{ByLevel: map[string]int64{}, ByCamera: make([]CameraCount, 0)}
	err := s.read(ctx, "count events", func(ctx context.Context, tx *sqlx.Tx) error {
		var rows []struct {
			CameraID  string  `db:"camera_id"`
			RiskLevel *string `db:"risk_level"`
			Events    int64   `db:"events"`
		}
		err := tx.SelectContext(ctx, &rows, `
			SELECT camera_id, risk_level, count(*) AS events FROM events
			WHERE started_at >= coalesce($1::timestamptz, '-infinity') AND started_at < coalesce($2::timestamptz, 'infinity')
			GROUP BY camera_id, risk_level`, from, before)
		if err != nil {
			return fmt.Errorf("count: %w", err)
		}
		var cameras []string
		byCamera := map[string]int64{}
		for _, row := range rows {
			stats.Total += row.Events
			if row.RiskLevel != nil {
				stats.ByLevel[*row.RiskLevel] += row.Events
			}
			if byCamera[row.CameraID] == 0 {
				cameras = append(cameras, row.CameraID)
			}
			byCamera[row.CameraID] += row.Events
		}
		counts := make([]int64, len(cameras))
		for i, id := range cameras {
			counts[i] = byCamera[id]
		}
		return tx.SelectContext(ctx, &stats.ByCamera, `
			SELECT n.camera_id, coalesce(c.name, 'Unknown') AS name, n.events
			FROM unnest($1::text[], $2::bigint[]) AS n (camera_id, events) LEFT JOIN cameras AS c ON c.id = n.camera_id
			ORDER BY n.events DESC, n.camera_id`, pq.Array(cameras), pq.Array(counts))
	})
	return stats, err
}
