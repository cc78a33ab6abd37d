// Package live turns what is committed to events and cameras, by any program, into a stream with positions. Triggers write one row
// for each change, in the transaction of the change and without a position; the Sequencer gives positions to rows once they are
// committed. Whoever has read up to a position has missed nothing below it, and reads on from the table, however long it was away.
package live

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/lib/pq"

	"hsi.home.arpa/internal/beat"
	"hsi.home.arpa/store"
)

// Kind says what a change is.
type Kind string

// The kinds of changes.
const (
	EventAdded    Kind = "event"
	EventChanged  Kind = "event_changed"
	EventsRemoved Kind = "events_removed"
	Camera        Kind = "camera" // new, changed or removed
	Resync        Kind = "resync" // too much to tell one by one: read everything anew
)

// Change is one row of the stream.
type Change struct {
	Number   int64         `db:"position"`
	Kind     Kind          `db:"kind"`
	EventIDs pq.Int64Array `db:"event_ids"` // one, unless events were removed
	CameraID string        `db:"camera_id"`
}

// State is where the stream stands.
type State struct {
	Epoch   string `db:"epoch"`
	Head    int64  `db:"head"`    // the newest position
	Removed int64  `db:"removed"` // the newest position that is gone; reading on from it is still complete
}

// Position is the newest position.
func (s State) Position() Position { return Position{Epoch: s.Epoch, Number: s.Head} }

// Why a position cannot be read on from. Each is an ErrResync.
var (
	// ErrResync says that changes are missing after a position, so that everything has to be read anew.
	ErrResync = errors.New("the position cannot be read on from")
	// ErrExpired says that the changes after the position have been removed.
	ErrExpired = fmt.Errorf("%w: expired", ErrResync)
	// ErrForeign says that the position is of another database.
	ErrForeign = fmt.Errorf("%w: of another database", ErrResync)
	// ErrAhead says that the position was never given.
	ErrAhead = fmt.Errorf("%w: ahead of the newest one", ErrResync)
)

const (
	// channel is what the triggers notify.
	channel = "hsi_live"
	// pace and pollEvery are the shortest and the longest time between two looks: it doubles while nothing is found. The long one is
	// for when notifications do not arrive: a pooler between us and the database swallows them.
	pace, pollEvery = 10 * time.Millisecond, time.Second
	// settled is the pause between two looks from which on notifications are wanted again.
	settled = 16 * pace
	// atOnce is how many rows one transaction gives positions to.
	atOnce = 1000
	// callTimeout ends one call of the sequencer.
	callTimeout = 5 * time.Second
	// pruneEvery is how often old rows are removed, pruneAtOnce how many by one transaction.
	pruneEvery, pruneAtOnce = time.Minute, 5000
)

// How long rows are kept: by age, and never more than so many. An installation whose clients were away for longer reads anew.
const (
	DefaultKeepFor  = 7 * 24 * time.Hour
	DefaultKeepRows = 500_000
)

// Options of a Sequencer.
type Options struct {
	DB  *store.DB
	Log *slog.Logger
	// KeepFor and KeepRows bound the stream. They default to the constants.
	KeepFor  time.Duration
	KeepRows int64
	// Moved is called after this process gave positions, so that others can be woken. It must not wait. May be nil.
	Moved func()
}

// Sequencer gives positions to committed changes and knows the newest one. Several processes may run one each.
type Sequencer struct {
	options Options
	woken   chan struct{}

	mu      sync.Mutex
	state   State         // guarded by mu; zero until the first look
	changed chan struct{} // guarded by mu; closed when state changes
}

// New makes a sequencer.
func New(options Options) *Sequencer {
	if options.KeepFor == 0 {
		options.KeepFor = DefaultKeepFor
	}
	if options.KeepRows == 0 {
		options.KeepRows = DefaultKeepRows
	}
	if options.Moved == nil {
		options.Moved = func() {}
	}
	return &Sequencer{options: options, woken: make(chan struct{}, 1), changed: make(chan struct{})}
}

// Wake lets Run look for new rows now.
func (s *Sequencer) Wake() {
	select {
	case s.woken <- struct{}{}:
	default:
	}
}

// State returns where the stream stood at the last look, and a channel that is closed once that has changed. Its Epoch is empty
// before the first look.
func (s *Sequencer) State() (state State, changed <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state, s.changed
}

func (s *Sequencer) publish(state State) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if state == s.state {
		return
	}
	s.state = state
	close(s.changed)
	s.changed = make(chan struct{})
}

// Run gives positions until ctx ends: at each notification of a trigger, at Wake, and every second. It returns nil when ctx ends.
//
// LISTEN is what makes a change known within milliseconds at no cost while nothing happens; polling at that pace would keep a small
// machine from ever sleeping. In a flood it is the other way round: transactions that notify cannot commit together, so that the
// triggers are told not to, and the sequencer looks by itself until it is quiet.
func (s *Sequencer) Run(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case <-s.options.DB.Migrated():
	}
	listening := make(chan error, 1)
	go func() { listening <- s.options.DB.Listen(ctx, channel, s.Wake) }()
	s.work(ctx)
	return <-listening // ctx has ended
}

func (s *Sequencer) work(ctx context.Context) {
	var known bool // whose database it is
	var pruned time.Time
	lastCause := ""
	pause, inRow, unsettled := pace, 0, true // how many looks in a row found something; whether notifications may be switched off
	for {
		moved, err := s.look(ctx, &known)
		switch {
		case moved:
			pause, inRow, unsettled = pace, inRow+1, true
			if inRow == 3 && err == nil {
				err = s.setAwake(ctx, true)
			}
		default:
			pause, inRow = min(2*pause, pollEvery), 0
			if unsettled && pause >= settled && err == nil {
				err = s.setAwake(ctx, false)
				unsettled = err != nil
			}
		}
		if err == nil && time.Since(pruned) >= pruneEvery {
			pruned = time.Now()
			err = s.prune(ctx)
		}
		cause := ""
		if err != nil && ctx.Err() == nil {
			known = false // it may be another one when it comes back
			cause = err.Error()
			if cause != lastCause {
				s.options.Log.WarnContext(ctx, "the live stream waits for the database", "error", err)
			}
		}
		lastCause = cause
		if !s.wait(ctx, pause) {
			return
		}
	}
}

// wait waits for the next look: the pause, or less when woken. It returns false when ctx ends.
func (s *Sequencer) wait(ctx context.Context, pause time.Duration) bool {
	timer := time.NewTimer(pace)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
	}
	if pause == pollEvery {
		pause = beat.Until(time.Now(), pollEvery)
	}
	timer.Reset(max(pause-pace, 0))
	select {
	case <-ctx.Done():
		return false
	case <-s.woken:
	case <-timer.C:
	}
	return true
}

// setAwake tells the triggers whether they need not notify. What a transaction decided before is found with the next looks.
func (s *Sequencer) setAwake(ctx context.Context, awake bool) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	value := 0
	if awake {
		value = 1
	}
	_, err := s.options.DB.SQL().ExecContext(ctx, `SELECT setval('live_awake', $1)`, value)
	return store.Classify(ctx, "switch notifications", err)
}

// look gives positions to everything that is committed, and tells whether there was anything.
func (s *Sequencer) look(ctx context.Context, known *bool) (found bool, err error) {
	if !*known {
		if err := s.claimEpoch(ctx); err != nil {
			return false, err
		}
		*known = true
	}
	for {
		moved, state, err := s.sequence(ctx)
		if err != nil {
			return found, err
		}
		s.publish(state)
		if moved > 0 {
			found = true
			s.options.Moved()
		}
		if moved < atOnce {
			return found, nil
		}
	}
}

func (s *Sequencer) sequence(ctx context.Context) (moved int64, state State, err error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	var row struct {
		Moved int64 `db:"moved"`
		State
	}
	err = s.options.DB.SQL().GetContext(ctx, &row, `SELECT moved, epoch, head, removed FROM live_sequence($1)`, atOnce)
	return row.Moved, row.State, store.Classify(ctx, "give positions", err)
}

// claimEpoch gives the stream a new epoch when the database is not the one that the old epoch was made for: a copy of it, one that was
// set back to a backup, or a standby that took over and may lack the last positions.
func (s *Sequencer) claimEpoch(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	var epoch [6]byte
	_, _ = rand.Read(epoch[:]) // it never fails
	for _, origin := range []string{
		`(SELECT system_identifier FROM pg_control_system()) || '/' || left(pg_walfile_name(pg_current_wal_lsn()), 8) || '/' || d.oid`,
		`'/' || d.oid`, // where only a superuser may know the rest
	} {
		_, err := s.options.DB.SQL().ExecContext(ctx, `
			UPDATE live_state SET epoch = $1, origin = now.origin
			FROM (SELECT `+origin+` AS origin FROM pg_database AS d WHERE d.datname = current_database()) AS now
			WHERE live_state.origin <> now.origin`, hex.EncodeToString(epoch[:]))
		if refused, ok := errors.AsType[*pq.Error](err); ok && refused.Code.Name() == "insufficient_privilege" {
			continue
		}
		return store.Classify(ctx, "name the live stream", err)
	}
	return fmt.Errorf("name the live stream: %w", store.ErrUnavailable)
}

// prune removes what is too old or too much, from the old end.
func (s *Sequencer) prune(ctx context.Context) error {
	for {
		ctx, cancel := context.WithTimeout(ctx, callTimeout)
		result, err := s.options.DB.SQL().ExecContext(ctx, `
			WITH oldest AS (SELECT position, positioned_at FROM live_changes ORDER BY position LIMIT $3),
			last AS (
				SELECT max(position) AS position FROM oldest
				WHERE positioned_at < clock_timestamp() - make_interval(secs => $1)
					OR position <= (SELECT max(position) FROM live_changes) - $2),
			gone AS (DELETE FROM live_changes AS c USING last WHERE c.position <= last.position RETURNING c.position)
			UPDATE live_state SET removed = last.position FROM last
			WHERE last.position > removed AND (SELECT count(*) FROM gone) > 0`,
			s.options.KeepFor.Seconds(), s.options.KeepRows, pruneAtOnce)
		err = store.Classify(ctx, "remove old changes", err)
		cancel()
		if err != nil {
			return err
		}
		if n, err := result.RowsAffected(); err != nil || n == 0 {
			return err
		}
		if _, state, err := s.sequence(ctx); err == nil {
			s.publish(state)
		}
	}
}

// Read returns up to limit changes after a position, oldest first, and where the stream stands. It is an ErrResync when changes after
// the position are missing.
func (s *Sequencer) Read(ctx context.Context, after Position, limit int) ([]Change, State, error) {
	if err := s.options.DB.Ready(); err != nil {
		return nil, State{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	var rows []struct {
		State

		Number   *int64        `db:"position"` // null when there is no change
		Kind     *Kind         `db:"kind"`
		EventIDs pq.Int64Array `db:"event_ids"`
		CameraID *string       `db:"camera_id"`
	}
	// One statement, so that the rows and the state are of one moment.
	err := s.options.DB.SQL().SelectContext(ctx, &rows, `
		SELECT s.epoch, s.removed, coalesce((SELECT max(position) FROM live_changes), s.removed) AS head,
			c.position, c.kind, c.event_ids, c.camera_id
		FROM live_state AS s
		LEFT JOIN LATERAL (SELECT * FROM live_changes WHERE position > $1 ORDER BY position LIMIT $2) AS c ON true
		ORDER BY c.position`, after.Number, limit)
	if err != nil {
		return nil, State{}, store.Classify(ctx, "read changes", err)
	}
	if len(rows) == 0 {
		return nil, State{}, fmt.Errorf("read changes: no state: %w", store.ErrUnavailable)
	}
	state := rows[0].State
	switch {
	case after.Epoch != state.Epoch:
		return nil, state, ErrForeign
	case after.Number > state.Head:
		return nil, state, ErrAhead
	case after.Number < state.Removed:
		return nil, state, ErrExpired
	}
	changes := make([]Change, 0, len(rows))
	for _, row := range rows {
		if row.Number == nil {
			break
		}
		change := Change{Number: *row.Number, Kind: *row.Kind, EventIDs: row.EventIDs}
		if row.CameraID != nil {
			change.CameraID = *row.CameraID
		}
		changes = append(changes, change)
	}
	return changes, state, nil
}
