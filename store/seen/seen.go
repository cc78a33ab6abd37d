// Package seen reads what the cameras saw: cameras, events and detections, for people and their
// programs. It also keeps what people say about them: names, notes, what was reviewed. Rows of
// other programs are read like our own.
//
// A list is ordered by time and then by id. A page of it costs the same wherever it is: each filter
// alone, and a camera with each other one, has an index in that order. Whatever else is combined is
// looked for among a bounded number of rows, after which a page ends, full or not, and says where
// to read on.
package seen

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jmoiron/sqlx"

	"hsi.home.arpa/store"
)

// Bounds of one read.
const (
	// maxScanned is how many rows are looked at for one page when the filters have no index
	// together.
	maxScanned = 5000
	// MaxCount is where counting ends.
	MaxCount = 10_000
	// maxScannedForCount is how many rows are looked at to count when the filters have no index
	// together.
	maxScannedForCount = 20_000
	// maxBranches is how many index ranges one list is merged from.
	maxBranches = 100
)

// callTimeout bounds a read whose context has no deadline.
const callTimeout = 30 * time.Second

// Store reads and changes what the cameras saw.
type Store struct {
	db        *store.DB
	summaries summaries
	pages     pages
}

// New returns a Store on the database.
func New(db *store.DB) *Store {
	return &Store{db: db, summaries: newSummaries(), pages: newPages()}
}

// Position is a row's place in a list.
type Position struct {
	At time.Time
	ID int64
}

// Page says which part of a list is asked for. Offset and After exclude each other.
type Page struct {
	Limit     int       // at least 1
	Offset    int       // rows to pass over
	After     *Position // nil: from the start
	Ascending bool      // the oldest first
}

// Listed is one page of a list.
type Listed[T any] struct {
	Rows []T
	// Next is where the next page begins, nil when there is none.
	Next *Position
	// Count is how many rows fit the filters, up to MaxCount; more may fit when CountIsMinimum.
	Count          int64
	CountIsMinimum bool
	// Position is where the live stream stood: whoever follows it from there misses nothing.
	Position string
	// Form is for the form in which clients get the rows.
	Form *Form
}

// streamPosition is where the live stream stands, in the form that clients keep.
func streamPosition(ctx context.Context, q sqlx.QueryerContext) (string, error) {
	var position string
	err := sqlx.GetContext(ctx, q, &position, `
		SELECT s.epoch || '-' || coalesce((SELECT max(c.position) FROM live_changes AS c), s.removed) FROM live_state AS s`)
	if err != nil {
		return "", fmt.Errorf("position: %w", err)
	}
	return position, nil
}

// Settings of one transaction that reads.
const (
	usualSettings = `SET LOCAL jit = off`
	// inOrderSettings are those of inIndexOrder for a whole transaction.
	inOrderSettings = usualSettings + `; SET LOCAL enable_sort = off`
)

// read runs fn in a transaction that changes nothing.
func (s *Store) read(ctx context.Context, op string, fn func(ctx context.Context, tx *sqlx.Tx) error) error {
	return s.readWith(ctx, op, usualSettings, fn)
}

func (s *Store) readWith(
	ctx context.Context, op, settings string, fn func(ctx context.Context, tx *sqlx.Tx) error,
) error {
	if err := s.db.Ready(); err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	ctx, cancel := context.WithTimeout(store.Unprepared(ctx), callTimeout)
	defer cancel()
	tx, err := s.db.SQL().BeginTxx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return store.Classify(ctx, op, err)
	}
	defer func() { _ = tx.Rollback() }() // nothing was changed
	if _, err := tx.ExecContext(ctx, settings); err != nil {
		return store.Classify(ctx, op, err)
	}
	return store.Classify(ctx, op, fn(ctx, tx))
}

// inIndexOrder runs the statements of a scan: an order of the rows that an index has is read from
// that index. A plan that reads all rows and sorts them is cheaper only for fewer rows than there
// may be. Elsewhere sorting stays allowed: without it the few detections of one event would be
// looked for along the order of all detections.
func inIndexOrder(ctx context.Context, tx *sqlx.Tx, fn func() error) error {
	if _, err := tx.ExecContext(ctx, `SET LOCAL enable_sort = off`); err != nil {
		return fmt.Errorf("settings: %w", err)
	}
	if err := fn(); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, `SET LOCAL enable_sort = on`); err != nil {
		return fmt.Errorf("settings: %w", err)
	}
	return nil
}

// arguments numbers the arguments of one statement.
type arguments []any

// add returns the placeholder of a value.
func (a *arguments) add(value any) string {
	*a = append(*a, value)
	return "$" + strconv.Itoa(len(*a))
}

// scan is a statement under construction that reads rows of one table in the order of the list.
type scan struct {
	// table is what the branches read, with its alias r, of which at and id are the columns of the
	// order.
	table, at, id string
	// branches are the conditions of the index ranges that are merged; at least one, perhaps empty.
	branches []string
	// every is a condition on the rows of all branches, on the columns of the order alone.
	every []string
	// repeats: one row may be in several branches.
	repeats bool
	// rest is what no index has: conditions on the table joined, as j, by joined.
	rest   []func(args *arguments) string
	joined string
}

// where is rest as text, empty without one.
func (s *scan) where(args *arguments) string {
	if len(s.rest) == 0 {
		return ""
	}
	conditions := make([]string, len(s.rest))
	for i, condition := range s.rest {
		conditions[i] = condition(args)
	}
	return s.joined + " WHERE " + strings.Join(conditions, " AND ")
}

// merged is the statement of the rows in order, up to limit, without rest.
func (s *scan) merged(page Page, args *arguments, limit int) string {
	direction, compare := "DESC", "<"
	if page.Ascending {
		direction, compare = "ASC", ">"
	}
	every := s.every
	if page.After != nil {
		every = append(slices.Clip(every), fmt.Sprintf("(%s, %s) %s (%s::timestamptz, %s::bigint)",
			s.at, s.id, compare, args.add(page.After.At), args.add(page.After.ID)))
	}
	parts := make([]string, len(s.branches))
	for i, branch := range s.branches {
		conditions := slices.Clip(every)
		if branch != "" {
			conditions = append(conditions, branch)
		}
		where := ""
		if len(conditions) > 0 {
			where = " WHERE " + strings.Join(conditions, " AND ")
		}
		// Only branches that say their order are merged; others are appended and sorted.
		parts[i] = fmt.Sprintf("(SELECT %s AS at, %s AS id FROM %s AS r%s ORDER BY %s %s, %s %s)",
			s.at, s.id, s.table, where, s.at, direction, s.id, direction)
	}
	distinct := ""
	if s.repeats && len(parts) > 1 {
		distinct = "DISTINCT ON (at, id) "
	}
	return fmt.Sprintf("SELECT %sat, id FROM (%s) AS u ORDER BY at %s, id %s LIMIT %d",
		distinct, strings.Join(parts, " UNION ALL "), direction, direction, limit)
}

// filtered adds rest to merged.
func (s *scan) filtered(merged string, page Page, args *arguments, limit, offset int) string {
	direction := "DESC"
	if page.Ascending {
		direction = "ASC"
	}
	return fmt.Sprintf("SELECT m.at, m.id FROM (%s) AS m %s ORDER BY m.at %s, m.id %s LIMIT %d OFFSET %d",
		merged, s.where(args), direction, direction, limit, offset)
}

// place is one row of a scan.
type place struct {
	At time.Time `db:"at"`
	ID int64     `db:"id"`
}

// found is what a scan found for one page.
type found struct {
	ids            []int64
	next           *Position
	count          int64
	countIsMinimum bool
}

// run finds a page and counts the list. build makes the scan with its arguments; it is called for
// each statement.
func run(ctx context.Context, tx *sqlx.Tx, page Page, build func(*arguments) scan) (found, error) {
	var f found
	err := inIndexOrder(ctx, tx, func() (err error) {
		if f, err = findInOrder(ctx, tx, page, build); err != nil {
			return err
		}
		f.count, f.countIsMinimum, err = count(ctx, tx, page, build)
		return err
	})
	return f, err
}

// find finds a page without counting.
func find(ctx context.Context, tx *sqlx.Tx, page Page, build func(*arguments) scan) (found, error) {
	var f found
	err := inIndexOrder(ctx, tx, func() (err error) {
		f, err = findInOrder(ctx, tx, page, build)
		return err
	})
	return f, err
}

// findInOrder finds the page's rows, in order, and where the next page begins.
func findInOrder(ctx context.Context, tx *sqlx.Tx, page Page, build func(*arguments) scan) (found, error) {
	var f found
	var args arguments
	s := build(&args)
	scanned := page.Offset + page.Limit + 1
	if len(s.rest) > 0 {
		scanned = maxScanned
	}
	var places []place
	query := s.filtered(s.merged(page, &args, scanned), page, &args, page.Limit+1, page.Offset)
	if err := tx.SelectContext(ctx, &places, query, args...); err != nil {
		return f, fmt.Errorf("page: %w", err)
	}
	goesOn := len(places) > page.Limit
	if goesOn {
		places = places[:page.Limit]
	}
	for _, p := range places {
		f.ids = append(f.ids, p.ID)
	}
	switch {
	case goesOn:
		last := places[len(places)-1]
		f.next = &Position{last.At, last.ID}
	case len(s.rest) > 0: // the rows may go on behind those that were looked at
		var err error
		if f.next, err = endOfScan(ctx, tx, page, build); err != nil {
			return f, err
		}
	}
	return f, nil
}

// endOfScan is the last row that was looked at, nil when those were all.
func endOfScan(ctx context.Context, tx *sqlx.Tx, page Page, build func(*arguments) scan) (*Position, error) {
	var args arguments
	s := build(&args)
	var last []place
	query := s.merged(page, &args, maxScanned) + fmt.Sprintf(" OFFSET %d", maxScanned-1)
	if err := tx.SelectContext(ctx, &last, query, args...); err != nil {
		return nil, fmt.Errorf("end of the search: %w", err)
	}
	if len(last) == 0 {
		return nil, nil //nolint:nilnil // all were looked at
	}
	return &Position{last[0].At, last[0].ID}, nil
}

// count counts the rows of the whole list, within bounds.
func count(ctx context.Context, tx *sqlx.Tx, page Page, build func(*arguments) scan) (int64, bool, error) {
	var args arguments
	s := build(&args)
	page.After = nil
	if len(s.rest) == 0 {
		var n int64
		query := "SELECT count(*) FROM (" + s.merged(page, &args, MaxCount+1) + ") AS c"
		if err := tx.GetContext(ctx, &n, query, args...); err != nil {
			return 0, false, fmt.Errorf("count: %w", err)
		}
		return min(n, MaxCount), n > MaxCount, nil
	}
	var counted struct {
		Fit     int64 `db:"fit"`
		Scanned int64 `db:"scanned"`
	}
	query := fmt.Sprintf(`
		WITH m AS MATERIALIZED (%s)
		SELECT (SELECT count(*) FROM m %s) AS fit, (SELECT count(*) FROM m) AS scanned`,
		s.merged(page, &args, maxScannedForCount), s.where(&args))
	if err := tx.GetContext(ctx, &counted, query, args...); err != nil {
		return 0, false, fmt.Errorf("count: %w", err)
	}
	isMinimum := counted.Scanned == maxScannedForCount || counted.Fit > MaxCount
	return min(counted.Fit, MaxCount), isMinimum, nil
}
