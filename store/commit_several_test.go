package store_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"hsi.home.arpa/store"
	"hsi.home.arpa/store/storetest"
)

// recordSeveral records n images, the cameras taking turns, and returns their ids.
func recordSeveral(t *testing.T, db *store.DB, n int, cameras ...string) []int64 {
	t.Helper()
	ids := make([]int64, n)
	for i := range ids {
		img := newImage(cameras[i%len(cameras)], fmt.Sprintf("/several/%d-%d.jpg", rand.Uint64(), i))
		img.SeenAt = base().Add(time.Duration(i) * time.Millisecond)
		ids[i] = record(t, db, img).ID
	}
	return ids
}

func idsOf(images []store.Image) []int64 {
	ids := make([]int64, len(images))
	for i, img := range images {
		ids[i] = img.ID
	}
	return ids
}

func TestClaimImages(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	addCamera(t, db, "a", "b")
	ids := recordSeveral(t, db, 5, "a", "b")
	storetest.Exec(t, db, `UPDATE images SET attempts = 1 WHERE id = $1`, ids[1])
	_, err := db.ClaimImage(t.Context(), ids[2], "other", time.Minute)
	require.NoError(t, err)
	commit(t, db, ids[3], found(0, base()))

	asked := []int64{ids[4], ids[1], ids[0], ids[2], ids[3], 999_999}
	claimed, err := db.ClaimImages(t.Context(), asked, "mine", time.Minute)
	require.NoError(t, err)
	require.Equal(t, []int64{ids[4], ids[0]}, idsOf(claimed), "in the order asked for; without what was tried before, is held or is finished")
	for _, img := range claimed {
		require.Equal(t, image(t, db, img.ID), img)
		require.Equal(t, store.ImageDetecting, img.State)
		require.Equal(t, 1, img.Attempts)
		require.NotNil(t, img.DetectStartedAt)
	}
	again, err := db.ClaimImages(t.Context(), asked, "mine", time.Hour)
	require.NoError(t, err)
	require.Equal(t, claimed, again, "the same token extends and counts no attempt")
	require.Equal(t, 2, storetest.QueryOne[int](t, db, `SELECT count(*) FROM images WHERE claimed_until > now() + interval '50 minutes'`))
	theirs, err := db.ClaimImages(t.Context(), asked, "theirs", time.Minute)
	require.NoError(t, err)
	require.Empty(t, theirs)
	_, err = db.ClaimImages(t.Context(), asked, "", time.Minute)
	require.ErrorIs(t, err, store.ErrInvalid)
}

// Images of several cameras in one commit end as they would one by one: in order, with and without
// detections, closing batches on the way, and without the one whose claim was lost meanwhile.
func TestCommitDetections_SeveralImages(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	addCamera(t, db, "a", "b", "c")
	older := commit(t, db, record(t, db, newImage("b", "/older.jpg")).ID, found(1, base().Add(-time.Second))).Batch
	ids := recordSeveral(t, db, 9, "a", "b", "c")
	_, err := db.ClaimImages(t.Context(), ids, "mine", time.Minute)
	require.NoError(t, err)
	storetest.Exec(t, db, `UPDATE images SET claimed_by = 'somebody else' WHERE id = $1`, ids[5])
	at := func(i int) time.Time { return base().Add(time.Duration(i) * time.Second) }
	counts := []int{1, 1, 0, 2, 3, 4, 1, 1, 0} // b: 1, 4 and 7; c only lost and empty ones
	detected := make([]store.Detected, len(ids))
	for i, id := range ids {
		detected[i] = store.Detected{ImageID: id, DetectionResult: found(counts[i], at(i))}
	}
	var asked []string
	committed, err := db.CommitDetections(t.Context(), "mine", detected, func(open store.Batch, imageAt time.Time) store.JoinDecision {
		asked = append(asked, fmt.Sprintf("%s %v %d", open.CameraID, imageAt.Sub(base()), open.ImageCount))
		if open.CameraID == "b" && imageAt.Equal(at(4)) {
			return store.CloseAndStart
		}
		return store.JoinOpen
	})
	require.NoError(t, err)
	require.Equal(t, []string{"a 3s 1", "a 6s 2", "b 1s 1", "b 4s 2", "b 7s 1"}, asked, "each is asked about the batch with those before it")

	byID := map[int64]store.Committed{}
	for _, c := range committed {
		byID[c.Image.ID] = c
		require.Equal(t, image(t, db, c.Image.ID), c.Image)
	}
	require.Len(t, byID, 8)
	require.NotContains(t, byID, ids[5])
	require.Equal(t, store.ImageDetecting, image(t, db, ids[5]).State)
	for i, c := range committed[:5] {
		require.Equal(t, ids[i], c.Image.ID, "in the order given")
	}
	for i, id := range ids {
		if i == 5 {
			continue
		}
		require.Len(t, byID[id].DetectionIDs, counts[i])
		require.Equal(t, counts[i] == 0, byID[id].Batch == nil)
		require.Equal(t, byID[id].DetectionIDs, nilIfEmpty(storetest.Query[int64](t, db, `
			SELECT d.id FROM detections AS d JOIN images AS i ON i.id = d.image_id
			WHERE i.id = $1 AND d.batch_id = i.batch_id AND d.file_path = i.file_path AND d.camera_id = i.camera_id AND d.detected_at = $2
			ORDER BY d.bbox_x`, id, at(i))))
	}
	require.Equal(t, older.ID, byID[ids[1]].Batch.ID)
	require.Equal(t, older.ID, byID[ids[4]].Closed.ID)
	require.Nil(t, byID[ids[7]].Closed)
	require.Equal(t, byID[ids[4]].Batch.ID, byID[ids[7]].Batch.ID)

	closed, err := db.Batch(t.Context(), older.ID)
	require.NoError(t, err)
	require.Equal(t, []any{store.BatchClosed, 2, 2, at(-1), at(1)}, []any{closed.State, closed.ImageCount, closed.DetectionCount, closed.OpenedAt, closed.LastAt})
	open, err := db.OpenBatches(t.Context())
	require.NoError(t, err)
	require.Len(t, open, 2)
	require.Equal(t, []any{"a", 3, 4, at(0), at(6)}, []any{open[0].CameraID, open[0].ImageCount, open[0].DetectionCount, open[0].OpenedAt, open[0].LastAt})
	require.Equal(t, []any{"b", 2, 4, at(4), at(7)}, []any{open[1].CameraID, open[1].ImageCount, open[1].DetectionCount, open[1].OpenedAt, open[1].LastAt})
	require.Zero(t, storetest.QueryOne[int](t, db, `
		SELECT count(*) FROM images AS i JOIN batches AS b ON b.id = i.batch_id WHERE i.batched_at > b.closed_at OR i.batched_at < b.created_at`))
	require.Equal(t, int64(10), requireNoDrift(t, db).Detections)

	twice, err := db.CommitDetections(t.Context(), "mine", detected, always(store.JoinOpen))
	require.NoError(t, err)
	require.Empty(t, twice, "a second commit of the same work")
	require.Equal(t, int64(10), requireNoDrift(t, db).Detections)
}

func nilIfEmpty(ids []int64) []int64 {
	if len(ids) == 0 {
		return nil
	}
	return ids
}

func TestCommitDetections_OnlyEmptyImages(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	addCamera(t, db, "a")
	ids := recordSeveral(t, db, 4, "a")
	_, err := db.ClaimImages(t.Context(), ids, "mine", time.Minute)
	require.NoError(t, err)
	storetest.Exec(t, db, `UPDATE images SET claimed_by = 'somebody else' WHERE id = $1`, ids[1])
	var detected []store.Detected
	for i := range ids { // in another order than the ids
		detected = append(detected, store.Detected{ImageID: ids[len(ids)-1-i], DetectionResult: found(0, base())})
	}
	committed, err := db.CommitDetections(t.Context(), "mine", detected, nil)
	require.NoError(t, err)
	require.Len(t, committed, 3)
	for i, id := range []int64{ids[3], ids[2], ids[0]} {
		require.Equal(t, image(t, db, id), committed[i].Image)
		require.Equal(t, store.ReasonNoDetections, *committed[i].Image.Reason)
	}
	require.Equal(t, store.ImageDetecting, image(t, db, ids[1]).State)
}

func TestCommitDetections_OneBadResultStoresNothing(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	addCamera(t, db, "a")
	ids := recordSeveral(t, db, 2, "a")
	_, err := db.ClaimImages(t.Context(), ids, "mine", time.Minute)
	require.NoError(t, err)
	bad := found(1, base())
	bad.Detections[0].Confidence = 2
	_, err = db.CommitDetections(t.Context(), "mine", []store.Detected{{ids[0], found(1, base())}, {ids[1], bad}}, always(store.JoinOpen))
	require.ErrorIs(t, err, store.ErrInvalid)
	require.ErrorContains(t, err, fmt.Sprintf("image %d", ids[1]))
	require.Zero(t, storetest.QueryOne[int](t, db, `SELECT count(*) FROM detections`))
}

// Commits over the same cameras in different orders, beside single ones and closers, never wait for
// each other in a circle.
func TestCommitDetections_SeveralWorkersOverAllCameras(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	cameras := []string{"a", "b", "c", "d"}
	addCamera(t, db, cameras...)
	const workers, rounds, each = 4, 12, 8
	var group errgroup.Group
	var closings atomic.Int64
	for w := range workers {
		group.Go(func() error {
			random := rand.New(rand.NewPCG(uint64(w), 1))
			for round := range rounds {
				var ids []int64
				for i := range each {
					recorded, err := db.RecordImage(t.Context(), newImage(cameras[i%len(cameras)], fmt.Sprintf("/%d-%d-%d", w, round, i)))
					if err != nil {
						return err
					}
					ids = append(ids, recorded.ID)
				}
				token := fmt.Sprintf("%d-%d", w, round)
				random.Shuffle(len(ids), func(i, j int) { ids[i], ids[j] = ids[j], ids[i] })
				if _, err := db.ClaimImages(t.Context(), ids, token, time.Minute); err != nil {
					return err
				}
				var detected []store.Detected
				for _, id := range ids {
					detected = append(detected, store.Detected{ImageID: id, DetectionResult: found(1, base())})
				}
				committed, err := db.CommitDetections(t.Context(), token, detected, func(open store.Batch, _ time.Time) store.JoinDecision {
					if open.ImageCount >= 3 {
						return store.CloseAndStart
					}
					return store.JoinOpen
				})
				if err != nil {
					return err
				}
				if len(committed) != each {
					return errors.New("a claim was lost")
				}
				for _, c := range committed {
					if c.Closed != nil {
						closings.Add(1)
					}
				}
			}
			return nil
		})
	}
	require.NoError(t, group.Wait())
	require.Equal(t, workers*rounds*each, storetest.QueryOne[int](t, db, `SELECT count(*) FROM images WHERE state = 'batched'`))
	require.Equal(t, closings.Load(), storetest.QueryOne[int64](t, db, `SELECT count(*) FROM batches WHERE closed_at IS NOT NULL`))
	require.Zero(t, storetest.QueryOne[int](t, db, `
		SELECT count(*) FROM batches AS b
		WHERE image_count <> (SELECT count(*) FROM images WHERE batch_id = b.id) OR image_count > 3
		   OR detection_count <> (SELECT count(*) FROM detections WHERE batch_id = b.id)
		   OR camera_id <> ALL (SELECT camera_id FROM images WHERE batch_id = b.id)`))
	require.Equal(t, int64(workers*rounds*each), requireNoDrift(t, db).Detections)
}

// A worker is frozen past its leases with several images in hand, and another takes some of them
// over. What the first one stores when it wakes is only what it still holds; nothing is stored
// twice, whoever comes first.
func TestCommitDetections_OldMeetsNewForSomeOfSeveral(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	addCamera(t, db, "a", "b")
	ids := recordSeveral(t, db, 6, "a", "b")
	_, err := db.ClaimImages(t.Context(), ids, "frozen", time.Minute)
	require.NoError(t, err)
	expire(t, db)
	finished, inWork, waiting := ids[:2], ids[2:4], ids[4:]
	for _, id := range finished {
		commit(t, db, id, found(1, base()))
	}
	for _, id := range inWork {
		_, err := db.ClaimImage(t.Context(), id, "new", time.Minute)
		require.NoError(t, err)
	}
	var detected []store.Detected
	for _, id := range ids {
		detected = append(detected, store.Detected{ImageID: id, DetectionResult: found(2, base())})
	}
	committed, err := db.CommitDetections(t.Context(), "frozen", detected, always(store.JoinOpen))
	require.NoError(t, err)
	require.Len(t, committed, 2)
	for i, c := range committed {
		require.Equal(t, waiting[i], c.Image.ID)
	}
	require.NoError(t, db.GiveBackImages(t.Context(), ids, "frozen"))
	for _, id := range inWork {
		require.Equal(t, store.ImageDetecting, image(t, db, id).State, "the new claim stays")
		_, err := db.CommitDetection(t.Context(), store.ImageClaim{ImageID: id, Token: "new"}, found(1, base()), always(store.JoinOpen))
		require.NoError(t, err)
	}
	again, err := db.CommitDetections(t.Context(), "frozen", detected, always(store.JoinOpen))
	require.NoError(t, err)
	require.Empty(t, again)
	for i, id := range ids {
		want := 1
		if i >= 4 {
			want = 2
		}
		require.Equal(t, want, storetest.QueryOne[int](t, db, `SELECT count(*) FROM detections WHERE image_id = $1`, id))
	}
	require.Zero(t, storetest.QueryOne[int](t, db, `
		SELECT count(*) FROM batches AS b WHERE image_count <> (SELECT count(*) FROM images WHERE batch_id = b.id)
		   OR detection_count <> (SELECT count(*) FROM detections WHERE batch_id = b.id)`))
}

func TestGiveBackImages(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	addCamera(t, db, "a")
	ids := recordSeveral(t, db, 3, "a")
	_, err := db.ClaimImages(t.Context(), ids, "mine", time.Minute)
	require.NoError(t, err)
	commit := store.ImageClaim{ImageID: ids[2], Token: "mine"}
	_, err = db.CommitDetection(t.Context(), commit, found(0, base()), nil)
	require.NoError(t, err)
	require.NoError(t, db.GiveBackImages(t.Context(), ids, "theirs"))
	require.Equal(t, store.ImageDetecting, image(t, db, ids[0]).State)
	require.NoError(t, db.GiveBackImages(t.Context(), ids, "mine"))
	for _, id := range ids[:2] {
		img := image(t, db, id)
		require.Equal(t, store.ImageSeen, img.State)
		require.Zero(t, img.Attempts)
	}
	require.Equal(t, store.ImageFiltered, image(t, db, ids[2]).State)
	waiting, err := db.WaitingImages(t.Context(), 10, time.Minute)
	require.NoError(t, err)
	require.Len(t, waiting, 2, "at once")
}
