package store_test

import (
	"context"
	"fmt"
	"math"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"hsi.home.arpa/store"
	"hsi.home.arpa/store/storetest"
)

func TestCommitDetections(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	addCamera(t, db, "a")
	img := newImage("a", "/a/1.jpg")
	img.SeenAt = base().Add(time.Second)
	id := record(t, db, img).ID
	committed := commit(t, db, id, found(3, base()))
	require.Equal(t, store.ImageBatched, committed.Image.State)
	require.NotNil(t, committed.Image.DetectStartedAt)
	require.NotNil(t, committed.Image.DetectedAt)
	require.NotNil(t, committed.Image.BatchedAt)
	require.Nil(t, committed.Closed)
	require.Len(t, committed.DetectionIDs, 3)
	require.Equal(t, store.BatchOpen, committed.Batch.State)
	require.Equal(t, base(), committed.Batch.OpenedAt)
	require.Equal(t, base(), committed.Batch.LastAt)
	require.Equal(t, base().Add(time.Second), committed.Batch.FirstSeenAt)
	require.Equal(t, 1, committed.Batch.ImageCount)
	require.Equal(t, 3, committed.Batch.DetectionCount)
	require.Equal(t, committed.Batch.ID, *committed.Image.BatchID)
	type row struct {
		ID        int64     `db:"id"`
		ImageID   int64     `db:"image_id"`
		BatchID   int64     `db:"batch_id"`
		EventID   *int64    `db:"event_id"`
		At        time.Time `db:"detected_at"`
		X         int       `db:"bbox_x"`
		Thumbnail string    `db:"thumbnail_path"`
		Detector  string    `db:"detector"`
	}
	rows := storetest.Query[row](t, db, `
		SELECT id, image_id, batch_id, event_id, detected_at, bbox_x, thumbnail_path, detector FROM detections ORDER BY id`)
	for i, r := range rows {
		require.True(t, r.At.Equal(base()))
		require.Equal(t, row{committed.DetectionIDs[i], id, committed.Batch.ID, nil, r.At, i, fmt.Sprintf("thumb-%d.jpg", i), "motion"}, r)
	}

	// A second image joins; an older one widens the batch.
	second := commit(t, db, record(t, db, newImage("a", "/a/2.jpg")).ID, found(1, base().Add(-time.Minute)))
	require.Equal(t, committed.Batch.ID, second.Batch.ID)
	require.Equal(t, base().Add(-time.Minute), second.Batch.OpenedAt)
	require.Equal(t, base(), second.Batch.LastAt)
	require.Equal(t, 2, second.Batch.ImageCount)
	require.Equal(t, 4, second.Batch.DetectionCount)
	require.Equal(t, int64(4), requireNoDrift(t, db).Detections)
}

func TestCommitDetections_Nothing(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	addCamera(t, db, "a")
	committed := commit(t, db, record(t, db, newImage("a", "/1")).ID, found(0, base()))
	require.Equal(t, store.ImageFiltered, committed.Image.State)
	require.Equal(t, store.ReasonNoDetections, *committed.Image.Reason)
	require.NotNil(t, committed.Image.DetectedAt)
	require.Nil(t, committed.Batch)
	batches, err := db.OpenBatches(t.Context())
	require.NoError(t, err)
	require.Empty(t, batches)
}

func TestCommitDetections_ErrInvalid(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	addCamera(t, db, "a")
	id := record(t, db, newImage("a", "/1")).ID
	_, err := db.ClaimImage(t.Context(), id, "t", time.Minute)
	require.NoError(t, err)
	for _, confidence := range []float64{math.NaN(), -0.1, 1.1, math.Inf(1)} {
		result := found(2, base())
		result.Detections[1].Confidence = confidence
		_, err := db.CommitDetection(t.Context(), store.ImageClaim{ImageID: id, Token: "t"}, result, always(store.JoinOpen))
		require.ErrorIs(t, err, store.ErrInvalid)
	}
	require.Equal(t, store.ImageDetecting, image(t, db, id).State)
}

func TestCommitDetections_Many(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	addCamera(t, db, "a")
	committed := commit(t, db, record(t, db, newImage("a", "/film.mp4")).ID, found(9001, base()))
	require.Len(t, committed.DetectionIDs, 9001)
	require.IsIncreasing(t, committed.DetectionIDs)
	require.Equal(t, int64(9001), requireNoDrift(t, db).Detections)
}

func TestCommitDetections_ClosesAndStarts(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	addCamera(t, db, "a")
	first := commit(t, db, record(t, db, newImage("a", "/1")).ID, found(1, base()))
	id := record(t, db, newImage("a", "/2")).ID
	_, err := db.ClaimImage(t.Context(), id, "t", time.Minute)
	require.NoError(t, err)
	asked := 0
	second, err := db.CommitDetection(t.Context(), store.ImageClaim{ImageID: id, Token: "t"}, found(1, base().Add(time.Hour)),
		func(open store.Batch, imageAt time.Time) store.JoinDecision {
			asked++
			require.Equal(t, first.Batch.ID, open.ID)
			require.Equal(t, base(), open.OpenedAt)
			require.Equal(t, base().Add(time.Hour), imageAt)
			require.False(t, open.ReadAt.Before(open.TouchedAt), "one clock")
			return store.CloseAndStart
		})
	require.NoError(t, err)
	require.Equal(t, 1, asked)
	require.Equal(t, first.Batch.ID, second.Closed.ID)
	require.Equal(t, store.BatchClosed, second.Closed.State)
	require.NotEqual(t, first.Batch.ID, second.Batch.ID)
	open, err := db.OpenBatches(t.Context())
	require.NoError(t, err)
	require.Len(t, open, 1)
	require.Equal(t, second.Batch.ID, open[0].ID)
}

// Adders and closers meet on one row: no image may get into a batch that is closed already, and
// each camera has at most one open batch.
func TestBatch_AddersAndClosersRace(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	cameras := []string{"a", "b"}
	addCamera(t, db, cameras...)
	const images = 240
	var next, closings atomic.Int64
	var group errgroup.Group
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var closers errgroup.Group
	for range 2 {
		closers.Go(func() error {
			for ctx.Err() == nil {
				open, err := db.OpenBatches(ctx)
				if err != nil {
					return ignoreCancelled(ctx, err)
				}
				for _, batch := range open {
					_, closed, err := db.CloseBatch(ctx, batch.ID, func(b store.Batch) bool { return b.ImageCount >= 3 })
					if err != nil {
						return ignoreCancelled(ctx, err)
					}
					if closed {
						closings.Add(1)
					}
				}
			}
			return nil
		})
	}
	for range 6 {
		group.Go(func() error {
			for {
				n := next.Add(1)
				if n > images {
					return nil
				}
				recorded, err := db.RecordImage(ctx, newImage(cameras[n%2], fmt.Sprintf("/%d", n)))
				if err != nil {
					return err
				}
				claim := store.ImageClaim{ImageID: recorded.ID, Token: fmt.Sprint("claim ", n)}
				if _, err := db.ClaimImage(ctx, recorded.ID, claim.Token, time.Minute); err != nil {
					return err
				}
				decision := store.JoinOpen
				if n%7 == 0 {
					decision = store.CloseAndStart
				}
				committed, err := db.CommitDetection(ctx, claim, found(2, base()), always(decision))
				if err != nil {
					return err
				}
				if committed.Closed != nil {
					closings.Add(1)
				}
			}
		})
	}
	require.NoError(t, group.Wait())
	cancel()
	require.NoError(t, closers.Wait())

	require.Equal(t, images, storetest.QueryOne[int](t, db, `SELECT count(*) FROM images WHERE state = 'batched'`))
	require.Zero(t, storetest.QueryOne[int](t, db, `
		SELECT count(*) FROM images AS i JOIN batches AS b ON b.id = i.batch_id WHERE i.batched_at > b.closed_at`),
		"an image got into a closed batch")
	require.Zero(t, storetest.QueryOne[int](t, db, `
		SELECT count(*) FROM batches AS b
		WHERE image_count <> (SELECT count(*) FROM images WHERE batch_id = b.id)
		   OR detection_count <> (SELECT count(*) FROM detections WHERE batch_id = b.id)
		   OR camera_id <> ALL (SELECT camera_id FROM images WHERE batch_id = b.id)`))
	closed := storetest.QueryOne[int64](t, db, `SELECT count(*) FROM batches WHERE closed_at IS NOT NULL`)
	require.Positive(t, closed)
	require.LessOrEqual(t, closings.Load(), closed, "a batch was closed twice")
	require.GreaterOrEqual(t, closings.Load(), closed-2, "but for a closer that was stopped in the middle")
	require.Equal(t, int64(2*images), requireNoDrift(t, db).Detections)
}

// ignoreCancelled takes the end of the test's context for no failure.
func ignoreCancelled(ctx context.Context, err error) error {
	if ctx.Err() == nil {
		return err
	}
	return nil
}

func TestCloseBatch(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	addCamera(t, db, "a")
	id := commit(t, db, record(t, db, newImage("a", "/1")).ID, found(1, base())).Batch.ID
	batch, closed, err := db.CloseBatch(t.Context(), id, func(store.Batch) bool { return false })
	require.NoError(t, err)
	require.False(t, closed)
	require.Equal(t, store.BatchOpen, batch.State)
	batch, closed, err = db.CloseBatch(t.Context(), id, func(store.Batch) bool { return true })
	require.NoError(t, err)
	require.True(t, closed)
	require.Equal(t, store.BatchClosed, batch.State)
	require.NotNil(t, batch.ClosedAt)
	_, closed, err = db.CloseBatch(t.Context(), id, func(store.Batch) bool { t.Error("asked about a closed batch"); return true })
	require.NoError(t, err)
	require.False(t, closed)
	_, closed, err = db.CloseBatch(t.Context(), id+999, func(store.Batch) bool { return true })
	require.NoError(t, err)
	require.False(t, closed)
}

// closedBatch makes a closed batch with two images and returns its id.
func closedBatch(t *testing.T, db *store.DB) int64 {
	t.Helper()
	addCamera(t, db, "a")
	var id int64
	for i := range 2 {
		path := fmt.Sprintf("/a/%d-%d", i, storetest.QueryOne[int](t, db, `SELECT count(*) FROM images`))
		id = commit(t, db, record(t, db, newImage("a", path)).ID, found(2, base().Add(time.Duration(i)*time.Second))).Batch.ID
	}
	_, closed, err := db.CloseBatch(t.Context(), id, func(store.Batch) bool { return true })
	require.NoError(t, err)
	require.True(t, closed)
	return id
}

func TestBatchToEvent(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	id := closedBatch(t, db)
	waiting, err := db.WaitingBatches(t.Context(), 10, time.Minute)
	require.NoError(t, err)
	require.Len(t, waiting, 1)
	require.Equal(t, id, waiting[0].ID)
	marked, err := db.MarkBatchesQueued(t.Context(), []int64{id, 12345}, time.Minute)
	require.NoError(t, err)
	require.Equal(t, []int64{id}, marked)
	marked, err = db.MarkBatchesQueued(t.Context(), []int64{id}, time.Minute)
	require.NoError(t, err)
	require.Empty(t, marked)

	claim := store.BatchClaim{BatchID: id, Token: "t"}
	work, err := db.ClaimBatch(t.Context(), id, claim.Token, time.Minute)
	require.NoError(t, err)
	require.Equal(t, "A", work.Camera.Name)
	require.Len(t, work.Detections, 4)
	require.Equal(t, base(), work.Detections[0].DetectedAt)
	require.Equal(t, "person", *work.Detections[0].ObjectType)
	require.Equal(t, store.BatchAnalyzing, work.Batch.State)
	require.NotNil(t, work.Batch.StartedAt)
	_, err = db.ClaimBatch(t.Context(), id, "other", time.Minute)
	require.ErrorIs(t, err, store.ErrClaimLost)

	event, err := db.CommitEvent(t.Context(), claim, newEvent())
	require.NoError(t, err)
	require.Equal(t, fmt.Sprint(id), *event.BatchID)
	require.Equal(t, 4, event.Detections)
	require.Equal(t, base(), event.StartedAt)
	require.Equal(t, 42, *event.RiskScore)
	require.Equal(t, "rules", *event.Analyzer)
	batch, err := db.Batch(t.Context(), id)
	require.NoError(t, err)
	require.Equal(t, store.BatchAnalyzed, batch.State)
	require.Equal(t, event.ID, *batch.EventID)
	require.Equal(t, 2, storetest.QueryOne[int](t, db, `SELECT count(*) FROM images WHERE state = 'analyzed' AND analyzed_at IS NOT NULL`))
	require.Equal(t, 4, storetest.QueryOne[int](t, db, `SELECT count(*) FROM detections WHERE event_id = $1`, event.ID))

	_, err = db.CommitEvent(t.Context(), claim, newEvent())
	require.ErrorIs(t, err, store.ErrClaimLost, "one event for each batch")
	events, err := db.ListEvents(t.Context(), 0, 10)
	require.NoError(t, err)
	require.Equal(t, []store.Event{event}, events)
	latest, err := db.LatestEvents(t.Context(), 10)
	require.NoError(t, err)
	require.Equal(t, events, latest)
	events, err = db.ListEvents(t.Context(), event.ID, 10)
	require.NoError(t, err)
	require.Empty(t, events)
	require.Equal(t, int64(1), requireNoDrift(t, db).Events)
}

func newEvent() store.NewEvent {
	return store.NewEvent{
		StartedAt: base(), EndedAt: base().Add(time.Second), RiskScore: 42, RiskLevel: "medium",
		Summary: "a person", Reasoning: "two pictures", Analyzer: "rules",
	}
}

// An LLM may answer anything.
func TestCommitEvent_OddTexts(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	id := closedBatch(t, db)
	claim := store.BatchClaim{BatchID: id, Token: "t"}
	_, err := db.ClaimBatch(t.Context(), id, claim.Token, time.Minute)
	require.NoError(t, err)
	odd := newEvent()
	odd.Summary, odd.Reasoning = "a\x00b\xff", strings.Repeat("x", 100_000)
	event, err := db.CommitEvent(t.Context(), claim, odd)
	require.NoError(t, err)
	require.Equal(t, "a\uFFFDb\uFFFD", *event.Summary)
	require.Len(t, *event.Reasoning, 20_000)
}

func TestCommitEvent_ErrInvalid(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	id := closedBatch(t, db)
	claim := store.BatchClaim{BatchID: id, Token: "t"}
	_, err := db.ClaimBatch(t.Context(), id, claim.Token, time.Minute)
	require.NoError(t, err)
	bad := newEvent()
	bad.RiskScore = 101
	_, err = db.CommitEvent(t.Context(), claim, bad)
	require.ErrorIs(t, err, store.ErrInvalid)
	_, err = db.CommitEvent(t.Context(), claim, newEvent())
	require.NoError(t, err, "the claim survived")
}

func TestClaimBatch_OldMeetsNew(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	id := closedBatch(t, db)
	older, newer := store.BatchClaim{BatchID: id, Token: "old"}, store.BatchClaim{BatchID: id, Token: "new"}
	_, err := db.ClaimBatch(t.Context(), id, older.Token, time.Minute)
	require.NoError(t, err)
	expire(t, db)
	work, err := db.ClaimBatch(t.Context(), id, newer.Token, time.Minute)
	require.NoError(t, err)
	require.Equal(t, 2, work.Batch.Attempts)
	_, err = db.CommitEvent(t.Context(), older, newEvent())
	require.ErrorIs(t, err, store.ErrClaimLost)
	require.ErrorIs(t, db.DeadLetterBatch(t.Context(), older, "x"), store.ErrClaimLost)
	require.ErrorIs(t, db.ReleaseBatch(t.Context(), older, nil, "x", true), store.ErrClaimLost)
	require.Zero(t, requireNoDrift(t, db).Events)
	_, err = db.CommitEvent(t.Context(), newer, newEvent())
	require.NoError(t, err)
}

func TestReleaseBatch(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	id := closedBatch(t, db)
	claim := store.BatchClaim{BatchID: id, Token: "t"}
	_, err := db.ClaimBatch(t.Context(), id, claim.Token, time.Minute)
	require.NoError(t, err)
	later := time.Now().Add(time.Minute)
	require.NoError(t, db.ReleaseBatch(t.Context(), claim, &later, "service down", true))
	waiting, err := db.WaitingBatches(t.Context(), 10, time.Minute)
	require.NoError(t, err)
	require.Empty(t, waiting)
	storetest.Exec(t, db, `UPDATE batches SET next_attempt_at = clock_timestamp() + interval '1 day'`)
	waiting, err = db.WaitingBatches(t.Context(), 10, time.Minute)
	require.NoError(t, err)
	require.Len(t, waiting, 1, "a stepped clock must not park a batch for a day")
	require.Zero(t, storetest.QueryOne[int](t, db, `SELECT attempts FROM batches`))
}

func TestOpenBatch_CannotBeClaimed(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	addCamera(t, db, "a")
	id := commit(t, db, record(t, db, newImage("a", "/1")).ID, found(1, base())).Batch.ID
	_, err := db.ClaimBatch(t.Context(), id, "t", time.Minute)
	require.ErrorIs(t, err, store.ErrClaimLost)
	_, err = db.ClaimBatch(t.Context(), id+1, "t", time.Minute)
	require.ErrorIs(t, err, store.ErrNotFound)
}
