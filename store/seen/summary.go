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

// Summary counts the events between each two bounds, which rise, by camera and level: those of the
// cameras and with one of the object types, as far as there are any. Without types, spans that were
// asked for before, as the days of a zone are, are only counted again when something in them has
// changed.
func (s *Store) Summary(
	ctx context.Context, bounds []time.Time, cameraIDs, types []string,
) ([]Bucket, error) {
	buckets := make([]Bucket, 0)
	err := s.read(ctx, "sum up events", func(ctx context.Context, tx *sqlx.Tx) error {
		var counted [][]Bucket
		var err error
		if len(types) == 0 {
			counted, err = s.countOrRecall(ctx, tx, bounds)
		} else { // the revision of a day does not move when the types of its events change
			counted, err = countSpans(ctx, tx, bounds, objectTypes(types))
		}
		if err != nil {
			return err
		}
		for i, each := range counted {
			for _, bucket := range each {
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

// countOrRecall counts the rows between each two bounds, except where the sum is kept.
func (s *Store) countOrRecall(
	ctx context.Context, tx *sqlx.Tx, bounds []time.Time,
) ([][]Bucket, error) {
	spans := make([]span, len(bounds)-1)
	for i := range spans {
		spans[i] = span{bounds[i].UTC(), bounds[i+1].UTC()}
	}
	revisions, err := revisionsOf(ctx, tx, spans)
	if err != nil {
		return nil, err
	}
	sums, known := make([][]Bucket, len(spans)), make([]bool, len(spans))
	for i, each := range spans {
		if kept, found := s.summaries.kept.Get(each); found && kept.revision == revisions[i] {
			sums[i], known[i] = kept.buckets, true
		}
	}
	for first := range spans {
		if known[first] {
			continue
		}
		behind := first + 1
		for behind < len(spans) && !known[behind] {
			behind++
		}
		counted, err := countSpans(ctx, tx, bounds[first:behind+1], nil)
		if err != nil {
			return nil, err
		}
		for i, of := range counted {
			sums[first+i], known[first+i] = of, true
			s.summaries.kept.Add(spans[first+i], keptSpan{revisions[first+i], of})
		}
	}
	return sums, nil
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
	revisions := make([]int64, len(spans))
	for i, each := range spans {
		first := each.from.Truncate(24 * time.Hour)
		for _, of := range days { // few have events, however long the span is
			if !of.Day.Before(first) && of.Day.Before(each.before) {
				revisions[i] += of.Revision
			}
		}
	}
	return revisions, nil
}

// countSpans counts the rows between each two bounds, or those with one of the types.
func countSpans(
	ctx context.Context, tx *sqlx.Tx, bounds []time.Time, types []string,
) ([][]Bucket, error) {
	args := arguments{pq.Array(bounds), bounds[0], bounds[len(bounds)-1]}
	ofTypes := ""
	if len(types) > 0 {
		ofTypes = `AND id IN (SELECT event_id FROM event_objects
			WHERE object_type = ANY (` + args.add(pq.Array(types)) + `::text[])
			  AND started_at >= $2 AND started_at < $3)`
		// Both sides are ranges of indexes. A look-up for each event takes several times as long as
		// a hash of one side, and for so few rows more processes gain nothing.
		const settings = `SET LOCAL enable_nestloop = off; SET LOCAL max_parallel_workers_per_gather = 0`
		if _, err := tx.ExecContext(ctx, settings); err != nil {
			return nil, fmt.Errorf("settings: %w", err)
		}
	}
	var rows []Bucket
	err := tx.SelectContext(ctx, &rows, `
		SELECT width_bucket(started_at, $1::timestamptz[]) - 1 AS bucket, camera_id, risk_level, count(*) AS events,
		       count(*) FILTER (WHERE NOT reviewed) AS unreviewed
		FROM events WHERE started_at >= $2 AND started_at < $3 `+ofTypes+`
		GROUP BY 1, 2, 3 ORDER BY 1, 2, 3`, args...)
	if err != nil {
		return nil, fmt.Errorf("count: %w", err)
	}
	counted := make([][]Bucket, len(bounds)-1)
	for _, row := range rows {
		counted[row.Index] = append(counted[row.Index], row)
	}
	return counted, nil
}
