package store_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"hsi.home.arpa/store"
	"hsi.home.arpa/store/storetest"
)

// Plain INSERTs as a dump of the server that this one replaces would hold them: only its columns,
// its ids, loaded with an empty search path.
func TestHistory_LoadsWithPlainInserts(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	conn, err := db.SQL().Connx(t.Context())
	require.NoError(t, err)
	for _, statement := range []string{
		`SELECT pg_catalog.set_config('search_path', '', false)`,
		`INSERT INTO public.cameras (id, name, folder_path, status, created_at, last_seen_at)
			VALUES ('front_door', 'Front Door', '/export/foscam/front_door', 'online', '2025-12-23 10:00:00+00', NULL)`,
		`INSERT INTO public.cameras (id, name, folder_path, created_at) VALUES ('yard', 'Yard', '/export/foscam/yard', now())`,
		`INSERT INTO public.detections (id, camera_id, file_path, file_type, detected_at, object_type, confidence, bbox_x, bbox_y,
			bbox_width, bbox_height, thumbnail_path, media_type, duration, video_codec, video_width, video_height, enrichment_data)
			VALUES (5000, 'front_door', '/export/foscam/front_door/1.jpg', 'image/jpeg', '2025-12-23 10:00:01+00', 'person', 0.93,
			10, 20, 30, 40, 'data/thumbnails/5000_thumb.jpg', 'image', NULL, NULL, NULL, NULL, '{"a": 1}')`,
		`INSERT INTO public.detections (camera_id, file_path, detected_at) VALUES ('yard', '/export/foscam/yard/1.jpg', now())`,
		`INSERT INTO public.events (id, batch_id, camera_id, started_at, ended_at, risk_score, risk_level, summary, reasoning,
			detection_ids, reviewed, notes, is_fast_path, object_types, clip_path)
			VALUES (700, '0f3b8e9c5d2a4f7e8b1c6d3e2f4a5b6c', 'front_door', '2025-12-23 10:00:00+00', '2025-12-23 10:01:00+00', 75, 'high',
			'someone', 'at the door', '[5000]', false, NULL, false, 'person', NULL)`,
		`INSERT INTO public.events (id, batch_id, camera_id, started_at, risk_score, risk_level, is_fast_path, reviewed)
			VALUES (701, 'fast_path_5000', 'front_door', '2025-12-23 10:00:00', 90, 'critical', true, true),
			       (702, 'fast_path_5000', 'front_door', '2025-12-23 10:00:00', NULL, NULL, true, true),
			       (703, 17, 'front_door', '2025-12-23 10:00:00', 1, 'low', false, false)`,
		`INSERT INTO public.gpu_stats (id, recorded_at, gpu_name, gpu_utilization, memory_used, memory_total, temperature, power_usage,
			inference_fps) VALUES (80, '2025-12-23 10:00:00+00', 'NVIDIA RTX A5500', 75.5, 12000, 24000, 65, 150, 30.5)`,
		`INSERT INTO public.logs (id, timestamp, level, component, message, camera_id, event_id, request_id, detection_id, duration_ms,
			extra, source, user_agent) VALUES (90, now(), 'INFO', 'detector', 'x', 'yard', 1, 'r', 2, 3, '{}', 'backend', NULL)`,
		`INSERT INTO public.logs (level, component, message) VALUES ('ERROR', 'x', 'y')`,
		`INSERT INTO public.audit_logs (id, timestamp, action, resource_type, resource_id, actor, ip_address, user_agent, details, status)
			VALUES (60, now(), 'settings_changed', 'settings', NULL, 'anonymous', '127.0.0.1', 'x', '{"changes": {}}', 'success')`,
		`DELETE FROM public.logs WHERE id = 90`,
	} {
		_, err := conn.ExecContext(t.Context(), statement)
		require.NoError(t, err, statement)
	}
	_, err = conn.ExecContext(t.Context(), `RESET search_path`)
	require.NoError(t, err)
	require.NoError(t, conn.Close())
	require.Equal(t, store.Counts{Cameras: 2, Events: 4, Detections: 2, GPUSamples: 1, Logs: 1}, requireNoDrift(t, db))

	// Our own rows come behind the history's ids, although it brought them along.
	committed := commit(t, db, record(t, db, newImage("yard", "/export/foscam/yard/2.jpg")).ID, found(2, base()))
	require.Equal(t, []int64{5002, 5003}, committed.DetectionIDs)
	_, _, err = db.CloseBatch(t.Context(), committed.Batch.ID, func(store.Batch) bool { return true })
	require.NoError(t, err)
	_, err = db.ClaimBatch(t.Context(), committed.Batch.ID, "t", time.Minute)
	require.NoError(t, err)
	event, err := db.CommitEvent(t.Context(), store.BatchClaim{BatchID: committed.Batch.ID, Token: "t"}, newEvent())
	require.NoError(t, err)
	require.Equal(t, int64(704), event.ID)
	require.NoError(t, db.InsertGPUSample(t.Context(), store.GPUSample{RecordedAt: base()}))
	require.NoError(t, db.InsertLogs(t.Context(), []store.LogEntry{{Timestamp: base(), Level: "INFO", Component: "x", Message: "y"}}))
	_, err = store.NewSystemConfigs(db, environment()).Update(t.Context(), store.SystemConfigUpdate{RetentionDays: new(9)}, store.Actor{Name: "x"})
	require.NoError(t, err)
	events, err := db.ListEvents(t.Context(), 0, 10)
	require.NoError(t, err)
	require.Len(t, events, 5)
	require.Nil(t, events[1].EndedAt)
	require.Equal(t, "fast_path_5000", *events[2].BatchID)
	require.Nil(t, events[2].RiskScore)
}

func TestHistory_BatchIDsOfOursAreUnique(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	addCamera(t, db, "a")
	insert := `INSERT INTO events (batch_id, camera_id, started_at, analyzer) VALUES ('1', 'a', now(), $1)`
	_, err := db.SQL().ExecContext(t.Context(), insert, "rules")
	require.NoError(t, err)
	_, err = db.SQL().ExecContext(t.Context(), insert, "rules")
	require.ErrorIs(t, store.Classify(t.Context(), "insert", err), store.ErrConflict)
	_, err = db.SQL().ExecContext(t.Context(), insert, nil)
	require.NoError(t, err, "the history may have used the same")
}
