package store_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"hsi.home.arpa/store"
	"hsi.home.arpa/store/storetest"
)

func TestSameContent(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	addCamera(t, db, "a", "b")
	same := func(camera, path, content string) [2]bool {
		recorded, decided, err := db.SameContent(t.Context(), camera, path, hash(content))
		require.NoError(t, err)
		return [2]bool{recorded, decided}
	}
	original := newImage("a", "/1")
	original.SHA256 = hash("x")
	id := record(t, db, original).ID
	require.Equal(t, [2]bool{true, false}, same("a", "/1", "x"), "waits for the detector")
	require.Equal(t, [2]bool{}, same("b", "/1", "x"), "another camera")
	require.Equal(t, [2]bool{}, same("a", "/2", "x"), "another path")
	require.Equal(t, [2]bool{}, same("a", "/1", "y"), "other bytes")

	duplicate := newImage("a", "/2")
	duplicate.SHA256, duplicate.DedupeWindow = hash("x"), time.Minute
	require.Equal(t, store.ImageFiltered, record(t, db, duplicate).State)
	require.Equal(t, [2]bool{true, true}, same("a", "/2", "x"), "a duplicate is the same image when its time changes")

	storetest.Exec(t, db, `UPDATE images SET state = 'filtered', reason = 'no_detections' WHERE id = $1`, id)
	require.Equal(t, [2]bool{true, true}, same("a", "/1", "x"))
	for _, reason := range []string{store.ReasonFileGone, store.ReasonReplaced} {
		storetest.Exec(t, db, `UPDATE images SET state = 'filtered', reason = $2 WHERE id = $1`, id, reason)
		require.Equal(t, [2]bool{}, same("a", "/1", "x"), "no detector has seen it")
	}
}
