package live_test

import (
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"hsi.home.arpa/internal/await"
	"hsi.home.arpa/store"
	"hsi.home.arpa/store/live"
	"hsi.home.arpa/store/storetest"
)

// start runs a sequencer until the test ends.
func start(tb testing.TB, db *store.DB, options ...func(*live.Options)) *live.Sequencer {
	tb.Helper()
	o := live.Options{DB: db, Log: storetest.Logger(tb)}
	for _, change := range options {
		change(&o)
	}
	s := live.New(o)
	ctx, stop := context.WithCancel(context.WithoutCancel(tb.Context()))
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	tb.Cleanup(func() {
		stop()
		require.NoError(tb, await.Value(tb, done))
	})
	await.True(tb, func() bool { state, _ := s.State(); return state.Epoch != "" }, "the sequencer does not start")
	return s
}

// database makes one with a camera, whose change has a position already.
func database(tb testing.TB) *store.DB {
	tb.Helper()
	db := storetest.New(tb)
	storetest.Exec(tb, db, `INSERT INTO cameras (id, name, folder_path) VALUES ('front', 'Front', '/f')`)
	storetest.Exec(tb, db, `DELETE FROM live_pending`)
	return db
}

// reached waits until so many positions are given.
func reached(tb testing.TB, s *live.Sequencer, head int64) {
	tb.Helper()
	await.True(tb, func() bool { state, _ := s.State(); return state.Head >= head }, "position %d is not reached", head)
}

func position(s *live.Sequencer, number int64) live.Position {
	state, _ := s.State()
	return live.Position{Epoch: state.Epoch, Number: number}
}

// told reads everything from the beginning, in short.
func told(tb testing.TB, s *live.Sequencer, after int64) []string {
	tb.Helper()
	changes, _, err := s.Read(tb.Context(), position(s, after), 10_000)
	require.NoError(tb, err)
	lines := make([]string, 0, len(changes))
	for _, change := range changes {
		switch change.Kind {
		case live.Resync:
			lines = append(lines, "resync")
		case live.Camera:
			lines = append(lines, "camera "+change.CameraID)
		default:
			lines = append(lines, fmt.Sprintf("%s %v", change.Kind, []int64(change.EventIDs)))
		}
	}
	return lines
}

const insertEvents = `INSERT INTO events (camera_id, started_at) SELECT 'front', now() FROM generate_series(1, $1::int)`

func TestStatementsOfAnyProgram(t *testing.T) { //nolint:tparallel // its cases share a database
	t.Parallel()
	db := database(t)
	s := start(t, db)
	for name, test := range map[string]struct {
		statements string
		want       []string
	}{
		"insert":                     {`INSERT INTO events (camera_id, started_at) VALUES ('front', now()), ('front', now())`, []string{"event [3]", "event [4]"}},
		"change":                     {`UPDATE events SET reviewed = true WHERE id = 2`, []string{"event_changed [2]"}},
		"null to text":               {`UPDATE events SET notes = 'x' WHERE id = 2`, []string{"event_changed [2]"}},
		"no change":                  {`UPDATE events SET reviewed = false, summary = NULL`, nil},
		"nothing shown":              {`UPDATE events SET search_vector = to_tsvector('x'), clip_path = 'x'`, nil},
		"no row":                     {`UPDATE events SET reviewed = true WHERE id > 100; DELETE FROM events WHERE id > 100`, nil},
		"delete":                     {`DELETE FROM events`, []string{"events_removed [1 2]"}},
		"truncate":                   {`TRUNCATE events CASCADE`, []string{"resync"}},
		"camera":                     {`INSERT INTO cameras (id, name, folder_path) VALUES ('back', 'Back', '/b')`, []string{"camera back"}},
		"camera renamed":             {`UPDATE cameras SET name = 'Gate', last_seen_at = now()`, []string{"camera front"}},
		"camera seen":                {`UPDATE cameras SET last_seen_at = now()`, nil},
		"camera gone":                {`DELETE FROM cameras`, []string{"camera front", "events_removed [1 2]"}},
		"cameras truncated":          {`TRUNCATE cameras CASCADE`, []string{"resync", "resync"}},
		"one statement, two changes": {`WITH gone AS (DELETE FROM events) INSERT INTO events (camera_id, started_at) SELECT 'front', now() FROM generate_series(1, 1)`, []string{"event [3]", "events_removed [1 2]"}},
		"1,001 inserted":             {`INSERT INTO events (camera_id, started_at) SELECT 'front', now() FROM generate_series(1, 1001)`, []string{"resync"}},
		"1,001 and no change": {
			`SET LOCAL hsi.live = 'off'; INSERT INTO events (camera_id, started_at) SELECT 'front', now() FROM generate_series(1, 1001);
			SET LOCAL hsi.live = 'on'; UPDATE events SET search_vector = to_tsvector('x'); UPDATE events SET notes = 'x'; DELETE FROM events`,
			[]string{"resync", "resync"},
		},
		"quiet":     {`SET LOCAL hsi.live = 'off'; DELETE FROM events`, nil},
		"undone":    {`SAVEPOINT a; DELETE FROM events; ROLLBACK TO a; UPDATE events SET risk_score = 5 WHERE id = 1`, []string{"event_changed [1]"}},
		"own order": {`INSERT INTO events (id, camera_id, started_at) VALUES (7, 'front', now()); UPDATE events SET notes = 'x' WHERE id = 7; DELETE FROM events WHERE id = 7`, []string{"event [7]", "event_changed [7]", "events_removed [7]"}},
	} {
		t.Run(name, func(t *testing.T) { // one after the other, in one database
			storetest.Exec(t, db, `TRUNCATE cameras, events RESTART IDENTITY CASCADE; DELETE FROM live_pending;
				INSERT INTO cameras (id, name, folder_path) VALUES ('front', 'Front', '/f')`)
			storetest.Exec(t, db, insertEvents, 2)
			first := settled(t, db, s)
			storetest.Exec(t, db, `BEGIN; `+test.statements+`; COMMIT`)
			settled(t, db, s)
			require.Equal(t, append([]string{}, test.want...), told(t, s, first))
		})
	}
}

// settled waits until everything that is committed has a position, and returns the newest.
func settled(tb testing.TB, db *store.DB, s *live.Sequencer) int64 {
	tb.Helper()
	await.True(tb, func() bool {
		head := storetest.QueryOne[int64](tb, db, `SELECT coalesce(max(position), 0) FROM live_changes WHERE NOT EXISTS (SELECT FROM live_pending)`)
		state, _ := s.State()
		return head > 0 && state.Head == head
	}, "not everything gets a position")
	state, _ := s.State()
	return state.Head
}

// TestOpenTransaction: a row that is committed late gets its position late, and delays nobody.
func TestOpenTransaction(t *testing.T) {
	t.Parallel()
	db := database(t)
	s := start(t, db)
	open, err := db.SQL().BeginTxx(t.Context(), nil)
	require.NoError(t, err)
	defer func() { _ = open.Rollback() }()                  // after Commit it does nothing
	_, err = open.ExecContext(t.Context(), insertEvents, 1) // has the lower id
	require.NoError(t, err)

	storetest.Exec(t, db, insertEvents, 1)
	reached(t, s, 1)
	require.Equal(t, []string{"event [2]"}, told(t, s, 0))
	require.NoError(t, open.Commit())
	reached(t, s, 2)
	require.Equal(t, []string{"event [1]"}, told(t, s, 1))
}

func TestRead_WhatCannotBeReadOn(t *testing.T) {
	t.Parallel()
	db := database(t)
	s := start(t, db)
	for range 3 {
		storetest.Exec(t, db, insertEvents, 1)
	}
	reached(t, s, 3)
	read := func(p live.Position) error {
		_, _, err := s.Read(t.Context(), p, 10)
		return err
	}
	require.NoError(t, read(position(s, 3)))
	require.ErrorIs(t, read(position(s, 4)), live.ErrAhead)
	require.ErrorIs(t, read(live.Position{Epoch: "other", Number: 1}), live.ErrForeign)
	require.ErrorIs(t, read(position(s, 4)), live.ErrResync)

	storetest.Exec(t, db, `DELETE FROM live_changes WHERE position <= 2; UPDATE live_state SET removed = 2`)
	require.ErrorIs(t, read(position(s, 1)), live.ErrExpired)
	require.NoError(t, read(position(s, 2)))
}

func TestPrune(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		change  func(*live.Options)
		removed int64
	}{
		"by number": {func(o *live.Options) { o.KeepRows = 4 }, 6},
		"by age":    {func(o *live.Options) { o.KeepFor = time.Hour }, 3},
		"neither":   {func(*live.Options) {}, 0},
		"all":       {func(o *live.Options) { o.KeepFor = time.Nanosecond }, 10},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := database(t)
			storetest.Exec(t, db, `INSERT INTO live_changes (position, kind, positioned_at)
				SELECT i, 'resync', now() - (CASE WHEN i IN (2, 3) THEN interval '2 h' ELSE interval '1 s' END) FROM generate_series(1, 10) AS i`)
			s := start(t, db, test.change)
			await.True(t, func() bool { state, _ := s.State(); return state.Removed == test.removed })
			state, _ := s.State()
			require.Equal(t, int64(10), state.Head, "positions go on where they were")
			require.Equal(t, 10-test.removed, storetest.QueryOne[int64](t, db, `SELECT count(*) FROM live_changes`))
			storetest.Exec(t, db, insertEvents, 1)
			reached(t, s, 11)
			require.Equal(t, []string{"event [1]"}, told(t, s, 10))
		})
	}
}

// TestEpoch: a copy of a database, with all its rows, has positions of its own; a restart changes nothing.
func TestEpoch(t *testing.T) {
	t.Parallel()
	one, two := database(t), database(t)
	epoch := func(db *store.DB) string { state, _ := start(t, db).State(); return state.Epoch }
	first, second := epoch(one), epoch(two)
	require.NotEqual(t, first, second)
	require.Equal(t, first, epoch(one))
	require.Regexp(t, `^[0-9a-f]{12}$`, first)
}

func TestPosition(t *testing.T) {
	t.Parallel()
	p := live.Position{Epoch: "abc", Number: 42}
	require.Equal(t, "abc-42", p.String())
	parsed, ok := live.ParsePosition("abc-42")
	require.True(t, ok)
	require.Equal(t, p, parsed)
	for _, text := range []string{"", "abc", "abc-", "-", "abc--1", "abc-+1", "abc-01", "abc-1 ", "abc-9223372036854775808", "abc-1-1"} {
		_, ok := live.ParsePosition(text)
		require.False(t, ok, text)
	}
}

// TestFollowers_EndWithTheTable: writers of other programs commit, undo and delay as they like, two sequencers share the work, and
// followers are cut off at random. Each of them ends with exactly the rows of the table.
func TestFollowers_EndWithTheTable(t *testing.T) {
	t.Parallel()
	db := database(t)
	sequencers := []*live.Sequencer{start(t, db), start(t, db)}
	var group sync.WaitGroup
	for writer := range 4 {
		random := rand.New(rand.NewPCG(1, uint64(writer)))
		group.Go(func() { write(t, db, random) })
	}
	written := make(chan struct{})
	followers := make([]*follower, 4)
	var following sync.WaitGroup
	for i := range followers {
		followers[i] = &follower{events: map[int64]bool{}, random: rand.New(rand.NewPCG(2, uint64(i)))}
		following.Go(func() { followers[i].follow(t, sequencers[i%2], written) })
	}
	group.Wait()
	storetest.Exec(t, db, `INSERT INTO cameras (id, name, folder_path) VALUES ('end', 'End', '/e')`)
	close(written)
	following.Wait()
	want := storetest.Query[int64](t, db, `SELECT id FROM events ORDER BY id`)
	require.NotEmpty(t, want)
	for _, f := range followers {
		got := make([]int64, 0)
		for id := range f.events {
			got = append(got, id)
		}
		slices.Sort(got)
		require.Equal(t, want, got)
		require.Empty(t, f.faults)
	}
	require.Zero(t, storetest.QueryOne[int64](t, db, `SELECT count(*) FROM live_pending`))
}

// write is a program that inserts, changes and deletes.
func write(t *testing.T, db *store.DB, random *rand.Rand) {
	t.Helper()
	for range 60 {
		tx, err := db.SQL().BeginTxx(t.Context(), &sql.TxOptions{})
		if err != nil {
			t.Error(err)
			return
		}
		for range 1 + random.IntN(3) {
			statement := []string{
				`INSERT INTO events (camera_id, started_at) VALUES ('front', now())`,
				`INSERT INTO events (camera_id, started_at) VALUES ('front', now()), ('front', now()), ('front', now())`,
				`UPDATE events SET notes = clock_timestamp()::text WHERE id IN (SELECT id FROM events ORDER BY random() LIMIT 1 FOR UPDATE SKIP LOCKED)`,
				`DELETE FROM events WHERE id IN (SELECT id FROM events ORDER BY random() LIMIT 1 FOR UPDATE SKIP LOCKED)`,
			}[random.IntN(4)]
			if _, err := tx.ExecContext(t.Context(), statement); err != nil {
				t.Error(err)
			}
		}
		end := tx.Commit
		if random.IntN(5) == 0 {
			end = tx.Rollback
		}
		if err := end(); err != nil {
			t.Error(err)
		}
	}
}

// follower keeps what a client would keep.
type follower struct {
	events map[int64]bool
	random *rand.Rand
	faults []string
}

func (f *follower) follow(t *testing.T, s *live.Sequencer, written <-chan struct{}) {
	t.Helper()
	state, _ := s.State()
	at := live.Position{Epoch: state.Epoch}
	for {
		_, changed := s.State()
		changes, _, err := s.Read(t.Context(), at, 1+f.random.IntN(20))
		if err != nil {
			t.Error(err)
			return
		}
		if len(changes) == 0 {
			select {
			case <-changed:
			case <-time.After(await.Limit):
				t.Error("nothing comes any more")
				return
			}
			continue
		}
		kept := f.random.IntN(len(changes) + 1) // cut off here
		for _, change := range changes[:kept] {
			if change.Number != at.Number+1 {
				f.faults = append(f.faults, fmt.Sprintf("%d after %d", change.Number, at.Number))
			}
			at.Number = change.Number
			f.apply(change)
			if change.Kind == live.Camera && change.CameraID == "end" {
				<-written
				return
			}
		}
	}
}

func (f *follower) apply(change live.Change) {
	for _, id := range change.EventIDs {
		switch change.Kind {
		case live.EventAdded:
			if f.events[id] {
				f.faults = append(f.faults, fmt.Sprintf("event %d twice", id))
			}
			f.events[id] = true
		case live.EventChanged:
			if !f.events[id] {
				f.faults = append(f.faults, fmt.Sprintf("event %d changed before it was there", id))
			}
		default:
			if !f.events[id] {
				f.faults = append(f.faults, fmt.Sprintf("event %d removed before it was there", id))
			}
			delete(f.events, id)
		}
	}
}

func TestEvents_OfAnyProgram(t *testing.T) {
	t.Parallel()
	db := database(t)
	s := start(t, db)
	storetest.Exec(t, db, `
		INSERT INTO events (id, camera_id, started_at, detection_ids) VALUES
			(1, 'front', now(), NULL), (2, 'front', now(), '[3, 99, 2]'), (3, 'front', now(), 'no JSON'), (4, 'front', now(), NULL);
		INSERT INTO detections (id, camera_id, file_path, detected_at, event_id, object_type) VALUES
			(1, 'front', '/f/a', now(), 1, 'person'), (2, 'front', '/f/b', now(), NULL, 'dog'), (3, 'front', '/f/c', now(), NULL, 'cat'),
			(4, 'front', '/f/d', now(), 1, 'person'), (5, 'front', '/f/e', now(), 1, NULL)`)
	events, err := s.Events(t.Context(), []int64{1, 2, 3, 4, 5})
	require.NoError(t, err)
	require.Len(t, events, 4)
	require.Equal(t, []int64{1, 4, 5}, []int64(events[1].DetectionIDs))
	require.Equal(t, []string{"person"}, []string(events[1].ObjectTypes))
	require.Equal(t, []int64{3, 2}, []int64(events[2].DetectionIDs))
	require.Equal(t, []string{"cat", "dog"}, []string(events[2].ObjectTypes))
	require.Empty(t, events[3].DetectionIDs)
	require.Empty(t, events[4].ObjectTypes)
	require.Equal(t, "Front", *events[4].CameraName)

	cameras, err := s.Cameras(t.Context(), []string{"front", "gone"})
	require.NoError(t, err)
	require.Len(t, cameras, 1)
	require.Equal(t, "Front", cameras["front"].Name)
	counts, err := s.CountCameras(t.Context(), 0)
	require.NoError(t, err)
	require.Equal(t, live.CameraCounts{Total: 1}, counts)
	for offlineAfter, active := range map[time.Duration]int64{time.Hour: 0, 240 * time.Hour: 1} {
		_, err = db.SQL().ExecContext(t.Context(), `UPDATE cameras SET last_seen_at = now() - interval '2 hours' WHERE id = 'front'`)
		require.NoError(t, err)
		counts, err = s.CountCameras(t.Context(), offlineAfter)
		require.NoError(t, err)
		require.Equal(t, live.CameraCounts{Active: &active, Total: 1}, counts)
	}
}

// TestFlood: while one commit follows the other the triggers need not notify; when it is quiet they do.
func TestFlood(t *testing.T) {
	t.Parallel()
	db := database(t)
	s := start(t, db)
	awake := func() bool { return storetest.QueryOne[bool](t, db, `SELECT last_value = 1 FROM live_awake`) }
	await.True(t, func() bool {
		storetest.Exec(t, db, insertEvents, 1)
		return awake()
	}, "a flood is not noticed")
	await.True(t, func() bool { return !awake() }, "the end of a flood is not noticed")

	notified := make(chan struct{}, 1)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- db.Listen(ctx, "hsi_live", func() {
			select {
			case notified <- struct{}{}:
			default:
			}
		})
	}()
	await.Value(t, notified, "it does not listen")
	storetest.Exec(t, db, insertEvents, 1)
	await.Value(t, notified, "a single event is not notified")
	reached(t, s, storetest.QueryOne[int64](t, db, `SELECT count(*) FROM events`))
	stop()
	require.NoError(t, await.Value(t, done))
}
