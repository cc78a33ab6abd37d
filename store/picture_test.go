package store_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"hsi.home.arpa/store/storetest"
)

// TestPlans_PicturesAreFoundAmongMany: with the plans of an empty database, which the server keeps,
// and with statistics that say so, a picture is found by reading a few rows.
func TestPlans_PicturesAreFoundAmongMany(t *testing.T) {
	t.Parallel()
	db := openKeepingPlans(t)
	const rows, perEvent = 20_000, 20
	addCamera(t, db, "a", "b")
	ask := func() {
		_, _ = db.DetectionPicture(t.Context(), 7)
		_, _ = db.EventPicture(t.Context(), 7)
		_, _ = db.CameraPictures(t.Context(), "a", 20)
	}
	storetest.Exec(t, db, `
		INSERT INTO events (id, camera_id, started_at, detection_ids) VALUES (7, 'a', now(), '[1,2,3]')`)
	ask() // plans are made
	storetest.Exec(t, db, `
		INSERT INTO images (id, camera_id, file_path, size_bytes, mtime, seen_at, state, reason)
		SELECT n, CASE WHEN n % 2 = 0 THEN 'a' ELSE 'b' END, '/' || n, 1, now(),
		       now() - n * interval '1 second', 'filtered', 'history'
		FROM generate_series(1, $1::integer) AS n`, rows)
	storetest.Exec(t, db, `
		INSERT INTO events (id, camera_id, started_at)
		SELECT n, 'a', now() FROM generate_series(8, 6 + $1::integer / $2::integer) AS n`, rows, perEvent)
	storetest.Exec(t, db, `
		INSERT INTO detections (camera_id, image_id, event_id, file_path, detected_at, confidence)
		SELECT 'a', n, 7 + n / $2::integer, '/' || n, now(), 0.5
		FROM generate_series(1, $1::integer - $2) AS n`, rows, perEvent)
	ask()
	for text, arguments := range map[string]string{
		"d.id = $1": "(77)", "d.event_id = $1": "(77)", "d.id = ANY": "('{1,2,3}')",
		"ORDER BY seen_at DESC, id DESC LIMIT $2": "('a', 20)",
	} {
		read, plan := mostRowsRead(t, db, text, arguments)
		require.LessOrEqual(t, read, 20, "%s: %s", text, plan)
	}
	found, err := db.CameraPictures(t.Context(), "a", 3)
	require.NoError(t, err)
	for i, each := range found {
		require.Equal(t, fmt.Sprint("/", 2*(i+1)), each.FilePath, "newest first")
	}
}
