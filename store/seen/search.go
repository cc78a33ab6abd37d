package seen

import (
	"context"
	"fmt"
	"maps"
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
		named, err := camerasNamed(ctx, tx, words)
		if err != nil {
			return err
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

// named are the cameras whose name has one of the words asked for.
type named struct {
	all []string // their ids
	// byWords are the ids of those whose events can fit, by what an event's own words must fit for
	// it; empty when there is nothing that they must.
	byWords map[string][]string
}

func camerasNamed(ctx context.Context, tx *sqlx.Tx, words string) (named, error) {
	var rows []struct {
		ID    string         `db:"id"`
		Words pq.StringArray `db:"words"`
		Asked string         `db:"asked"`
	}
	err := tx.SelectContext(ctx, &rows, `
		SELECT id, words, websearch_to_tsquery('pg_catalog.english', $1) AS asked
		FROM (SELECT id, tsvector_to_array(to_tsvector('pg_catalog.english', name)) AS words FROM cameras) AS c
		WHERE words && tsvector_to_array(to_tsvector('pg_catalog.english', $1))`, words)
	if err != nil {
		return named{}, fmt.Errorf("cameras: %w", err)
	}
	found := named{byWords: map[string][]string{}}
	for _, row := range rows {
		found.all = append(found.all, row.ID)
		if words, possible := mustFit(row.Asked, row.Words); possible {
			found.byWords[words] = append(found.byWords[words], row.ID)
		}
	}
	return found, nil
}

// What PostgreSQL makes of what people can ask for: words or phrases, perhaps negated, that & and
// then | combine. No word has a space.
const (
	askedWord   = `'(?:[^']|'')*'`
	askedPhrase = askedWord + `(?: <(?:-|\d+)> ` + askedWord + `)*`
)

var (
	askedWords = regexp.MustCompile(askedWord)
	askedPart  = regexp.MustCompile(`^(?:` + askedPhrase + `|!` + askedWord + `|!\( ` + askedPhrase + ` \))$`)
)

// mustFit leaves of a query what other words must fit so that they do together with the words of a
// name. Empty: there is nothing. It may leave too little, where words of both make a phrase, and
// never too much.
func mustFit(asked string, name []string) (words string, possible bool) {
	var anyOf []string
	needsNone := false
	for conjunction := range strings.SplitSeq(asked, " | ") {
		var allOf []string
		fits := true
		for part := range strings.SplitSeq(conjunction, " & ") {
			if !askedPart.MatchString(part) {
				return "", true // not understood
			}
			its := askedWords.FindAllString(part, -1)
			isNamed := slices.ContainsFunc(its, func(quoted string) bool {
				return slices.Contains(name, strings.ReplaceAll(quoted[1:len(quoted)-1], "''", "'"))
			})
			switch {
			case !isNamed:
				allOf = append(allOf, part)
			case part[0] == '!' && len(its) == 1:
				fits = false
			}
		}
		if !fits {
			continue
		}
		possible = true
		needsNone = needsNone || len(allOf) == 0
		anyOf = append(anyOf, strings.Join(allOf, " & "))
	}
	if needsNone {
		return "", true
	}
	return strings.Join(anyOf, " | "), possible
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

// searchQuery ranks the newest events that fit. Each row has the number of what fits; an empty page is one row with id 0.
func searchQuery(words string, named named, filter EventFilter, limit, offset int) (query string, args arguments) {
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
		// What the event's own words must fit has an index, and the planner knows how many do: few
		// are found by it and sorted, of many the newest are looked at first. Of the rest it knows
		// nothing and would take it for rare, but for the CASE: then it takes half to fit.
		const both = "(e.search_vector || to_tsvector('pg_catalog.english', c.name))"
		for _, own := range slices.Sorted(maps.Keys(named.byWords)) {
			ofNamed := slices.Concat(conditions, []string{
				"e.camera_id = ANY (" + args.add(pq.Array(named.byWords[own])) + "::text[])",
				"CASE WHEN " + both + " @@ " + asked + " THEN true ELSE false END",
			})
			if own != "" {
				ofNamed = append(ofNamed, "e.search_vector @@ "+args.add(own)+"::tsquery")
			}
			fit += newest("events AS e JOIN cameras AS c ON c.id = e.camera_id",
				"ts_rank("+both+", "+asked+")", ofNamed...) + " UNION ALL "
		}
		all := slices.Clip(conditions)
		if len(named.all) > 0 {
			all = append(all, "e.camera_id <> ALL ("+args.add(pq.Array(named.all))+"::text[])")
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
