package store_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"hsi.home.arpa/store"
	"hsi.home.arpa/store/storetest"
)

// upload records bytes of a camera under a name.
func upload(t *testing.T, db *store.DB, camera, path, content string, at time.Duration) int64 {
	t.Helper()
	img := newImage(camera, path)
	img.SHA256, img.SeenAt, img.DedupeWindow = hash(content), base().Add(at), 300*time.Second
	return record(t, db, img).ID
}

// lose claims an image and loses it.
func lose(t *testing.T, db *store.DB, id int64, reason string) {
	t.Helper()
	_, err := db.ClaimImage(t.Context(), id, "finder", time.Minute)
	require.NoError(t, err)
	require.NoError(t, db.LoseImage(t.Context(), store.ImageClaim{ImageID: id, Token: "finder"}, reason))
	lost := image(t, db, id)
	require.Equal(t, store.ImageFiltered, lost.State)
	require.Equal(t, reason, *lost.Reason)
}

func TestLoseImage_ADuplicateWaitsInstead(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	addCamera(t, db, "a", "b")
	original := upload(t, db, "a", "/1", "x", 0)
	foreign := []int64{
		upload(t, db, "b", "/other camera", "x", time.Second), upload(t, db, "b", "/other camera, again", "x", 2*time.Second),
		upload(t, db, "a", "/other bytes", "y", time.Second), upload(t, db, "a", "/other bytes, again", "y", 2*time.Second),
	}
	second, third := upload(t, db, "a", "/2", "x", 100*time.Second), upload(t, db, "a", "/3", "x", 200*time.Second)
	next := upload(t, db, "a", "/4", "x", 400*time.Second)
	ofNext := upload(t, db, "a", "/5", "x", 500*time.Second)
	states := func(ids ...int64) (states []store.ImageState) {
		for _, id := range ids {
			states = append(states, image(t, db, id).State)
		}
		return states
	}
	const seen, filtered = store.ImageSeen, store.ImageFiltered
	before := states(foreign...)
	require.Equal(t, []store.ImageState{seen, filtered, filtered, seen, filtered}, states(original, second, third, next, ofNext))

	lose(t, db, original, store.ReasonFileGone)
	require.Equal(t, []store.ImageState{filtered, seen, filtered, seen, filtered}, states(original, second, third, next, ofNext))
	require.Nil(t, image(t, db, second).Reason)
	waiting, err := db.WaitingImages(t.Context(), 10, time.Minute)
	require.NoError(t, err)
	require.Len(t, waiting, 4, "the one that was woken, the next, and the first ones of the others")

	lose(t, db, second, store.ReasonReplaced)
	require.Equal(t, []store.ImageState{filtered, filtered, seen, seen, filtered}, states(original, second, third, next, ofNext))
	lose(t, db, third, store.ReasonReplaced)
	require.Equal(t, []store.ImageState{filtered, filtered, filtered, seen, filtered}, states(original, second, third, next, ofNext),
		"the bytes are safe with the next original")
	lose(t, db, next, store.ReasonFileGone)
	require.Equal(t, seen, image(t, db, ofNext).State)
	require.Equal(t, before, states(foreign...), "nothing to do with it")
	require.Zero(t, storetest.QueryOne[int](t, db, `SELECT count(*) FROM images WHERE state = 'seen' AND filtered_at IS NOT NULL`))
}

func TestLoseImage_IsNoOriginalAnyMore(t *testing.T) {
	t.Parallel()
	for _, reason := range []string{store.ReasonReplaced, store.ReasonFileGone} {
		db := storetest.New(t)
		addCamera(t, db, "a")
		lose(t, db, upload(t, db, "a", "/1", "x", 0), reason)
		again := upload(t, db, "a", "/2", "x", time.Second)
		require.Equal(t, store.ImageSeen, image(t, db, again).State, reason)
		require.Equal(t, store.ImageFiltered, image(t, db, upload(t, db, "a", "/3", "x", 2*time.Second)).State, reason)
	}
}

func TestLoseImage_Refuses(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	addCamera(t, db, "a")
	original := upload(t, db, "a", "/1", "x", 0)
	duplicate := upload(t, db, "a", "/2", "x", time.Second)
	_, err := db.ClaimImage(t.Context(), original, "mine", time.Minute)
	require.NoError(t, err)
	require.ErrorIs(t, db.LoseImage(t.Context(), store.ImageClaim{ImageID: original, Token: "mine"}, "bored"), store.ErrInvalid)
	for _, claim := range []store.ImageClaim{{ImageID: original, Token: "not mine"}, {ImageID: original + 1000, Token: "mine"}, {ImageID: duplicate}} {
		require.ErrorIs(t, db.LoseImage(t.Context(), claim, store.ReasonReplaced), store.ErrClaimLost)
	}
	require.Equal(t, store.ImageDetecting, image(t, db, original).State)
	require.Equal(t, store.ImageFiltered, image(t, db, duplicate).State, "nobody was woken")
}
