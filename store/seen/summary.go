package seen

import (
	"context"
	"fmt"
	"slices"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
)

// Bucket is how many events of a camera and level began between two bounds.
type Bucket struct {
	Index      int     `db:"bucket"` // of its lower bound
	CameraID   string  `db:"camera_id"`
	RiskLevel  *string `db:"risk_level"`
	Events     int64   `db:"events"`
	Unreviewed int64   `db:"unreviewed"`
}

// keptSpans bounds how many spans of time are kept summed up: three years of days. A span has a row
// of about 100 bytes for each camera and level that had events.
const keptSpans = 1100

// span is a time between two bounds.
type span struct{ from, before time.Time }

// keptSpan is what a span had at a revision of its days.
type keptSpan struct {
	revision int64
	buckets  []Bucket
}

// summaries keeps sums of spans. Each is behind the revision of the days that it touches, which is
// read each time: what changed is counted anew.
type summaries struct{ kept *lru.Cache[span, keptSpan] }

func newSummaries() summaries {
	kept, err := lru.New[span, keptSpan](keptSpans)
	if err != nil {
		panic(err) // only for a size below 1
	}
	return summaries{kept}
}

// Summary counts the events between each two bounds, which rise, by camera and level. Without
// cameras it counts those of all. Spans that were asked for before, as the days of a zone are, are
// only counted again when something in them has changed.
func (s *Store) Summary(ctx context.Context, bounds []time.Time, cameraIDs []string) ([]Bucket, error) {
	buckets := make([]Bucket, 0)
	spans := make([]span, len(bounds)-1)
	for i := range spans {
		spans[i] = span{bounds[i].UTC(), bounds[i+1].UTC()}
	}
	err := s.read(ctx, "sum up events", func(ctx context.Context, tx *sqlx.Tx) error {
		revisions, err := revisionsOf(ctx, tx, spans)
		if err != nil {
			return err
		}
		known := make([]*keptSpan, len(spans))
		for i, each := range spans {
			if kept, found := s.summaries.kept.Get(each); found && kept.revision == revisions[i] {
				known[i] = &kept
			}
		}
		for first := range spans {
			if known[first] != nil {
				continue
			}
			behind := first + 1
			for behind < len(spans) && known[behind] == nil {
				behind++
			}
			counted, err := countSpans(ctx, tx, bounds[first:behind+1])
			if err != nil {
				return err
			}
			for i, of := range counted {
				known[first+i] = &keptSpan{revisions[first+i], of}
				s.summaries.kept.Add(spans[first+i], *known[first+i])
			}
		}
		for i, each := range known {
			for _, bucket := range each.buckets {
				if len(cameraIDs) == 0 || slices.Contains(cameraIDs, bucket.CameraID) {
					bucket.Index = i
					buckets = append(buckets, bucket)
				}
			}
		}
		return nil
	})
	return buckets, err
}

// revisionsOf are the sums of the revisions of the days that each span touches. They only rise, so
// that equal ones are of the same rows.
func revisionsOf(ctx context.Context, tx *sqlx.Tx, spans []span) ([]int64, error) {
	var days []struct {
		Day      time.Time `db:"day"`
		Revision int64     `db:"revision"`
	}
	err := tx.SelectContext(ctx, &days, `
		SELECT day, sum(revision)::bigint AS revision FROM event_days
		WHERE day BETWEEN ($1::timestamptz AT TIME ZONE 'UTC')::date AND ($2::timestamptz AT TIME ZONE 'UTC')::date GROUP BY day`,
		spans[0].from, spans[len(spans)-1].before)
	if err != nil {
		return nil, fmt.Errorf("revisions: %w", err)
	}
	of := make(map[string]int64, len(days))
	for _, day := range days {
		of[day.Day.Format(time.DateOnly)] = day.Revision
	}
	revisions := make([]int64, len(spans))
	for i, each := range spans {
		for day := each.from.Truncate(24 * time.Hour); day.Before(each.before); day = day.AddDate(0, 0, 1) {
			revisions[i] += of[day.Format(time.DateOnly)]
		}
	}
	return revisions, nil
}

// countSpans counts the rows between each two bounds.
func countSpans(ctx context.Context, tx *sqlx.Tx, bounds []time.Time) ([][]Bucket, error) {
	var rows []Bucket
	err := tx.SelectContext(ctx, &rows, `
		SELECT width_bucket(started_at, $1::timestamptz[]) - 1 AS bucket, camera_id, risk_level, count(*) AS events,
		       count(*) FILTER (WHERE NOT reviewed) AS unreviewed
		FROM events WHERE started_at >= $2 AND started_at < $3
		GROUP BY 1, 2, 3 ORDER BY 1, 2, 3`, pq.Array(bounds), bounds[0], bounds[len(bounds)-1])
	if err != nil {
		return nil, fmt.Errorf("count: %w", err)
	}
	counted := make([][]Bucket, len(bounds)-1)
	for _, row := range rows {
		counted[row.Index] = append(counted[row.Index], row)
	}
	return counted, nil
}
