package store_test

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"hsi.home.arpa/store"
	"hsi.home.arpa/store/storetest"
)

// expire ends all leases, as time would.
func expire(t *testing.T, db *store.DB) {
	t.Helper()
	storetest.Exec(t, db, `UPDATE images SET claimed_until = clock_timestamp() - interval '1 second' WHERE claimed_by IS NOT NULL`)
	storetest.Exec(t, db, `UPDATE batches SET claimed_until = clock_timestamp() - interval '1 second' WHERE claimed_by IS NOT NULL`)
}

func image(t *testing.T, db *store.DB, id int64) store.Image {
	t.Helper()
	img, err := db.Image(t.Context(), id)
	require.NoError(t, err)
	return img
}

// found is a result with n detections at the image time.
func found(n int, at time.Time) store.DetectionResult {
	result := store.DetectionResult{Detector: "motion", ImageAt: at, FileType: "image/jpeg"}
	for i := range n {
		result.Detections = append(result.Detections, store.NewDetection{
			ObjectType: "person", Confidence: 0.9, BBoxX: i, BBoxY: 2, BBoxWidth: 3, BBoxHeight: 4,
			ThumbnailPath: fmt.Sprintf("thumb-%d.jpg", i),
		})
	}
	return result
}

func always(decision store.JoinDecision) store.Join {
	return func(store.Batch, time.Time) store.JoinDecision { return decision }
}

func TestClaimImage_OnlyOneWins(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	addCamera(t, db, "a")
	id := record(t, db, newImage("a", "/1")).ID
	var won, lost atomic.Int64
	var group errgroup.Group
	for i := range 8 {
		group.Go(func() error {
			_, err := db.ClaimImage(t.Context(), id, fmt.Sprintf("token-%d", i), time.Minute)
			switch {
			case err == nil:
				won.Add(1)
			case isClaimLost(err):
				lost.Add(1)
			default:
				return err
			}
			return nil
		})
	}
	require.NoError(t, group.Wait())
	require.Equal(t, int64(1), won.Load())
	require.Equal(t, int64(7), lost.Load())
	require.Equal(t, 1, image(t, db, id).Attempts)
	_, err := db.ClaimImage(t.Context(), id+1000, "token", time.Minute)
	require.ErrorIs(t, err, store.ErrNotFound)
	_, err = db.ClaimImage(t.Context(), id, "", time.Minute)
	require.ErrorIs(t, err, store.ErrInvalid)
}

func TestClaimImage_SameTokenExtends(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	addCamera(t, db, "a")
	id := record(t, db, newImage("a", "/1")).ID
	first, err := db.ClaimImage(t.Context(), id, "mine", time.Minute)
	require.NoError(t, err)
	again, err := db.ClaimImage(t.Context(), id, "mine", time.Hour)
	require.NoError(t, err)
	require.Equal(t, first, again, "no second attempt")
}

func TestClaim_OldMeetsNew(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	addCamera(t, db, "a")
	id := record(t, db, newImage("a", "/1")).ID
	older, newer := store.ImageClaim{ImageID: id, Token: "old"}, store.ImageClaim{ImageID: id, Token: "new"}
	_, err := db.ClaimImage(t.Context(), id, older.Token, time.Minute)
	require.NoError(t, err)
	expire(t, db)
	img, err := db.ClaimImage(t.Context(), id, newer.Token, time.Minute)
	require.NoError(t, err)
	require.Equal(t, 2, img.Attempts)

	// The worker that was frozen wakes up and knows nothing of it.
	for name, act := range map[string]func(store.ImageClaim) error{
		"commit": func(c store.ImageClaim) error {
			_, err := db.CommitDetection(t.Context(), c, found(2, base()), always(store.JoinOpen))
			return err
		},
		"commit nothing": func(c store.ImageClaim) error {
			_, err := db.CommitDetection(t.Context(), c, found(0, base()), always(store.JoinOpen))
			return err
		},
		"release":     func(c store.ImageClaim) error { return db.ReleaseImage(t.Context(), c, nil, "x", true) },
		"dead letter": func(c store.ImageClaim) error { return db.DeadLetterImage(t.Context(), c, "x") },
		"lose":        func(c store.ImageClaim) error { return db.LoseImage(t.Context(), c, store.ReasonReplaced) },
		"claim": func(c store.ImageClaim) error {
			_, err := db.ClaimImage(t.Context(), id, c.Token, time.Minute)
			return err
		},
	} {
		require.ErrorIs(t, act(older), store.ErrClaimLost, name)
	}
	require.Equal(t, store.ImageDetecting, image(t, db, id).State)
	require.Zero(t, storetest.QueryOne[int](t, db, `SELECT count(*) FROM detections`))
	require.Zero(t, storetest.QueryOne[int](t, db, `SELECT count(*) FROM batches`))

	committed, err := db.CommitDetection(t.Context(), newer, found(2, base()), always(store.JoinOpen))
	require.NoError(t, err)
	require.Equal(t, store.ImageBatched, committed.Image.State)
	_, err = db.CommitDetection(t.Context(), newer, found(2, base()), always(store.JoinOpen))
	require.ErrorIs(t, err, store.ErrClaimLost, "a second commit of the same work")
	require.Equal(t, int64(2), requireNoDrift(t, db).Detections)
}

func TestClaim_EndedButNotTakenOverStillHolds(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	addCamera(t, db, "a")
	id := record(t, db, newImage("a", "/1")).ID
	claim := store.ImageClaim{ImageID: id, Token: "slow"}
	_, err := db.ClaimImage(t.Context(), id, claim.Token, time.Minute)
	require.NoError(t, err)
	expire(t, db)
	_, err = db.CommitDetection(t.Context(), claim, found(1, base()), always(store.JoinOpen))
	require.NoError(t, err, "nobody else has begun: the work counts")
}

func TestReleaseImage(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	addCamera(t, db, "a")
	id := record(t, db, newImage("a", "/1")).ID
	claim := store.ImageClaim{ImageID: id, Token: "t"}
	_, err := db.ClaimImage(t.Context(), id, claim.Token, time.Minute)
	require.NoError(t, err)
	later := time.Now().Add(10 * time.Minute)
	require.NoError(t, db.ReleaseImage(t.Context(), claim, &later, "service down", true))
	require.Zero(t, image(t, db, id).Attempts, "given back")
	waiting, err := db.WaitingImages(t.Context(), 10, time.Minute)
	require.NoError(t, err)
	require.Empty(t, waiting, "not due yet")
	_, err = db.ClaimImage(t.Context(), id, claim.Token, 100*time.Hour)
	require.NoError(t, err)
	_, err = db.ClaimImage(t.Context(), id, "other", time.Minute)
	require.ErrorIs(t, err, store.ErrClaimLost, "a long lease is no stepped clock")
	muchLater := time.Now().Add(100 * time.Hour)
	require.NoError(t, db.ReleaseImage(t.Context(), claim, &muchLater, "service down", true))
	waiting, err = db.WaitingImages(t.Context(), 10, time.Minute)
	require.NoError(t, err)
	require.Empty(t, waiting, "nor is a long wait")
	storetest.Exec(t, db, `UPDATE images SET next_attempt_at = clock_timestamp() - interval '1 ms'`)
	waiting, err = db.WaitingImages(t.Context(), 10, time.Minute)
	require.NoError(t, err)
	require.Len(t, waiting, 1)

	// The database's clock was a day ahead when this was written.
	storetest.Exec(t, db, `UPDATE images SET next_attempt_at = clock_timestamp() + interval '1 day'`)
	waiting, err = db.WaitingImages(t.Context(), 10, time.Minute)
	require.NoError(t, err)
	require.Len(t, waiting, 1, "a stepped clock must not park an image for a day")

	_, err = db.ClaimImage(t.Context(), id, claim.Token, time.Minute)
	require.NoError(t, err)
	require.NoError(t, db.ReleaseImage(t.Context(), claim, nil, "bad reply", false))
	require.Equal(t, 1, image(t, db, id).Attempts)
	failed := storetest.QueryOne[struct {
		First time.Time `db:"first_failed_at"`
		Last  time.Time `db:"last_failed_at"`
		Error string    `db:"last_error"`
	}](t, db, `SELECT first_failed_at, last_failed_at, last_error FROM images`)
	require.True(t, failed.Last.After(failed.First))
	require.Equal(t, "bad reply", failed.Error)
}

func TestWaitingImages_FairAcrossCameras(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	addCamera(t, db, "noisy", "quiet", "silent", "late")
	storetest.Exec(t, db, `
		INSERT INTO images (camera_id, file_path, size_bytes, mtime, seen_at)
		SELECT 'noisy', '/n/' || n, 1, $1::timestamptz, $1::timestamptz + n * interval '1 ms' FROM generate_series(1, 5000) AS n`, base())
	storetest.Exec(t, db, `
		INSERT INTO images (camera_id, file_path, size_bytes, mtime, seen_at)
		SELECT camera, '/' || camera || n, 1, $1::timestamptz, $1::timestamptz + interval '1 hour' + n * interval '1 ms'
		FROM generate_series(1, 3) AS n, unnest(ARRAY['quiet', 'late']) AS camera`, base())
	waiting, err := db.WaitingImages(t.Context(), 12, time.Minute)
	require.NoError(t, err)
	var cameras []string
	for _, w := range waiting {
		cameras = append(cameras, w.CameraID)
	}
	require.Len(t, waiting, 12)
	for turn := range 3 {
		got := slices.Clone(cameras[turn*3 : turn*3+3])
		slices.Sort(got)
		require.Equal(t, []string{"late", "noisy", "quiet"}, got, "turn %d", turn)
	}
	require.Equal(t, []string{"noisy", "noisy", "noisy"}, cameras[9:])

	// The limit is filled although the others have little, and oldest first.
	waiting, err = db.WaitingImages(t.Context(), 1000, time.Minute)
	require.NoError(t, err)
	require.Len(t, waiting, 1000)
	var last time.Time
	for _, w := range waiting {
		if w.CameraID == "noisy" {
			require.True(t, w.SeenAt.After(last))
			last = w.SeenAt
		}
	}
}

func TestMarkImagesQueued(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	addCamera(t, db, "a")
	var ids []int64
	for i := range 3 {
		ids = append(ids, record(t, db, newImage("a", fmt.Sprintf("/%d", i))).ID)
	}
	slices.Reverse(ids)
	queued, err := db.MarkImagesQueued(t.Context(), append(ids, 999999), time.Minute)
	require.NoError(t, err)
	require.Len(t, queued, 3)
	for i, q := range queued {
		require.Equal(t, ids[i], q.ID, "in the order asked")
		require.True(t, q.First)
		require.False(t, q.QueuedAt.Before(q.SeenAt))
		require.Equal(t, time.UTC, q.QueuedAt.Location())
	}
	queued, err = db.MarkImagesQueued(t.Context(), ids, time.Minute)
	require.NoError(t, err)
	require.Empty(t, queued, "already handed over")
	waiting, err := db.WaitingImages(t.Context(), 10, time.Minute)
	require.NoError(t, err)
	require.Empty(t, waiting)

	// The queue lost them.
	storetest.Exec(t, db, `UPDATE images SET queued_at = queued_at - interval '2 minutes' WHERE id = $1`, ids[0])
	waiting, err = db.WaitingImages(t.Context(), 10, time.Minute)
	require.NoError(t, err)
	require.Len(t, waiting, 1)
	queued, err = db.MarkImagesQueued(t.Context(), ids, time.Minute)
	require.NoError(t, err)
	require.Len(t, queued, 1)
	require.False(t, queued[0].First)
	n, err := db.ResetQueuedImages(t.Context())
	require.NoError(t, err)
	require.Equal(t, int64(3), n)
	waiting, err = db.WaitingImages(t.Context(), 10, time.Minute)
	require.NoError(t, err)
	require.Len(t, waiting, 3)

	// A worker died with its claim.
	_, err = db.ClaimImage(t.Context(), ids[0], "dead", time.Minute)
	require.NoError(t, err)
	waiting, err = db.WaitingImages(t.Context(), 10, time.Minute)
	require.NoError(t, err)
	require.Len(t, waiting, 2)
	expire(t, db)
	waiting, err = db.WaitingImages(t.Context(), 10, time.Minute)
	require.NoError(t, err)
	require.Len(t, waiting, 3)
	queued, err = db.MarkImagesQueued(t.Context(), ids[:1], time.Minute)
	require.NoError(t, err)
	require.Len(t, queued, 1)
	require.ErrorIs(t, db.LoseImage(t.Context(), store.ImageClaim{ImageID: ids[0], Token: "dead"}, store.ReasonFileGone), store.ErrClaimLost)
}

func TestMarkImagesQueued_TwoDispatchers(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	addCamera(t, db, "a")
	storetest.Exec(t, db, `
		INSERT INTO images (camera_id, file_path, size_bytes, mtime) SELECT 'a', '/' || n, 1, now() FROM generate_series(1, 500) AS n`)
	var marked atomic.Int64
	var group errgroup.Group
	for range 4 {
		group.Go(func() error {
			for marked.Load() < 500 {
				waiting, err := db.WaitingImages(t.Context(), 50, time.Minute)
				if err != nil {
					return err
				}
				ids := make([]int64, 0, len(waiting))
				for _, w := range waiting {
					ids = append(ids, w.ID)
				}
				queued, err := db.MarkImagesQueued(t.Context(), ids, time.Minute)
				if err != nil {
					return err
				}
				marked.Add(int64(len(queued)))
			}
			return nil
		})
	}
	require.NoError(t, group.Wait())
	require.Equal(t, int64(500), marked.Load(), "each one handed over once")
}

func TestQueueDepths(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	addCamera(t, db, "a")
	depths, err := db.QueueDepths(t.Context())
	require.NoError(t, err)
	require.WithinDuration(t, time.Now(), depths.ReadAt, time.Minute)
	require.Equal(t, store.QueueDepths{ReadAt: depths.ReadAt}, depths)
	var ids []int64
	for i := range 4 {
		img := newImage("a", fmt.Sprintf("/%d", i))
		img.SeenAt = base().Add(time.Duration(i) * time.Second)
		ids = append(ids, record(t, db, img).ID)
	}
	commit(t, db, ids[0], found(1, base()))
	_, err = db.ClaimImage(t.Context(), ids[1], "busy", time.Minute)
	require.NoError(t, err)
	depths, err = db.QueueDepths(t.Context())
	require.NoError(t, err)
	require.Equal(t, int64(3), depths.Detection)
	require.Equal(t, base().Add(time.Second), *depths.OldestDetection)
	require.Zero(t, depths.Analysis, "its batch is still open")
	batches, err := db.OpenBatches(t.Context())
	require.NoError(t, err)
	batch, closed, err := db.CloseBatch(t.Context(), batches[0].ID, func(store.Batch) bool { return true })
	require.NoError(t, err)
	require.True(t, closed)
	depths, err = db.QueueDepths(t.Context())
	require.NoError(t, err)
	require.Equal(t, int64(1), depths.Analysis)
	require.Equal(t, *batch.ClosedAt, *depths.OldestAnalysis)
}

// commit claims the image and stores the result.
func commit(t *testing.T, db *store.DB, id int64, result store.DetectionResult) store.Committed {
	t.Helper()
	committed, err := tryCommit(t.Context(), db, id, result)
	require.NoError(t, err)
	return committed
}

func tryCommit(ctx context.Context, db *store.DB, id int64, result store.DetectionResult) (store.Committed, error) {
	claim := store.ImageClaim{ImageID: id, Token: fmt.Sprintf("claim of %d", id)}
	if _, err := db.ClaimImage(ctx, id, claim.Token, time.Minute); err != nil {
		return store.Committed{}, err
	}
	return db.CommitDetection(ctx, claim, result, always(store.JoinOpen))
}

// The settings allow an hour to connect and an hour to read; nobody may take the work over while
// such a call goes on.
func TestClaim_LongLeases(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	addCamera(t, db, "a")
	id := record(t, db, newImage("a", "/1")).ID
	for lease, least := range map[time.Duration]string{2*time.Hour + time.Minute: "2 hours", 100 * time.Hour: "2 hours 9 minutes"} {
		storetest.Exec(t, db, `UPDATE images SET state = 'seen', claimed_by = NULL, claimed_until = NULL`)
		_, err := db.ClaimImage(t.Context(), id, "slow", lease)
		require.NoError(t, err)
		require.True(t, storetest.QueryOne[bool](t, db, `SELECT claimed_until > now() + $1::interval AND claimed_until < now() + interval '2 hours 11 minutes' FROM images`, least))
		waiting, err := db.WaitingImages(t.Context(), 10, time.Minute)
		require.NoError(t, err)
		require.Empty(t, waiting)
		queued, err := db.MarkImagesQueued(t.Context(), []int64{id}, time.Minute)
		require.NoError(t, err)
		require.Empty(t, queued)
		_, err = db.ClaimImage(t.Context(), id, "other", time.Minute)
		require.ErrorIs(t, err, store.ErrClaimLost)
	}
	storetest.Exec(t, db, `UPDATE images SET claimed_until = now() + interval '4 hours'`)
	_, err := db.ClaimImage(t.Context(), id, "other", time.Minute)
	require.NoError(t, err, "written before the clock was set back")
}
