package seen

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"

	"hsi.home.arpa/store"
)

// Event is one scored happening. Rows of other programs may lack everything that is a pointer.
type Event struct {
	ID           int64          `db:"id"`
	BatchID      *string        `db:"batch_id"` // decimal id of our batch, or whatever another program wrote
	CameraID     string         `db:"camera_id"`
	CameraName   *string        `db:"camera_name"`
	StartedAt    time.Time      `db:"started_at"` // image time
	EndedAt      *time.Time     `db:"ended_at"`   // image time
	RiskScore    *int           `db:"risk_score"` // 0 to 100
	RiskLevel    *string        `db:"risk_level"`
	Summary      *string        `db:"summary"`
	Reasoning    *string        `db:"reasoning"`
	Analyzer     *string        `db:"analyzer"` // what made the row
	Reviewed     bool           `db:"reviewed"`
	Notes        *string        `db:"notes"`
	DetectionIDs pq.Int64Array  `db:"detection_ids"` // those that exist
	ObjectTypes  pq.StringArray `db:"object_types"`  // lower case, by name
	CreatedAt    time.Time      `db:"created_at"`    // when it was stored
}

// detectionsOf is the statement of the ids of the detections of the event e: those that are tied to
// it, and those that a row of another program names.
const detectionsOf = `CASE WHEN e.detection_ids IS NULL
	THEN ARRAY(SELECT d.id FROM detections AS d WHERE d.event_id = e.id ORDER BY d.id)
	ELSE ARRAY(
		SELECT t.id FROM (
			SELECT d.id, min(n.place) AS place FROM unnest(named_detections(e.detection_ids)) WITH ORDINALITY AS n (id, place)
			JOIN detections AS d ON d.id = n.id GROUP BY d.id
			UNION ALL
			SELECT d.id, NULL FROM detections AS d
			WHERE d.event_id = e.id AND d.id <> ALL (named_detections(e.detection_ids))
		) AS t ORDER BY t.place, t.id) END`

const eventColumns = `e.id, e.batch_id, e.camera_id, c.name AS camera_name, e.started_at, e.ended_at, e.risk_score, e.risk_level,
	e.summary, e.reasoning, e.analyzer, e.reviewed, e.notes, e.created_at, ` + detectionsOf + ` AS detection_ids,
	ARRAY(SELECT o.object_type FROM event_objects AS o WHERE o.event_id = e.id ORDER BY o.object_type) AS object_types`

// queryByID reads events in the order of the ids in $1.
const queryByID = `
	SELECT ` + eventColumns + `
	FROM unnest($1::bigint[]) WITH ORDINALITY AS chosen (id, place)
	JOIN events AS e ON e.id = chosen.id LEFT JOIN cameras AS c ON c.id = e.camera_id
	ORDER BY chosen.place`

func (e *Event) toUTC() {
	e.StartedAt, e.CreatedAt = e.StartedAt.UTC(), e.CreatedAt.UTC()
	utc(&e.EndedAt)
}

// utc converts times that may be absent. The driver returns them in the zone of the session.
func utc(times ...**time.Time) {
	for _, t := range times {
		if *t != nil {
			u := (*t).UTC()
			*t = &u
		}
	}
}

// EventsByID reads events in the order of the ids. Those that are gone are left out.
func EventsByID(ctx context.Context, q sqlx.QueryerContext, ids []int64) ([]Event, error) {
	events := make([]Event, 0, len(ids))
	if len(ids) == 0 {
		return events, nil
	}
	if err := sqlx.SelectContext(store.Prepared(ctx), q, &events, queryByID, pq.Array(ids)); err != nil {
		return nil, fmt.Errorf("read events: %w", err)
	}
	for i := range events {
		events[i].toUTC()
	}
	return events, nil
}

// Events lists one page of the events that fit, the newest first or as the page says. What it
// returns may be kept: it must not be changed.
func (s *Store) Events(ctx context.Context, filter EventFilter, page Page) (Listed[Event], error) {
	const op = "list events"
	if err := s.db.Ready(); err != nil {
		return Listed[Event]{}, fmt.Errorf("%s: %w", op, err)
	}
	ofPage, ofCount, err := pageKeys(filter, page)
	if err != nil {
		return Listed[Event]{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	began := s.pages.now()
	// Before the rows: what comes in between is told again.
	state, position, stateIsKnown, err := stateNow(ctx, s.db.SQL())
	if err != nil {
		return Listed[Event]{}, store.Classify(ctx, op, err)
	}
	if stateIsKnown {
		if listed, ok := s.pages.get(ofPage, ofCount, state); ok {
			listed.Position = position
			return listed, nil
		}
	}
	var f found
	err = s.readWith(ctx, op, inOrderSettings, func(ctx context.Context, tx *sqlx.Tx) (err error) {
		if f, err = findInOrder(ctx, tx, page, filter.scan); err != nil {
			return err
		}
		if counted, ok := s.pages.count(ofCount, state); ok && stateIsKnown {
			f.count, f.countIsMinimum = counted.count, counted.countIsMinimum
			return nil
		}
		f.count, f.countIsMinimum, err = count(ctx, tx, page, filter.scan)
		return err
	})
	if err != nil {
		return Listed[Event]{}, err
	}
	rows, err := EventsByID(ctx, s.db.SQL(), f.ids)
	if err != nil {
		return Listed[Event]{}, store.Classify(ctx, op, err)
	}
	listed := Listed[Event]{
		Rows: rows, Next: f.next, Count: f.count, CountIsMinimum: f.countIsMinimum, Position: position,
	}
	if stateIsKnown {
		s.pages.keep(ofPage, ofCount, state, began, &listed)
	}
	return listed, nil
}

// Stages are the times at which the stages of the pipeline were reached for an event; nil where
// that is not known.
type Stages struct {
	FirstPictureSeenAt    *time.Time `db:"first_seen_at"`
	LastPictureDetectedAt *time.Time `db:"detected_at"`
	BatchClosedAt         *time.Time `db:"closed_at"`
	AnalysisStartedAt     *time.Time `db:"analyze_started_at"`
	AnalyzedAt            *time.Time `db:"analyzed_at"`
}

// EventDetail is an event with what led to it.
type EventDetail struct {
	Event

	Detections []Detection // the first ones, the oldest first
	Stages     Stages
}

// Event reads one event with up to maxDetections of its detections. ErrNotFound when there is none.
func (s *Store) Event(ctx context.Context, id int64, maxDetections int) (EventDetail, error) {
	var detail EventDetail
	err := s.read(ctx, "read event", func(ctx context.Context, tx *sqlx.Tx) error {
		event, err := oneEvent(ctx, tx, id)
		if err != nil {
			return err
		}
		detail.Event = event
		detail.Detections, err = detectionsByTime(ctx, tx, event.DetectionIDs, maxDetections, 0)
		if err != nil {
			return err
		}
		var stages []Stages
		err = tx.SelectContext(ctx, &stages, `
			SELECT b.first_seen_at, b.closed_at, b.analyze_started_at, b.analyzed_at,
			       (SELECT max(i.detected_at) FROM images AS i WHERE i.batch_id = b.id) AS detected_at
			FROM batches AS b WHERE b.event_id = $1`, id)
		if err != nil {
			return fmt.Errorf("stages: %w", err)
		}
		for _, reached := range stages { // none for an event of another program
			utc(&reached.FirstPictureSeenAt, &reached.LastPictureDetectedAt, &reached.BatchClosedAt,
				&reached.AnalysisStartedAt, &reached.AnalyzedAt)
			detail.Stages = reached
		}
		return nil
	})
	return detail, err
}

func oneEvent(ctx context.Context, q sqlx.QueryerContext, id int64) (Event, error) {
	events, err := EventsByID(ctx, q, []int64{id})
	if err == nil && len(events) == 0 {
		err = store.ErrNotFound
	}
	if err != nil {
		return Event{}, err
	}
	return events[0], nil
}

// EventUpdate names new values; nil leaves a value as it is.
type EventUpdate struct {
	Reviewed *bool
	Notes    *string // empty: none
}

// UpdateEvent changes what people say about an event and returns it after the change. ErrNotFound
// when there is none. The change and its audit entry are stored together; a change of nothing has
// none.
func (s *Store) UpdateEvent(ctx context.Context, id int64, update EventUpdate, actor store.Actor) (Event, error) {
	var event Event
	err := s.db.InTx(ctx, "update event", func(ctx context.Context, tx *sqlx.Tx) error {
		var before struct {
			CameraID  string  `db:"camera_id"`
			RiskLevel *string `db:"risk_level"`
			Reviewed  bool    `db:"reviewed"`
			Notes     *string `db:"notes"`
		}
		err := tx.GetContext(ctx, &before, `
			SELECT camera_id, risk_level, reviewed, notes FROM events WHERE id = $1 FOR NO KEY UPDATE`, id)
		if err != nil {
			return fmt.Errorf("lock: %w", err)
		}
		changes := map[string]any{}
		action := "event_reviewed"
		if update.Reviewed != nil && *update.Reviewed != before.Reviewed {
			changes["reviewed"] = map[string]any{"old": before.Reviewed, "new": *update.Reviewed}
			before.Reviewed = *update.Reviewed
			if !before.Reviewed {
				action = "event_dismissed"
			}
		}
		if update.Notes != nil {
			notes := update.Notes
			if *notes == "" {
				notes = nil
			}
			if !same(before.Notes, notes) {
				changes["notes"] = map[string]any{"old": before.Notes, "new": notes}
				before.Notes = notes
			}
		}
		if len(changes) > 0 {
			_, err = tx.ExecContext(ctx, `UPDATE events SET reviewed = $2, notes = $3 WHERE id = $1`,
				id, before.Reviewed, before.Notes)
			if err != nil {
				return fmt.Errorf("change: %w", err)
			}
			err = store.Audit(ctx, tx, action, "event", strconv.FormatInt(id, 10), actor, map[string]any{
				"changes": changes, "risk_level": before.RiskLevel, "camera_id": before.CameraID,
			})
			if err != nil {
				return err
			}
		}
		event, err = oneEvent(ctx, tx, id)
		return err
	})
	return event, err
}

func same(a, b *string) bool { return a == b || a != nil && b != nil && *a == *b }

// ExportEvents reads all events that fit, the newest first, in parts, and gives each part to write.
// It ends with the first error of either. The audit entry is stored before the first part.
func (s *Store) ExportEvents(
	ctx context.Context, filter EventFilter, actor store.Actor, details map[string]any, write func([]Event) error,
) error {
	err := s.db.InTx(ctx, "export events", func(ctx context.Context, tx *sqlx.Tx) error {
		return store.Audit(ctx, tx, "media_exported", "event", "", actor, details)
	})
	if err != nil {
		return err
	}
	page := Page{Limit: exportPart}
	for {
		var part []Event
		var next *Position
		err := s.read(ctx, "export events", func(ctx context.Context, tx *sqlx.Tx) error {
			f, err := find(ctx, tx, page, filter.scan)
			if err != nil {
				return err
			}
			next = f.next
			part, err = EventsByID(ctx, tx, f.ids)
			return err
		})
		if err != nil {
			return err
		}
		if err := write(part); err != nil {
			return fmt.Errorf("export events: %w", err)
		}
		if next == nil {
			return nil
		}
		page.After = next
	}
}

// exportPart is how many events are read at once.
const exportPart = 1000
