package store_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"hsi.home.arpa/store"
	"hsi.home.arpa/store/storetest"
)

// A process that starts again takes up what its dead predecessor held at once, and nothing of
// anybody else.
func TestReleaseClaims(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	addCamera(t, db, "front")
	claim := func(path, token string) int64 {
		id := record(t, db, newImage("front", path)).ID
		_, err := db.ClaimImage(t.Context(), id, token, time.Minute)
		require.NoError(t, err)
		return id
	}
	dead, own, other := claim("/c/1.jpg", "home/1/a"), claim("/c/2.jpg", "home/2/b"), claim("/c/3.jpg", "away/1/c")
	batch := closedBatch(t, db)
	_, err := db.ClaimBatch(t.Context(), batch, "home/1/d", time.Minute)
	require.NoError(t, err)

	released, err := db.ReleaseClaims(t.Context(), "home/", "home/2/")
	require.NoError(t, err)
	require.EqualValues(t, 2, released)
	img := image(t, db, dead)
	require.Equal(t, store.ImageSeen, img.State)
	require.Equal(t, 1, img.Attempts, "the attempt stays counted")
	require.Equal(t, store.ImageDetecting, image(t, db, own).State)
	require.Equal(t, store.ImageDetecting, image(t, db, other).State)
	back, err := db.Batch(t.Context(), batch)
	require.NoError(t, err)
	require.Equal(t, store.BatchClosed, back.State)
	require.ErrorIs(t, db.LoseImage(t.Context(), store.ImageClaim{ImageID: dead, Token: "home/1/a"}, store.ReasonFileGone), store.ErrClaimLost)

	_, err = db.ReleaseClaims(t.Context(), "", "x")
	require.ErrorIs(t, err, store.ErrInvalid, "nobody owns everything")
}
