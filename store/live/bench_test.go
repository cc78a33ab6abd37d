package live_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"hsi.home.arpa/store"
	"hsi.home.arpa/store/storetest"
)

// BenchmarkCommit is an event in a transaction of its own, by several writers at once: with what the live stream adds to it, without
// its notification, and without any of it.
func BenchmarkCommit(b *testing.B) {
	for name, change := range map[string]string{
		"live":   `SELECT 1`,
		"silent": `SELECT setval('live_awake', 1)`,
		"bare":   `ALTER TABLE events DISABLE TRIGGER events_live_inserted`,
	} {
		b.Run(name, func(b *testing.B) {
			db := database(b)
			storetest.Exec(b, db, change)
			if name == "live" {
				start(b, db)
			}
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					insertOne(b, db)
				}
			})
		})
	}
}

func insertOne(b *testing.B, db *store.DB) {
	b.Helper()
	_, err := db.SQL().ExecContext(b.Context(), `INSERT INTO events (camera_id, started_at) VALUES ($1, now())`, "front")
	require.NoError(b, err)
}
