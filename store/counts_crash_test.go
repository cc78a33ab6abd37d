package store_test

import (
	"context"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"hsi.home.arpa/embedded/embeddedtest"
	"hsi.home.arpa/internal/await"
	"hsi.home.arpa/store/storetest"
)

// PostgreSQL is killed again and again in the middle of writing: what was committed is counted,
// what was not is not.
func TestCounts_NoDriftAfterCrashes(t *testing.T) {
	t.Parallel()
	server := embeddedtest.NewPostgres(t)
	db := storetest.Open(t, server.URL())
	addCamera(t, db, "a")
	for round := range 4 {
		ctx, cancel := context.WithCancel(t.Context())
		written := make(chan struct{}, 1)
		var writers errgroup.Group
		for writer := range 4 {
			writers.Go(func() error {
				random := rand.New(rand.NewPCG(uint64(round), uint64(writer)))
				for ctx.Err() == nil {
					// Errors are the point: the server dies under these statements.
					_, _ = db.SQL().ExecContext(ctx, `INSERT INTO detections (camera_id, file_path, detected_at)
						SELECT 'a', '/x', now() FROM generate_series(1, $1)`, random.IntN(50))
					_, _ = db.SQL().ExecContext(ctx, `DELETE FROM detections WHERE id IN
						(SELECT id FROM detections ORDER BY random() LIMIT $1 FOR UPDATE SKIP LOCKED)`, random.IntN(20))
					_, _ = db.SQL().ExecContext(ctx, `INSERT INTO images (camera_id, file_path, size_bytes, mtime)
						SELECT 'a', gen_random_uuid()::text, 1, now() FROM generate_series(1, $1)`, random.IntN(10))
					_, _ = db.SQL().ExecContext(ctx, `UPDATE images SET state = 'filtered', reason = 'x' WHERE id IN
						(SELECT id FROM images WHERE state = 'seen' LIMIT $1 FOR UPDATE SKIP LOCKED)`, random.IntN(10))
					_, err := db.SQL().ExecContext(ctx, `INSERT INTO logs (level, component, message) VALUES ('INFO', 'x', 'y')`)
					if err == nil {
						select {
						case written <- struct{}{}:
						default:
						}
					}
				}
				return nil
			})
		}
		for range 20 {
			await.Value(t, written, "nothing is written")
		}
		server.Kill(t)
		cancel()
		require.NoError(t, writers.Wait())
		server.Start(t)
		await.True(t, func() bool { return db.Ping(t.Context()) == nil })
		require.Positive(t, requireNoDrift(t, db).Logs)
	}
}
