package store

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/jmoiron/sqlx"
)

// Event is one scored happening. Rows loaded from elsewhere may lack everything that is a pointer.
type Event struct {
	ID         int64      `db:"id"`
	BatchID    *string    `db:"batch_id"` // decimal id of our batch, or whatever the history had
	CameraID   string     `db:"camera_id"`
	StartedAt  time.Time  `db:"started_at"` // image time
	EndedAt    *time.Time `db:"ended_at"`   // image time
	RiskScore  *int       `db:"risk_score"` // 0 to 100
	RiskLevel  *string    `db:"risk_level"`
	Summary    *string    `db:"summary"`
	Reasoning  *string    `db:"reasoning"`
	Analyzer   *string    `db:"analyzer"`   // what made the row
	CreatedAt  time.Time  `db:"created_at"` // when it was stored
	Detections int        `db:"detections"` // how many detections it has
}

const eventColumns = `e.id, e.batch_id, e.camera_id, e.started_at, e.ended_at, e.risk_score, e.risk_level, e.summary,
	e.reasoning, e.analyzer, e.created_at, (SELECT count(*) FROM detections AS d WHERE d.event_id = e.id) AS detections`

func (e *Event) toUTC() {
	e.StartedAt, e.CreatedAt = e.StartedAt.UTC(), e.CreatedAt.UTC()
	toUTC(&e.EndedAt)
}

// NewEvent is what an analyzer made of a batch.
type NewEvent struct {
	StartedAt time.Time // image time of the first detection
	EndedAt   time.Time // image time of the last detection
	RiskScore int       // 0 to 100
	RiskLevel string
	Summary   string
	Reasoning string
	Analyzer  string // what looked: nemotron, rules
}

// CommitEvent stores the event of a claimed batch in one transaction with the states of the batch,
// its images and its detections. Texts are made storable and cut at 20,000 characters.
// ErrClaimLost, and nothing stored, when the claim is no longer held.
func (db *DB) CommitEvent(ctx context.Context, claim BatchClaim, event NewEvent) (Event, error) {
	if event.Analyzer == "" {
		return Event{}, fmt.Errorf("commit event: no analyzer: %w", ErrInvalid)
	}
	var stored Event
	err := db.InTx(ctx, "commit event", func(ctx context.Context, tx *sqlx.Tx) error {
		batch, err := lockClaimedBatch(ctx, tx, claim)
		if err != nil {
			return err
		}
		if stored, err = insertEvent(ctx, tx, batch, event); err != nil {
			return err
		}
		return finishBatch(ctx, tx, batch.ID, &stored)
	})
	if err != nil {
		return Event{}, err
	}
	return stored, nil
}

func insertEvent(ctx context.Context, tx *sqlx.Tx, batch Batch, event NewEvent) (Event, error) {
	var stored Event
	err := tx.GetContext(ctx, &stored, `
		INSERT INTO events AS e (batch_id, camera_id, started_at, ended_at, risk_score, risk_level, summary, reasoning, analyzer, created_at,
			object_types)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, clock_timestamp(), (
			SELECT string_agg(DISTINCT lower(d.object_type), ', ') FROM detections AS d WHERE d.batch_id = $10))
		RETURNING `+eventColumns,
		strconv.FormatInt(batch.ID, 10), batch.CameraID, storable(event.StartedAt), storable(event.EndedAt),
		event.RiskScore, event.RiskLevel, clean(event.Summary, maxText), clean(event.Reasoning, maxText), event.Analyzer, batch.ID)
	if err != nil {
		return Event{}, fmt.Errorf("insert event: %w", err)
	}
	stored.toUTC()
	return stored, nil
}

// finishBatch ties batch, images and detections to the event.
func finishBatch(ctx context.Context, tx *sqlx.Tx, batchID int64, event *Event) error {
	for _, step := range []struct{ name, query string }{
		{"finish batch", `
			UPDATE batches
			SET state = 'analyzed', event_id = $2, analyzed_at = clock_timestamp(), claimed_by = NULL, claimed_until = NULL
			WHERE id = $1`},
		{"finish images", `
			UPDATE images SET state = 'analyzed', analyzed_at = clock_timestamp()
			WHERE batch_id = $1 AND state = 'batched' AND $2::bigint IS NOT NULL`},
	} {
		if _, err := tx.ExecContext(ctx, step.query, batchID, event.ID); err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
	}
	result, err := tx.ExecContext(ctx, `UPDATE detections SET event_id = $2 WHERE batch_id = $1`, batchID, event.ID)
	if err != nil {
		return fmt.Errorf("tie detections: %w", err)
	}
	n, err := result.RowsAffected()
	event.Detections = int(n)
	return err
}

// ListEvents lists up to limit events with an id above afterID, oldest first.
func (db *DB) ListEvents(ctx context.Context, afterID int64, limit int) ([]Event, error) {
	return db.events(ctx, `SELECT `+eventColumns+` FROM events AS e WHERE e.id > $1 ORDER BY e.id LIMIT $2`, afterID, limit)
}

// LatestEvents lists the newest limit events, newest first.
func (db *DB) LatestEvents(ctx context.Context, limit int) ([]Event, error) {
	return db.events(ctx, `SELECT `+eventColumns+` FROM events AS e ORDER BY e.id DESC LIMIT $1`, limit)
}

func (db *DB) events(ctx context.Context, query string, args ...any) ([]Event, error) {
	events, err := list[Event](ctx, db, "list events", query, args...)
	for i := range events {
		events[i].toUTC()
	}
	return events, err
}
