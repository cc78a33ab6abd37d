package seen

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
)

// MaxMatches is how many of the newest events that fit some words are ranked.
const MaxMatches = 2000

// Match is an event with how well it fits: more is better, 0 when only the camera's name fits.
type Match struct {
	Event

	Relevance float64
}

// Matches is one page of what fits some words, the best first.
type Matches struct {
	Rows           []Match
	Count          int64 // up to MaxMatches
	CountIsMinimum bool
	Position       string // see Listed
}

// Search finds events by words, as websearch_to_tsquery reads them, in any form that a person may
// type. The filter narrows it, but for its score and hours. A camera's name is read as part of its
// events, as it is now.
func (s *Store) Search(ctx context.Context, words string, filter EventFilter, limit, offset int) (Matches, error) {
	words = withMinus(strings.ToValidUTF8(strings.ReplaceAll(words, "\x00", " "), " "))
	var matches Matches
	err := s.read(ctx, "search events", func(ctx context.Context, tx *sqlx.Tx) error {
		var err error
		if matches.Position, err = streamPosition(ctx, tx); err != nil {
			return err
		}
		var named []string
		err = tx.SelectContext(ctx, &named, `
			SELECT id FROM cameras
			WHERE tsvector_to_array(to_tsvector('pg_catalog.english', name)) &&
			      tsvector_to_array(to_tsvector('pg_catalog.english', $1))`, words)
		if err != nil {
			return fmt.Errorf("cameras: %w", err)
		}
		var ranked []struct {
			ID    int64   `db:"id"`
			Rank  float64 `db:"rank"`
			Total int64   `db:"total"`
		}
		query, args := searchQuery(words, named, filter, limit, offset)
		if err := tx.SelectContext(ctx, &ranked, query, args...); err != nil {
			return fmt.Errorf("rank: %w", err)
		}
		ids := make([]int64, 0, len(ranked))
		rank := map[int64]float64{}
		for _, row := range ranked {
			matches.Count = row.Total
			if row.ID != 0 {
				ids = append(ids, row.ID)
				rank[row.ID] = row.Rank
			}
		}
		events, err := EventsByID(ctx, tx, ids)
		if err != nil {
			return err
		}
		matches.Rows = make([]Match, len(events))
		for i, event := range events {
			matches.Rows[i] = Match{event, rank[event.ID]}
		}
		matches.CountIsMinimum = matches.Count > MaxMatches
		matches.Count = min(matches.Count, MaxMatches)
		return nil
	})
	return matches, err
}

// withMinus writes NOT before a word as the minus that websearch_to_tsquery reads; for it NOT is a
// word like any other. In quotes it is one. Spaces around the words are dropped.
func withMinus(words string) string {
	parts := strings.Split(words, `"`)
	for i := 0; i < len(parts); i += 2 { // those outside of quotes
		parts[i] = notBefore.ReplaceAllString(parts[i], "$1-")
	}
	return strings.TrimSpace(strings.Join(parts, `"`))
}

// notBefore is NOT with the spaces behind it.
var notBefore = regexp.MustCompile(`(^|\s)NOT\s+`)

// searchQuery ranks the newest events that fit. named are the cameras whose name has one of the
// words. Each row has the number of what fits; an empty page is one row with id 0.
func searchQuery(words string, named []string, filter EventFilter, limit, offset int) (query string, args arguments) {
	conditions := rangeOf("e.started_at", filter.From, filter.Before, &args)
	if len(filter.CameraIDs) > 0 {
		conditions = append(conditions, "e.camera_id = ANY ("+args.add(pq.Array(filter.CameraIDs))+"::text[])")
	}
	if len(filter.RiskLevels) > 0 {
		conditions = append(conditions, "e.risk_level = ANY ("+args.add(pq.Array(filter.RiskLevels))+"::text[])")
	}
	if len(filter.ObjectTypes) > 0 {
		conditions = append(conditions,
			"EXISTS (SELECT FROM event_objects AS o WHERE o.event_id = e.id AND o.object_type = ANY ("+
				args.add(pq.Array(objectTypes(filter.ObjectTypes)))+"::text[]))")
	}
	if filter.Reviewed != nil {
		conditions = append(conditions, fmt.Sprintf("e.reviewed = %t", *filter.Reviewed))
	}
	newest := func(from, rank string, conditions ...string) string {
		where := ""
		if len(conditions) > 0 {
			where = "WHERE " + strings.Join(conditions, " AND ")
		}
		return fmt.Sprintf("(SELECT e.id, e.started_at, %s AS rank FROM %s %s ORDER BY e.started_at DESC, e.id DESC LIMIT %d)",
			rank, from, where, MaxMatches+1)
	}
	var fit string
	if words == "" {
		fit = newest("events AS e", "0::real", conditions...)
	} else {
		asked := "websearch_to_tsquery('pg_catalog.english', " + args.add(words) + "::text)"
		all := slices.Clip(conditions)
		if len(named) > 0 {
			cameras := args.add(pq.Array(named)) + "::text[]"
			const both = "(e.search_vector || to_tsvector('pg_catalog.english', c.name))"
			fit = newest("events AS e JOIN cameras AS c ON c.id = e.camera_id", "ts_rank("+both+", "+asked+")",
				append(all, "e.camera_id = ANY ("+cameras+")", both+" @@ "+asked)...) + " UNION ALL "
			all = append(all, "e.camera_id <> ALL ("+cameras+")")
		}
		fit += newest("events AS e", "ts_rank(e.search_vector, "+asked+")", append(all, "e.search_vector @@ "+asked)...)
	}
	query = fmt.Sprintf(`
		WITH fit AS MATERIALIZED (
			SELECT id, started_at, rank FROM (%s) AS f ORDER BY started_at DESC, id DESC LIMIT %d
		), ranked AS (
			SELECT id, started_at, rank FROM (SELECT * FROM fit ORDER BY started_at DESC, id DESC LIMIT %d) AS n
			ORDER BY rank DESC, started_at DESC, id DESC LIMIT %d OFFSET %d
		)
		SELECT coalesce(r.id, 0) AS id, coalesce(r.rank, 0) AS rank, t.total
		FROM (SELECT count(*) AS total FROM fit) AS t LEFT JOIN ranked AS r ON true
		ORDER BY r.rank DESC, r.started_at DESC, r.id DESC`,
		fit, MaxMatches+1, MaxMatches, limit, offset)
	return query, args
}
