package store_test

import (
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
	_, err = db.ClaimBatch(t.Context(), batchID, "again", time.Minute)
	require.NoError(t, err)
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

func requireDeadLetters(t *testing.T, db *store.DB, want int64) {
	t.Helper()
	n, err := db.CountDeadLetters(t.Context(), store.DeadLetterSelection{})
	require.NoError(t, err)
	require.Equal(t, want, n)
}
