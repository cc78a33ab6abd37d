package seen

import (
	"context"
	"testing"

	"github.com/jmoiron/sqlx"
	"github.com/stretchr/testify/require"

	"hsi.home.arpa/store/storetest"
)

// TestEvents_ReadOnlyTheirDetections: a page of events among many reads the detections of its own
// events, not those of all.
func TestEvents_ReadOnlyTheirDetections(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	for _, query := range []string{
		`INSERT INTO cameras (id, name, folder_path) VALUES ('gate', 'Gate', '/cameras/gate')`,
		`INSERT INTO events (id, camera_id, started_at, risk_level)
		SELECT i, 'gate', now() - interval '1 minute' * i, 'low' FROM generate_series(1, 2000) AS i`,
		`INSERT INTO detections (camera_id, file_path, detected_at, event_id, object_type)
		SELECT 'gate', '/cameras/gate/1.jpg', now(), i, 'car'
		FROM generate_series(1, 2000) AS i, generate_series(1, 10)`,
		`ANALYZE`,
	} {
		_, err := db.SQL().ExecContext(t.Context(), query)
		require.NoError(t, err)
	}
	err := New(db).read(t.Context(), "test", func(ctx context.Context, tx *sqlx.Tx) error {
		before := detectionsRead(ctx, t, tx)
		f, err := run(ctx, tx, Page{Limit: 50}, EventFilter{RiskLevels: []string{"low"}}.scan)
		if err != nil {
			return err
		}
		events, err := EventsByID(ctx, tx, f.ids)
		if err != nil {
			return err
		}
		require.Len(t, events, 50)
		require.Len(t, events[0].DetectionIDs, 10)
		read := detectionsRead(ctx, t, tx) - before
		require.LessOrEqual(t, read, int64(1000), "500 are theirs, of 20,000")
		return nil
	})
	require.NoError(t, err)
}

// detectionsRead is how many rows of detections this connection has read lately.
func detectionsRead(ctx context.Context, t *testing.T, tx *sqlx.Tx) (rows int64) {
	t.Helper()
	require.NoError(t, tx.GetContext(ctx, &rows, `SELECT seq_tup_read + idx_tup_fetch
		FROM pg_stat_xact_user_tables WHERE relname = 'detections'`))
	return rows
}
