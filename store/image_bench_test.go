package store_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"hsi.home.arpa/store"
	"hsi.home.arpa/store/storetest"
)

// BenchmarkImage measures the way of one image through the ledger: handed over, claimed and found
// empty, with so many together.
func BenchmarkImage(b *testing.B) {
	for _, together := range []int{1, 32} {
		b.Run(fmt.Sprintf("together=%d", together), func(b *testing.B) {
			db := storetest.New(b)
			require.NoError(b, db.EnsureCamera(b.Context(), store.Camera{ID: "a", Name: "A", FolderPath: "/a"}))
			fillBacklog(b, db, b.N)
			b.ResetTimer()
			for done := 0; done < b.N; done += together {
				waiting, err := db.WaitingImages(b.Context(), together, time.Hour)
				require.NoError(b, err)
				ids := make([]int64, len(waiting))
				for i, img := range waiting {
					ids[i] = img.ID
				}
				_, err = db.MarkImagesQueued(b.Context(), ids, time.Hour)
				require.NoError(b, err)
				_, err = db.ClaimImages(b.Context(), ids, "t", time.Minute)
				require.NoError(b, err)
				detected := make([]store.Detected, len(ids))
				for i, id := range ids {
					detected[i].ImageID = id
				}
				_, err = db.CommitDetections(b.Context(), "t", detected, nil)
				require.NoError(b, err)
			}
		})
	}
}

// fillBacklog records images of camera a.
func fillBacklog(tb testing.TB, db *store.DB, n int) {
	tb.Helper()
	storetest.Exec(tb, db, `
		INSERT INTO images (camera_id, file_path, size_bytes, mtime, sha256, seen_at)
		SELECT 'a', '/a/' || n, 1, now(), lpad(n::text, 64, '0'), now() - ($1 - n) * interval '1 ms' FROM generate_series(1, $1) AS n`, n)
	storetest.Exec(tb, db, `ANALYZE images`)
}

func BenchmarkQueueDepths(b *testing.B) {
	for _, backlog := range []int{0, 200_000} {
		b.Run(fmt.Sprintf("backlog=%d", backlog), func(b *testing.B) {
			db := storetest.New(b)
			require.NoError(b, db.EnsureCamera(b.Context(), store.Camera{ID: "a", Name: "A", FolderPath: "/a"}))
			fillBacklog(b, db, backlog)
			for b.Loop() {
				depths, err := db.QueueDepths(b.Context())
				require.NoError(b, err)
				require.EqualValues(b, backlog, depths.Detection)
			}
		})
	}
}
