package seen

import (
	"context"
	"errors"
	"fmt"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"

	"hsi.home.arpa/store"
)

// ErrUnknownPosition is a position of which nobody can say what came after it: it is of another
// database, too old, was never given, or events came by the thousand since then.
var ErrUnknownPosition = errors.New("the position is not known")

// Bounds of a review.
const (
	// reviewPart is how many events one transaction marks.
	reviewPart = 1000
	// toldOneByOne is how many marked events the live stream tells one by one; more are one resync.
	toldOneByOne = 50
)

// ReviewEvents marks events as reviewed and returns how many were not before. Ids of no event are
// left out. See mark for how many are stored.
func (s *Store) ReviewEvents(ctx context.Context, ids []int64, actor store.Actor) (int64, error) {
	return s.mark(ctx, ids, actor, map[string]any{"ids": ids})
}

// ReviewMatching marks all events that fit and were there at a position of the live stream, and
// returns how many. The error is an ErrUnknownPosition when nobody can tell which those were. asked
// is what the audit says about the filter.
func (s *Store) ReviewMatching(
	ctx context.Context, filter EventFilter, epoch string, number int64, actor store.Actor, asked any,
) (int64, error) {
	filter.Reviewed = new(false)
	var ids []int64
	page := Page{Limit: reviewPart, Ascending: true}
	later := map[int64]bool{}
	for first := true; first || page.After != nil; first = false {
		err := s.read(ctx, "find events to review", func(ctx context.Context, tx *sqlx.Tx) error {
			f, err := find(ctx, tx, page, filter.scan)
			if err != nil {
				return err
			}
			ids, page.After = append(ids, f.ids...), f.next
			if page.After != nil {
				return nil
			}
			// After the rows were read: whatever came late enough to be seen and not known is in
			// it.
			later, err = eventsAfter(ctx, tx, epoch, number)
			return err
		})
		if err != nil {
			return 0, err
		}
	}
	known := ids[:0]
	for _, id := range ids {
		if !later[id] {
			known = append(known, id)
		}
	}
	return s.mark(ctx, known, actor, map[string]any{"filter": asked})
}

// eventsAfter are the events that came after a position of the live stream.
func eventsAfter(ctx context.Context, tx *sqlx.Tx, epoch string, number int64) (map[int64]bool, error) {
	var state struct {
		Known bool `db:"known"`
		Gap   bool `db:"gap"`
	}
	err := tx.GetContext(ctx, &state, `
		SELECT s.epoch = $1 AND s.removed <= $2
		         AND $2 <= coalesce((SELECT max(c.position) FROM live_changes AS c), s.removed) AS known,
		       EXISTS (SELECT FROM live_changes AS c WHERE c.position > $2 AND c.kind = 'resync')
		         OR EXISTS (SELECT FROM live_pending AS p WHERE p.kind = 'resync') AS gap
		FROM live_state AS s`, epoch, number)
	if err != nil {
		return nil, fmt.Errorf("position: %w", err)
	}
	if !state.Known || state.Gap {
		return nil, ErrUnknownPosition
	}
	var ids []int64
	err = tx.SelectContext(ctx, &ids, `
		SELECT event_ids[1] FROM live_changes WHERE position > $1 AND kind = 'event'
		UNION ALL SELECT event_ids[1] FROM live_pending WHERE kind = 'event'`, number)
	if err != nil {
		return nil, fmt.Errorf("later events: %w", err)
	}
	later := make(map[int64]bool, len(ids))
	for _, id := range ids {
		later[id] = true
	}
	return later, nil
}

// mark marks events in parts, each in a transaction of its own. One audit entry has what was asked
// and how many were marked so far. With an error the parts before it stay.
func (s *Store) mark(ctx context.Context, ids []int64, actor store.Actor, details map[string]any) (int64, error) {
	var marked int64
	var entry *int64
	for first := 0; first < len(ids); first += reviewPart {
		part := ids[first:min(first+reviewPart, len(ids))]
		var now int64
		err := s.db.InTx(ctx, "review events", func(ctx context.Context, tx *sqlx.Tx) (err error) {
			if now, err = markPart(ctx, tx, part, len(ids) > toldOneByOne); err != nil || now == 0 {
				return err
			}
			if entry == nil {
				details["reviewed"] = now
				if err := store.Audit(ctx, tx, "events_reviewed", "event", "", actor, details); err != nil {
					return err
				}
				var id int64
				err = tx.GetContext(ctx, &id, `SELECT currval(pg_get_serial_sequence('audit_logs', 'id'))`)
				entry = &id
				return err
			}
			_, err = tx.ExecContext(ctx, `
				UPDATE audit_logs SET details = jsonb_set(details, '{reviewed}', to_jsonb($2::bigint)) WHERE id = $1`,
				*entry, marked+now)
			return err
		})
		if err != nil {
			return marked, err
		}
		marked += now
	}
	return marked, nil
}

// markPart marks those of some events that are not reviewed yet, and returns how many.
func markPart(ctx context.Context, tx *sqlx.Tx, ids []int64, atOnce bool) (int64, error) {
	if atOnce {
		if _, err := tx.ExecContext(ctx, `SET LOCAL hsi.live = 'off'`); err != nil {
			return 0, fmt.Errorf("keep the live stream quiet: %w", err)
		}
	}
	// Locked in the order of their ids, so that two of these never wait for each other in a circle.
	result, err := tx.ExecContext(ctx, `
		WITH chosen AS (
			SELECT id FROM events WHERE id = ANY ($1::bigint[]) AND NOT reviewed ORDER BY id FOR NO KEY UPDATE
		)
		UPDATE events AS e SET reviewed = true FROM chosen WHERE e.id = chosen.id`, pq.Array(ids))
	if err != nil {
		return 0, fmt.Errorf("mark: %w", err)
	}
	marked, err := result.RowsAffected()
	if err != nil || marked == 0 || !atOnce {
		return marked, err
	}
	// The last part alone would do, were it sure to come.
	if _, err := tx.ExecContext(ctx, `INSERT INTO live_pending (kind) VALUES ('resync')`); err != nil {
		return 0, fmt.Errorf("tell the live stream: %w", err)
	}
	_, err = tx.ExecContext(ctx, `SELECT pg_notify('hsi_live', '')`)
	return marked, err
}
