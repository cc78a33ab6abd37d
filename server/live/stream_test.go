package live_test

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"hsi.home.arpa/internal/await"
	"hsi.home.arpa/server/live"
	storelive "hsi.home.arpa/store/live"
	"hsi.home.arpa/store/storetest"
)

const insertEvent = `INSERT INTO events (camera_id, started_at, risk_score, risk_level, summary) VALUES ('front', '2025-12-23T10:30:00Z', 75, 'high', 'A person')`

func TestStream_Kinds(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.follow(t, "")
	first, err := c.block()
	require.NoError(t, err)
	require.Equal(t, w.at(0), first.ID, "who is cut off before the first frame knows where it was")
	require.Equal(t, "2000", first.Retry)
	status := c.nextKind(t, "system_status")
	require.Contains(t, status.Data, `"cameras":{"active":null,"total":1}`)
	require.Contains(t, status.Data, `"queue":{"pending":5,"processing":2}`)
	require.Contains(t, status.Data, `"utilization":null`)

	w.exec(t, insertEvent)
	f := c.next(t)
	require.Equal(t, "event", f.Kind)
	require.Equal(t, w.at(1), f.ID)
	require.Contains(t, f.Data, `"camera_name":"Front"`)
	require.Contains(t, f.Data, `"started_at":"2025-12-23T10:30:00Z"`)
	w.exec(t, `UPDATE events SET notes = 'seen'`)
	f = c.next(t)
	require.Equal(t, "event_changed", f.Kind)
	require.Contains(t, f.Data, `"notes":"seen"`)
	w.exec(t, `DELETE FROM events`)
	f = c.next(t)
	require.Equal(t, "events_removed", f.Kind)
	require.JSONEq(t, `{"ids":[1]}`, f.Data)
	w.exec(t, `UPDATE cameras SET name = 'Gate'; UPDATE cameras SET last_seen_at = now()`)
	f = c.next(t)
	require.Equal(t, "camera", f.Kind)
	require.Contains(t, f.Data, `"name":"Gate"`)
	require.Contains(t, c.nextKind(t, "system_status").Data, `"total":1`, "told at once, since a camera has changed")
	w.exec(t, `DELETE FROM cameras`)
	f = c.next(t)
	require.JSONEq(t, `{"id":"front","name":null,"status":null,"last_seen_at":null,"removed":true}`, f.Data)
	w.exec(t, `INSERT INTO cameras (id, name, folder_path) VALUES ('back', 'Back', '/b');
		INSERT INTO events (camera_id, started_at) SELECT 'back', now() FROM generate_series(1, 1001)`)
	require.Equal(t, "camera", c.next(t).Kind)
	f = c.next(t)
	require.Equal(t, "resync", f.Kind)
	require.JSONEq(t, `{"reason":"many_changes"}`, f.Data)
	require.Equal(t, w.at(7), f.ID)
}

// TestStream_Resync: a position that is worth nothing gets exactly one, and goes on from there.
func TestStream_Resync(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for range 4 {
		w.exec(t, insertEvent)
	}
	w.reached(t, 4)
	require.JSONEq(t, `{"reason":"ahead"}`, w.follow(t, w.at(5)).next(t).Data)
	w.exec(t, `DELETE FROM live_changes WHERE position <= 2; UPDATE live_state SET removed = 2`)
	for after, reason := range map[string]string{
		w.at(1): "expired", w.at(5): "ahead", "0123456789ab-3": "foreign", "nonsense": "foreign", "-": "foreign",
	} {
		f := w.follow(t, after).next(t)
		require.Equal(t, "resync", f.Kind, after)
		require.JSONEq(t, `{"reason":"`+reason+`"}`, f.Data, after)
		require.Equal(t, w.at(4), f.ID)
	}
	c := w.follow(t, "nonsense")
	require.Equal(t, "resync", c.next(t).Kind)
	again := w.follow(t, c.last)
	w.exec(t, insertEvent)
	require.Equal(t, "event", c.next(t).Kind)
	require.Equal(t, "event", again.next(t).Kind, "a resync is not told again")
}

func TestStream_GoesOnBehindAPosition(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for range 150 { // more than one page
		w.exec(t, insertEvent)
	}
	w.exec(t, `DELETE FROM events WHERE id = 7`)
	w.reached(t, 151)
	c := w.follow(t, w.at(0))
	for number := int64(1); number <= 151; number++ {
		if number == 7 {
			continue // it is gone, and so says the last frame
		}
		require.Equal(t, w.at(number), c.next(t).ID)
	}
	require.Equal(t, w.at(151), c.last)
	w.exec(t, insertEvent)
	require.Equal(t, w.at(152), c.next(t).ID)
}

// TestStream_RandomCuts: every client ends with exactly the rows of the table, in order, none twice, on whichever of two servers it is.
func TestStream_RandomCuts(t *testing.T) {
	t.Parallel()
	one := newWorld(t)
	servers := []*world{one, newServer(t, one.db)}
	const clients, changes = 6, 200
	begin := one.at(0)
	type result struct {
		events map[int64]bool
		cuts   int
		faults []string
	}
	results := make([]result, clients)
	var group sync.WaitGroup
	for i := range clients {
		group.Go(func() {
			random := rand.New(rand.NewPCG(3, uint64(i)))
			r := &results[i]
			r.events = map[int64]bool{}
			for last, finished := begin, false; !finished; r.cuts++ {
				last, finished = followUntilCut(t, servers[random.IntN(2)], last, random.IntN(30), func(kind string, id int64) {
					if (kind == "event") == r.events[id] {
						r.faults = append(r.faults, fmt.Sprintf("%s %d", kind, id))
					}
					r.events[id] = kind != "events_removed"
				})
			}
		})
	}
	random := rand.New(rand.NewPCG(4, 0))
	for range changes {
		statement := []string{insertEvent, insertEvent, `UPDATE events SET notes = clock_timestamp()::text WHERE id = (SELECT max(id) FROM events)`}[random.IntN(3)]
		one.exec(t, statement)
	}
	one.exec(t, `INSERT INTO cameras (id, name, folder_path) VALUES ('end', 'End', '/e')`)
	group.Wait()
	want := storetest.Query[int64](t, one.db, `SELECT id FROM events ORDER BY id`)
	require.Greater(t, len(want), changes/2)
	for _, r := range results {
		require.Equal(t, want, slices.Sorted(maps.Keys(r.events)))
		require.Empty(t, r.faults)
		require.Greater(t, r.cuts, 3)
	}
}

// followUntilCut reads up to so many frames and cuts the connection.
func followUntilCut(t *testing.T, w *world, last string, frames int, tell func(kind string, id int64)) (at string, finished bool) {
	t.Helper()
	c := w.follow(t, last)
	defer func() { _ = c.response.Body.Close() }()
	for range frames {
		f, err := c.block()
		if err != nil {
			t.Error(err)
			return c.last, true
		}
		switch f.Kind {
		case "event", "event_changed":
			var id int64
			if _, err := fmt.Sscanf(field(t, f.Data, "id"), "%d", &id); err != nil {
				t.Error(err)
			}
			tell(f.Kind, id)
		case "camera":
			return c.last, true
		case "resync":
			t.Error("a resync: " + f.Data)
			return c.last, true
		}
	}
	return c.last, false
}

// TestStream_CloseEndsItAtOnce: with a hint when to come back, and nobody is taken in any more.
func TestStream_CloseEndsItAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.follow(t, "")
	_, err := c.block()
	require.NoError(t, err)
	w.hub.Close()
	retry := ""
	for err == nil {
		f, blockErr := c.block()
		err = blockErr
		if f.Retry != "" {
			retry = f.Retry
		}
	}
	require.ErrorIs(t, err, io.EOF, "it ends as answers do")
	require.Equal(t, "1000", retry)
	_, err = w.hub.Stream(t.Context(), "", nil)
	require.Error(t, err)
}

func TestStream_EndsWithItsSession(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.follow(t, "")
	close(w.session)
	var err error
	for err == nil {
		_, err = c.block()
	}
	require.ErrorIs(t, err, io.EOF)
}

func TestStream_AsManyClientsAsMay(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(o *live.Options) { o.MaxClients = 2 })
	first := w.follow(t, "")
	w.follow(t, "")
	_, err := w.hub.Join("", live.Wants{})
	require.ErrorIs(t, err, live.ErrFull)
	require.NoError(t, first.response.Body.Close())
	await.True(t, func() bool {
		s, err := w.hub.Join("", live.Wants{})
		if err == nil {
			s.Leave()
		}
		return !errors.Is(err, live.ErrFull)
	}, "a client that left still counts")
}

// TestStream_AnotherDatabaseTakesOver: a standby that may lack the last positions has an epoch of its own.
func TestStream_AnotherDatabaseTakesOver(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.follow(t, "")
	w.exec(t, insertEvent)
	require.Equal(t, "event", c.next(t).Kind)
	w.exec(t, `UPDATE live_state SET epoch = 'another'`)
	f := c.next(t)
	require.Equal(t, "resync", f.Kind)
	require.Equal(t, "another-1", f.ID)
	w.exec(t, insertEvent)
	require.Equal(t, storelive.Position{Epoch: "another", Number: 2}.String(), c.next(t).ID)
}
