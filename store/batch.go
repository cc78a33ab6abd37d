package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/jmoiron/sqlx"
)

// BatchState is where a batch stands.
type BatchState string

// The states of a batch.
const (
	BatchOpen         BatchState = "open"          // still takes images
	BatchClosed       BatchState = "closed"        // waits for the analyzer
	BatchQueued       BatchState = "queued"        // its id was handed to the queue
	BatchAnalyzing    BatchState = "analyzing"     // claimed by an analysis worker
	BatchAnalyzed     BatchState = "analyzed"      // has its event
	BatchDeadLettered BatchState = "dead_lettered" // given up, with a cause
)

// Batch collects the detections of one camera that become one event.
type Batch struct {
	ID             int64      `db:"id"`
	CameraID       string     `db:"camera_id"`
	State          BatchState `db:"state"`
	OpenedAt       time.Time  `db:"opened_at"`     // earliest image time: the window starts here
	LastAt         time.Time  `db:"last_at"`       // newest image time
	CreatedAt      time.Time  `db:"created_at"`    // when the first image was added
	TouchedAt      time.Time  `db:"touched_at"`    // when the last image was added: idle counts from here
	FirstSeenAt    time.Time  `db:"first_seen_at"` // earliest seen_at of its images
	ImageCount     int        `db:"image_count"`
	DetectionCount int        `db:"detection_count"`
	ClosedAt       *time.Time `db:"closed_at"`
	QueuedAt       *time.Time `db:"queued_at"`
	StartedAt      *time.Time `db:"analyze_started_at"` // last claim
	AnalyzedAt     *time.Time `db:"analyzed_at"`
	EventID        *int64     `db:"event_id"`
	Attempts       int        `db:"attempts"` // claims that were not given back
	Reason         *string    `db:"reason"`   // cause of dead_lettered
	// ReadAt is when the row was read, by the clock of the database, which also wrote CreatedAt and
	// TouchedAt: whether a batch is over is decided by this one clock.
	ReadAt time.Time `db:"read_at"`
}

const batchColumns = `id, camera_id, state, opened_at, last_at, created_at, touched_at, first_seen_at, image_count,
	detection_count, closed_at, queued_at, analyze_started_at, analyzed_at, event_id, attempts, reason, clock_timestamp() AS read_at`

func (b *Batch) toUTC() {
	for _, t := range []*time.Time{&b.OpenedAt, &b.LastAt, &b.CreatedAt, &b.TouchedAt, &b.FirstSeenAt, &b.ReadAt} {
		*t = t.UTC()
	}
	toUTC(&b.ClosedAt, &b.QueuedAt, &b.StartedAt, &b.AnalyzedAt)
}

// OpenBatches lists the open batches, at most one for each camera.
func (db *DB) OpenBatches(ctx context.Context) ([]Batch, error) {
	batches, err := list[Batch](ctx, db, "list open batches",
		`SELECT `+batchColumns+` FROM batches WHERE closed_at IS NULL ORDER BY camera_id`)
	for i := range batches {
		batches[i].toUTC()
	}
	return batches, err
}

// Batch reads one batch, ErrNotFound when there is none.
func (db *DB) Batch(ctx context.Context, id int64) (Batch, error) {
	var b Batch
	err := db.get(ctx, "read batch", &b, `SELECT `+batchColumns+` FROM batches WHERE id = $1`, id)
	b.toUTC()
	return b, err
}

// CloseBatch closes a batch when decide, asked under the row lock that adders take too, says so. It
// returns the batch as it stands afterwards and whether this call closed it; a batch that is closed
// already, or gone, is no error and decide is not asked.
func (db *DB) CloseBatch(ctx context.Context, id int64, decide func(Batch) bool) (Batch, bool, error) {
	var batch Batch
	closed := false
	err := db.InTx(ctx, "close batch", func(ctx context.Context, tx *sqlx.Tx) error {
		err := tx.GetContext(ctx, &batch, `SELECT `+batchColumns+` FROM batches WHERE id = $1 FOR UPDATE`, id)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("lock batch: %w", err)
		}
		batch.toUTC()
		if batch.ClosedAt != nil || !decide(batch) {
			return nil
		}
		closed = true
		batch, err = closeBatch(ctx, tx, id)
		return err
	})
	if err != nil {
		return Batch{}, false, err
	}
	return batch, closed, nil
}

// closeBatch closes a batch whose row the transaction holds.
func closeBatch(ctx context.Context, tx *sqlx.Tx, id int64) (Batch, error) {
	var batch Batch
	err := tx.GetContext(ctx, &batch, `
		UPDATE batches SET state = 'closed', closed_at = clock_timestamp() WHERE id = $1
		RETURNING `+batchColumns, id)
	if err != nil {
		return Batch{}, fmt.Errorf("close batch: %w", err)
	}
	batch.toUTC()
	return batch, nil
}
