package store_test

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"hsi.home.arpa/store"
	"hsi.home.arpa/store/storetest"
)

// deadLetterImage records an image and gives it up.
func deadLetterImage(t *testing.T, db *store.DB, path, cause string) int64 {
	t.Helper()
	id := record(t, db, newImage("a", path)).ID
	_, err := db.ClaimImage(t.Context(), id, "t", time.Minute)
	require.NoError(t, err)
	require.NoError(t, db.DeadLetterImage(t.Context(), store.ImageClaim{ImageID: id, Token: "t"}, cause))
	return id
}

func TestDeadLetters(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	addCamera(t, db, "a")
	broken := deadLetterImage(t, db, "/1", "broken")
	refused := deadLetterImage(t, db, "/2", "refused")
	batchID := closedBatch(t, db)
	claim := store.BatchClaim{BatchID: batchID, Token: "t"}
	_, err := db.ClaimBatch(t.Context(), batchID, claim.Token, time.Minute)
	require.NoError(t, err)
	require.NoError(t, db.DeadLetterBatch(t.Context(), claim, "no sense"))
	requireDeadLetters(t, db, 4)

	letters, err := db.DeadLetters(t.Context(), store.DeadLetterSelection{}, 0, 100)
	require.NoError(t, err)
	require.Len(t, letters, 4, "both images of the batch")
	require.Equal(t, broken, letters[0].ImageID)
	require.Equal(t, "broken", letters[0].Cause)
	require.Equal(t, 1, letters[0].Attempts)
	require.NotNil(t, letters[0].FirstFailedAt)
	require.NotNil(t, letters[0].DeadLetteredAt)
	require.Equal(t, batchID, *letters[3].BatchID)
	letters, err = db.DeadLetters(t.Context(), store.DeadLetterSelection{}, letters[0].ImageID, 1)
	require.NoError(t, err)
	require.Len(t, letters, 1)
	require.Equal(t, refused, letters[0].ImageID)

	// By cause.
	n, err := db.RequeueDeadLetters(t.Context(), store.DeadLetterSelection{Cause: "refused"}, store.Actor{Name: "cli"})
	require.NoError(t, err)
	require.Equal(t, int64(1), n)
	img := image(t, db, refused)
	require.Equal(t, store.ImageSeen, img.State)
	require.Zero(t, img.Attempts)
	require.Nil(t, img.Reason)

	// One image of the batch brings the whole batch back.
	inBatch := storetest.QueryOne[int64](t, db, `SELECT min(id) FROM images WHERE batch_id = $1`, batchID)
	n, err = db.RequeueDeadLetters(t.Context(), store.DeadLetterSelection{ImageIDs: []int64{inBatch}}, store.Actor{Name: "cli"})
	require.NoError(t, err)
	require.Equal(t, int64(2), n)
	work, err := db.ClaimBatch(t.Context(), batchID, "again", time.Minute)
	require.NoError(t, err)
	require.Equal(t, 1, work.Batch.Attempts, "a clean slate")
	_, err = db.CommitEvent(t.Context(), store.BatchClaim{BatchID: batchID, Token: "again"}, newEvent())
	require.NoError(t, err)
	require.Equal(t, 2, storetest.QueryOne[int](t, db, `SELECT count(*) FROM images WHERE state = 'analyzed'`))

	// All.
	n, err = db.RequeueDeadLetters(t.Context(), store.DeadLetterSelection{}, store.Actor{Name: "cli"})
	require.NoError(t, err)
	require.Equal(t, int64(1), n)
	requireDeadLetters(t, db, 0)
	n, err = db.RequeueDeadLetters(t.Context(), store.DeadLetterSelection{}, store.Actor{Name: "cli"})
	require.NoError(t, err)
	require.Zero(t, n)
	entries, err := db.AuditEntries(t.Context(), 10)
	require.NoError(t, err)
	require.Len(t, entries, 3, "nothing changed, no entry")
	require.Equal(t, "dead_letters_requeued", entries[0].Action)
}

func TestDeadLetter_OddCause(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	addCamera(t, db, "a")
	deadLetterImage(t, db, "/1", "reply: \x00\xff")
	n, err := db.RequeueDeadLetters(t.Context(), store.DeadLetterSelection{Cause: "reply: \x00\xff"}, store.Actor{Name: "cli"})
	require.NoError(t, err)
	require.Equal(t, int64(1), n)
}

// The dead letters of one cause, page by page, are the same as all of them picked by hand.
func TestDeadLetters_OfOneCause(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	addCamera(t, db, "a")
	long := strings.Repeat("\u00e4", 1999)
	var want []int64
	for i := range 7 {
		if id := deadLetterImage(t, db, fmt.Sprint("/", i), []string{"short", long}[i%2]); i%2 == 1 {
			want = append(want, id)
		}
	}
	n, err := db.CountDeadLetters(t.Context(), store.DeadLetterSelection{Cause: long})
	require.NoError(t, err)
	require.EqualValues(t, 3, n)
	var got []int64
	for after := int64(0); ; after = got[len(got)-1] {
		page, err := db.DeadLetters(t.Context(), store.DeadLetterSelection{Cause: long}, after, 2)
		require.NoError(t, err)
		if len(page) == 0 {
			break
		}
		for _, letter := range page {
			require.Equal(t, long, letter.Cause)
			require.Equal(t, "/cameras/a", letter.CameraFolder)
			got = append(got, letter.ImageID)
		}
	}
	require.Equal(t, want, got)
	letters, err := db.DeadLetters(t.Context(), store.DeadLetterSelection{Cause: long[:len(long)-2]}, 0, 10)
	require.NoError(t, err)
	require.Empty(t, letters, "a part of a cause is another cause")

	// Both together narrow each other.
	n, err = db.RequeueDeadLetters(t.Context(), store.DeadLetterSelection{ImageIDs: want[:2], Cause: "short"}, store.Actor{Name: "cli"})
	require.NoError(t, err)
	require.Zero(t, n)
	n, err = db.RequeueDeadLetters(t.Context(), store.DeadLetterSelection{ImageIDs: append(want[:2:2], 1_000_000), Cause: long}, store.Actor{Name: "cli"})
	require.NoError(t, err)
	require.EqualValues(t, 2, n)
	requireDeadLetters(t, db, 5)
}

// Requeues at the same time neither wait for each other in a circle nor count an image twice.
func TestDeadLetters_RequeuedTogether(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	addCamera(t, db, "a")
	storetest.Exec(t, db, `
		INSERT INTO batches (camera_id, state, opened_at, last_at, closed_at, reason)
		SELECT 'a', 'dead_lettered', now(), now(), now(), 'no sense' FROM generate_series(1, 100)`)
	storetest.Exec(t, db, `
		INSERT INTO images (camera_id, file_path, size_bytes, mtime, state, reason, batch_id)
		SELECT 'a', '/' || n, 1, now(), 'dead_lettered', 'no sense', CASE WHEN n % 2 = 0 THEN 1 + n % 100 END
		FROM generate_series(1, 4500) AS n ORDER BY random()`)
	ids, err := db.DeadLetters(t.Context(), store.DeadLetterSelection{}, 0, 10_000)
	require.NoError(t, err)
	var chosen store.DeadLetterSelection
	for i := range ids {
		chosen.ImageIDs = append(chosen.ImageIDs, ids[len(ids)-1-i].ImageID)
	}
	var total atomic.Int64
	var group sync.WaitGroup
	for _, selection := range []store.DeadLetterSelection{{}, chosen, {Cause: "no sense"}, {}, chosen, {Cause: "no sense"}} {
		group.Go(func() {
			n, err := db.RequeueDeadLetters(t.Context(), selection, store.Actor{Name: "cli"})
			if err != nil {
				t.Errorf("requeue: %v", err)
			}
			total.Add(n)
		})
	}
	group.Wait()
	require.EqualValues(t, 4500, total.Load())
	requireDeadLetters(t, db, 0)
	require.Equal(t, 50, storetest.QueryOne[int](t, db, `SELECT count(*) FROM batches WHERE state = 'closed'`))
	require.Equal(t, 2250, storetest.QueryOne[int](t, db, `SELECT count(*) FROM images WHERE state = 'batched'`))
	require.Equal(t, 2250, storetest.QueryOne[int](t, db, `SELECT count(*) FROM images WHERE state = 'seen'`))
	require.Equal(t, 4500, storetest.QueryOne[int](t, db, `SELECT sum((details->>'requeued')::int) FROM audit_logs`), "each part has its entry")
}

func requireDeadLetters(t *testing.T, db *store.DB, want int64) {
	t.Helper()
	n, err := db.CountDeadLetters(t.Context(), store.DeadLetterSelection{})
	require.NoError(t, err)
	require.Equal(t, want, n)
}
