package intake_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"hsi.home.arpa/internal/await"
	"hsi.home.arpa/store/storetest"
)

// TestWatcher_TakesABacklogInItsOrder matters for batching: images in a wild order make many small
// batches.
func TestWatcher_TakesABacklogInItsOrder(t *testing.T) {
	t.Parallel()
	f := setup(t, false)
	const images = 150
	start := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	for n := range images {
		path := f.write(fmt.Sprintf("front/%03d.jpg", n), picture(t, n))
		at := start.Add(time.Duration(n*67%images) * time.Minute)
		require.NoError(t, os.Chtimes(path, at, at))
	}
	f.start()
	await.True(t, func() bool {
		return storetest.QueryOne[int](t, f.db, `SELECT count(*) FROM images`) == images
	})
	require.Zero(t, f.displaced())
}

// displaced counts the images that are not where they belong by their times.
func (f *fixture) displaced() int {
	f.t.Helper()
	return storetest.QueryOne[int](f.t, f.db, `
		SELECT count(*) FILTER (WHERE recorded <> taken OR seen <> taken) FROM (
			SELECT row_number() OVER (ORDER BY id) AS recorded, row_number() OVER (ORDER BY seen_at, id) AS seen,
			       row_number() OVER (ORDER BY mtime) AS taken FROM images) AS ranks`)
}

// TestWatcher_TakesABurstInItsOrder: what has moved is told from one image of a camera to the next.
func TestWatcher_TakesABurstInItsOrder(t *testing.T) {
	t.Parallel()
	f := setup(t, false)
	f.start()
	f.write("front/first.jpg", picture(t, 1000))
	f.expect("front front/first.jpg seen")
	const images = 120
	large := make([]byte, 2<<20)
	start := time.Now().Add(time.Minute).Truncate(time.Second)
	for n := range images {
		data := picture(t, n)
		if n%4 == 0 { // takes longer to read than the next ones
			data = append(data, large...)
		}
		path := f.write(fmt.Sprintf("front/%03d.part", n), data)
		at := start.Add(time.Duration(n) * time.Second)
		require.NoError(t, os.Chtimes(path, at, at))
		require.NoError(t, os.Rename(path, filepath.Join(f.root, "front", fmt.Sprintf("%03d.jpg", n))))
	}
	await.True(t, func() bool {
		return storetest.QueryOne[int](t, f.db, `SELECT count(*) FROM images`) == images+1
	})
	require.Zero(t, f.displaced())
}
