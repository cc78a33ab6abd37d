package seen

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
	"golang.org/x/sync/errgroup"

	"hsi.home.arpa/store"
)

// Bucket is how many events of a camera and level began between two bounds.
type Bucket struct {
	CameraID   string  `db:"camera_id"`
	RiskLevel  *string `db:"risk_level"`
	Events     int64   `db:"events"`
	Unreviewed int64   `db:"unreviewed"`
}

// Sum is what began between two bounds, by camera and level. It may be kept: it must not be
// changed.
type Sum struct {
	Buckets []Bucket
	Form    *Form // for the form in which clients get the buckets
}

const (
	// keptSumBytes bounds the sums that are kept: a year of days of 50 cameras in two zones.
	keptSumBytes = 32 << 20
	// spansAtOnce is how many spans are counted by one statement where a second could help.
	spansAtOnce = 8
)

// span is a time between two bounds.
type span struct{ from, before time.Time }

// keptSum is what a span had at a revision of its days.
type keptSum struct {
	revision int64
	sum      Sum
}

// summaries keeps sums of spans. Each is behind the revision of the days that it touches, which is
// read each time: what changed is counted anew.
type summaries struct{ kept *cache[span, keptSum] }

func newSummaries() summaries { return summaries{newCache[span, keptSum](keptSumBytes)} }

// Summary counts the events between each two bounds, which rise, by camera and level: those of the
// cameras and with one of the object types, as far as there are any. Without types, spans that were
// asked for before, as the days of a zone are, are only counted again when something in them has
// changed.
func (s *Store) Summary(
	ctx context.Context, bounds []time.Time, cameraIDs, types []string,
) (sums []Sum, err error) {
	if len(types) == 0 {
		sums, err = s.countOrRecall(ctx, bounds)
	} else { // the revision of a day does not move when the types of its events change
		err = s.read(ctx, opSummary, func(ctx context.Context, tx *sqlx.Tx) error {
			sums, err = countOfTypes(ctx, tx, bounds, objectTypes(types))
			return err
		})
	}
	if err != nil || len(cameraIDs) == 0 {
		return sums, err
	}
	for i := range sums {
		var of []Bucket
		for _, bucket := range sums[i].Buckets {
			if slices.Contains(cameraIDs, bucket.CameraID) {
				of = append(of, bucket)
			}
		}
		sums[i] = Sum{Buckets: of}
	}
	return sums, nil
}

const opSummary = "sum up events"

// countOrRecall counts the rows between each two bounds, except where the sum is kept.
func (s *Store) countOrRecall(ctx context.Context, bounds []time.Time) ([]Sum, error) {
	if err := s.db.Ready(); err != nil {
		return nil, fmt.Errorf("%s: %w", opSummary, err)
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	spans := make([]span, len(bounds)-1)
	for i := range spans {
		spans[i] = span{bounds[i].UTC(), bounds[i+1].UTC()}
	}
	// Before the rows: what is kept is never older than its revision.
	revisions, err := revisionsOf(ctx, s.db.SQL(), spans)
	if err != nil {
		return nil, store.Classify(ctx, opSummary, err)
	}
	sums := make([]Sum, len(spans))
	var unknown []int // places in spans
	for i, each := range spans {
		if kept, found := s.summaries.kept.get(each); found && kept.revision == revisions[i] {
			sums[i] = kept.sum
		} else {
			unknown = append(unknown, i)
		}
	}
	group, groupCtx := errgroup.WithContext(ctx)
	for _, part := range halves(unknown) {
		group.Go(func() error {
			return store.Classify(groupCtx, opSummary, countSpans(groupCtx, s.db.SQL(), spans, part, sums))
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	for _, i := range unknown {
		bytes := 300
		for _, bucket := range sums[i].Buckets {
			bytes += 250 + 2*len(bucket.CameraID)
		}
		s.summaries.kept.add(spans[i], keptSum{revisions[i], sums[i]}, bytes)
	}
	return sums, nil
}

// halves are parts that are worth a statement of their own: the database counts each in a process.
func halves(all []int) [][]int {
	switch {
	case len(all) == 0:
		return nil
	case len(all) <= spansAtOnce:
		return [][]int{all}
	}
	return [][]int{all[:len(all)/2], all[len(all)/2:]}
}

// revisionsOf are the sums of the revisions of the days that each span touches. They only rise, so
// that equal ones are of the same rows.
func revisionsOf(ctx context.Context, q sqlx.QueryerContext, spans []span) ([]int64, error) {
	var days []struct {
		Day      time.Time `db:"day"`
		Revision int64     `db:"revision"`
	}
	err := sqlx.SelectContext(ctx, q, &days, `
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

// countSpans counts the rows of the spans at these places. It reads a range of the index for each
// span, which costs half of finding the span of each row.
func countSpans(ctx context.Context, q sqlx.QueryerContext, spans []span, places []int, sums []Sum) error {
	var from, before []time.Time
	for _, place := range places {
		sums[place].Form = &Form{}
		from, before = append(from, spans[place].from), append(before, spans[place].before)
	}
	rows, err := q.QueryContext(ctx, `
		SELECT s.place, r.camera_id, r.risk_level, r.events, r.unreviewed
		FROM unnest($1::timestamptz[], $2::timestamptz[]) WITH ORDINALITY AS s (from_at, before_at, place)
		CROSS JOIN LATERAL (
			SELECT e.camera_id, e.risk_level, count(*) AS events,
			       count(*) FILTER (WHERE NOT e.reviewed) AS unreviewed
			FROM events AS e WHERE e.started_at >= s.from_at AND e.started_at < s.before_at
			GROUP BY e.camera_id, e.risk_level) AS r`, pq.Array(from), pq.Array(before))
	if err != nil {
		return fmt.Errorf("count: %w", err)
	}
	defer func() { _ = rows.Close() }() // rows.Err says it
	for rows.Next() {
		var place int
		var bucket Bucket
		err := rows.Scan(&place, &bucket.CameraID, &bucket.RiskLevel, &bucket.Events, &bucket.Unreviewed)
		if err != nil {
			return fmt.Errorf("count: %w", err)
		}
		sum := &sums[places[place-1]]
		sum.Buckets = append(sum.Buckets, bucket)
	}
	for _, place := range places {
		sortBuckets(sums[place].Buckets)
	}
	return rows.Err()
}

// sortBuckets sorts by camera and level, those without a level last.
func sortBuckets(buckets []Bucket) {
	slices.SortFunc(buckets, func(a, b Bucket) int {
		if order := cmp.Compare(a.CameraID, b.CameraID); order != 0 {
			return order
		}
		switch {
		case a.RiskLevel == nil:
			return 1 // there are no two of them
		case b.RiskLevel == nil:
			return -1
		}
		return cmp.Compare(*a.RiskLevel, *b.RiskLevel)
	})
}

// countOfTypes counts the rows between each two bounds that have one of the types.
func countOfTypes(
	ctx context.Context, tx *sqlx.Tx, bounds []time.Time, types []string,
) ([]Sum, error) {
	// Both sides are ranges of indexes. A look-up for each event takes several times as long as a
	// hash of one side, and for so few rows more processes gain nothing.
	const settings = `SET LOCAL enable_nestloop = off; SET LOCAL max_parallel_workers_per_gather = 0`
	if _, err := tx.ExecContext(ctx, settings); err != nil {
		return nil, fmt.Errorf("settings: %w", err)
	}
	var rows []struct {
		Bucket

		Place int `db:"place"`
	}
	err := tx.SelectContext(ctx, &rows, `
		SELECT width_bucket(started_at, $1::timestamptz[]) AS place, camera_id, risk_level, count(*) AS events,
		       count(*) FILTER (WHERE NOT reviewed) AS unreviewed
		FROM events WHERE started_at >= $2 AND started_at < $3
		  AND id IN (SELECT event_id FROM event_objects
			WHERE object_type = ANY ($4::text[]) AND started_at >= $2 AND started_at < $3)
		GROUP BY 1, 2, 3`, pq.Array(bounds), bounds[0], bounds[len(bounds)-1], pq.Array(types))
	if err != nil {
		return nil, fmt.Errorf("count: %w", err)
	}
	sums := make([]Sum, len(bounds)-1)
	for _, row := range rows {
		sum := &sums[row.Place-1]
		sum.Buckets = append(sum.Buckets, row.Bucket)
	}
	for _, sum := range sums {
		sortBuckets(sum.Buckets)
	}
	return sums, nil
}
