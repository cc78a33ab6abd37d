package seen_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"hsi.home.arpa/store/live"
	"hsi.home.arpa/store/seen"
	"hsi.home.arpa/store/storetest"
)

// TestReviewMatching: what fits and was there when the list was read is marked, and what came later
// is not, whether or not it has its position yet.
func TestReviewMatching(t *testing.T) {
	t.Parallel()
	e := setup(t)
	sequencer := live.New(live.Options{DB: e.db, Log: storetest.Logger(t)})
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- sequencer.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		require.NoError(t, <-done)
	})
	position := func() string {
		listed, err := e.Events(t.Context(), seen.EventFilter{}, seen.Page{Limit: 1})
		require.NoError(t, err)
		return listed.Position
	}
	settled := func() string { // everything has its position
		t.Helper()
		require.Eventually(t, func() bool {
			var waiting int
			require.NoError(t, e.db.SQL().GetContext(t.Context(), &waiting, `SELECT count(*) FROM live_pending`))
			return waiting == 0
		}, time.Minute, time.Millisecond)
		return position()
	}
	review := func(at string, filter seen.EventFilter) int64 {
		t.Helper()
		p, ok := live.ParsePosition(at)
		require.True(t, ok)
		n, err := e.ReviewMatching(t.Context(), filter, p.Epoch, p.Number, actor, "all")
		require.NoError(t, err)
		return n
	}
	for range 3 {
		e.insert(row{camera: "front", startedAt: base()})
	}
	e.insert(row{camera: "garden", startedAt: base()})
	read := settled()
	late := e.insert(row{camera: "front", startedAt: base()})
	front := seen.EventFilter{CameraIDs: []string{"front"}}
	require.EqualValues(t, 3, review(read, front))
	settled()
	require.EqualValues(t, 0, review(read, front))
	require.Len(t, e.audited(), 1)
	listed, err := e.Events(t.Context(), seen.EventFilter{CameraIDs: []string{"front"}, Reviewed: new(false)}, seen.Page{Limit: 5})
	require.NoError(t, err)
	require.Equal(t, []int64{late}, ids(listed.Rows, eventID))

	// Many are marked in parts, with one audit entry and no frame for each.
	e.exec(`INSERT INTO events (camera_id, started_at) SELECT 'attic', now() FROM generate_series(1, 900)`)
	e.exec(`INSERT INTO events (camera_id, started_at) SELECT 'attic', now() FROM generate_series(1, 900)`)
	read = settled()
	require.EqualValues(t, 1800, review(read, seen.EventFilter{CameraIDs: []string{"attic"}}))
	require.Len(t, e.audited(), 2)
	require.JSONEq(t, `{"filter":"all","reviewed":1800,"request_id":"r1"}`, string(e.audited()[0].Details))
	settled()
	var told []string
	p, _ := live.ParsePosition(read)
	require.NoError(t, e.db.SQL().SelectContext(t.Context(), &told, `SELECT kind FROM live_changes WHERE position > $1`, p.Number))
	require.Equal(t, []string{"resync", "resync"}, told)

	// Of these nobody can say what came later.
	epoch, _, _ := strings.Cut(read, "-")
	for _, unknown := range []live.Position{{Epoch: "other", Number: 1}, {Epoch: epoch, Number: 999_999}, p} {
		_, err := e.ReviewMatching(t.Context(), front, unknown.Epoch, unknown.Number, actor, "all")
		require.ErrorIs(t, err, seen.ErrUnknownPosition, unknown)
	}
}
