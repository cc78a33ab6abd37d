//go:build e2e

package main

import (
	"encoding/json"
	"net/http"
	"strings"

	"github.com/lib/pq"
	"github.com/stretchr/testify/require"
)

// fill puts in what requests could change: dead letters of both kinds, and things that are older than any retention period.
func (r *requester) fill() {
	r.t.Helper()
	for _, statement := range []string{
		`INSERT INTO cameras (id, name, folder_path) VALUES ('front', 'Front', '/cameras/front') ON CONFLICT DO NOTHING`,
		`DELETE FROM images WHERE id <= 60`,
		`DELETE FROM batches WHERE id <= 10`,
		`INSERT INTO batches (id, camera_id, state, opened_at, last_at, closed_at, reason, attempts)
		 SELECT n, 'front', 'dead_lettered', now(), now(), now(), 'no verdict in the text', 5 FROM generate_series(1, 10) AS n`,
		`INSERT INTO images (id, camera_id, file_path, size_bytes, mtime, state, reason, batch_id, attempts)
		 SELECT n, 'front', '/cameras/front/gone-' || n || '.jpg', 1, now(), 'dead_lettered',
		        CASE WHEN n <= 20 THEN 'no verdict in the text' WHEN n <= 40 THEN 'the image has no end' ELSE 'other' END,
		        CASE WHEN n <= 20 THEN (n + 1) / 2 END, 1
		 FROM generate_series(1, 60) AS n`,
		`INSERT INTO detections (camera_id, batch_id, file_path, detected_at) SELECT 'front', n, '/x', now() FROM generate_series(1, 10) AS n`,
		`INSERT INTO events (camera_id, started_at, ended_at) SELECT 'front', now() - interval '400 days', now() - interval '400 days' FROM generate_series(1, 5)`,
		`INSERT INTO gpu_stats (recorded_at, gpu_name) SELECT now() - n * interval '100 days', 'generated' FROM generate_series(0, 5) AS n`,
	} {
		_, err := r.database.ExecContext(r.t.Context(), statement)
		require.NoError(r.t, err, statement)
	}
}

// stored is all that requests could change, as a text. What the server changes by itself is not part of it: its log, samples of a GPU,
// and images on their way.
func (r *requester) stored() (text string) {
	r.t.Helper()
	require.NoError(r.t, r.database.GetContext(r.t.Context(), &text, `
		SELECT jsonb_build_object(
			'config', (SELECT to_jsonb(c) FROM system_config AS c),
			'audit', (SELECT jsonb_build_array(count(*), max(id)) FROM audit_logs WHERE action <> 'key_refused'),
			'sessions', (SELECT count(*) FROM sessions),
			'jobs', (SELECT jsonb_agg(to_jsonb(j) ORDER BY name) FROM jobs AS j),
			'cameras', (SELECT count(*) FROM cameras),
			'events', (SELECT count(*) FROM events),
			'detections', (SELECT count(*) FROM detections),
			'gpu_stats', (SELECT count(*) FROM gpu_stats WHERE gpu_name = 'generated'),
			'images', (SELECT count(*) FROM images),
			'media_deletions', (SELECT count(*) FROM media_deletions),
			'dead_letters', (SELECT jsonb_build_array(count(*), md5(string_agg(to_jsonb(i)::text, ',' ORDER BY id))) FROM images AS i WHERE state = 'dead_lettered'),
			'dead_batches', (SELECT jsonb_build_array(count(*), md5(string_agg(to_jsonb(b)::text, ',' ORDER BY id))) FROM batches AS b WHERE state = 'dead_lettered')
		)::text`))
	return text
}

// write sends a right request that may change something, and checks what it changed.
func (r *requester) write(number uint64) {
	r.t.Helper()
	request := r.generator.Request(r.seed, number)
	switch request.OperationID {
	case "updateSystemConfig":
		r.patch(number, request.Body)
	case "requeueDeadLetters":
		r.requeue(number, request.Body)
	case "runCleanup":
		r.cleanup(number, strings.Contains(request.Query, "true") || strings.Contains(request.Query, "%74%72%75%65"))
	case "createSession", "deleteSession":
		r.session(number)
	default:
		require.Fail(r.t, "say what the operation changes", request.OperationID)
	}
}

// session checks that a session is made where keys are, with an audit entry, and that nothing else changes.
func (r *requester) session(number uint64) {
	r.t.Helper()
	const sessions, audit = `SELECT count(*) FROM sessions`, `SELECT count(*) FROM audit_logs WHERE action <> 'key_refused'`
	sessionsBefore, auditBefore := queryCount(r, sessions), queryCount(r, audit)
	request := r.generator.Request(r.seed, number)
	if r.ask(number) == nil && request.Method != http.MethodHead {
		return
	}
	made := int64(0)
	if request.OperationID == "createSession" && lastValue(r.Env, "API_KEYS") != "" {
		made = 1
	}
	require.Equal(r.t, sessionsBefore+made, queryCount(r, sessions))
	require.Equal(r.t, auditBefore+made, queryCount(r, audit))
}

// configState is the stored configuration, without the time of the last change, and how often it was changed.
type configState struct {
	Values  string
	Version int64
	Audit   int64
}

func (r *requester) config() (state configState, shown map[string]any) {
	r.t.Helper()
	require.NoError(r.t, r.database.GetContext(r.t.Context(), &state, `
		SELECT (to_jsonb(c) - 'version' - 'updated_at')::text AS values, version, (SELECT count(*) FROM audit_logs WHERE action = 'settings_changed') AS audit
		FROM system_config AS c`))
	r.getJSON("/api/system/config", &shown)
	return state, shown
}

// patch: the answer has the sent values and all others as they were, and version and audit grow by one when something changed.
func (r *requester) patch(number uint64, body []byte) {
	r.t.Helper()
	before, shown := r.config()
	answer := r.ask(number)
	if answer == nil {
		return
	}
	var sent, got map[string]any
	require.NoError(r.t, json.Unmarshal(body, &sent))
	require.NoError(r.t, json.Unmarshal(answer, &got))
	for key, value := range sent {
		if value != nil {
			shown[key] = value
		}
	}
	require.Equal(r.t, shown, got, "request %d: %s", number, body)
	after, now := r.config()
	require.Equal(r.t, got, now, "request %d: %s", number, body)
	changes := int64(0)
	if after.Values != before.Values {
		changes = 1
	}
	require.Equal(r.t, before.Version+changes, after.Version, "request %d: %s", number, body)
	require.Equal(r.t, before.Audit+changes, after.Audit, "request %d: %s", number, body)
}

// requeue: as many as were chosen, batches whole, are no dead letters any more, and the audit says it once.
func (r *requester) requeue(number uint64, body []byte) {
	r.t.Helper()
	var chosen struct {
		IDs   []int64
		Cause *string
	}
	require.NoError(r.t, json.Unmarshal(body, &chosen))
	const count = `
		SELECT count(*) FROM images WHERE state = 'dead_lettered' AND (
			batch_id IS NULL AND ($1::bigint[] IS NULL OR id = ANY ($1)) AND ($2::text IS NULL OR reason = $2)
			OR batch_id IN (SELECT batch_id FROM images WHERE state = 'dead_lettered' AND ($1::bigint[] IS NULL OR id = ANY ($1)) AND ($2::text IS NULL OR reason = $2)))`
	var ids any
	if chosen.IDs != nil {
		ids = pq.Array(chosen.IDs)
	}
	if chosen.Cause != nil {
		*chosen.Cause = strings.ReplaceAll(*chosen.Cause, "\x00", "\ufffd") // no text with NUL is stored
	}
	ask := func(query string, args ...any) (n int64) {
		require.NoError(r.t, r.database.GetContext(r.t.Context(), &n, query, args...))
		return n
	}
	const entries = `SELECT count(*) FROM audit_logs WHERE action = 'dead_letters_requeued'`
	want, audit := ask(count, ids, chosen.Cause), ask(entries)
	answer := r.ask(number)
	if answer == nil {
		return
	}
	var got struct{ Requeued int64 }
	require.NoError(r.t, json.Unmarshal(answer, &got))
	require.Equal(r.t, want, got.Requeued, "request %d: %s", number, body)
	require.Zero(r.t, ask(count, ids, chosen.Cause), "request %d: %s", number, body)
	require.Equal(r.t, audit+min(want, 1), ask(entries), "request %d: %s", number, body)
}

// cleanup: a dry run changes nothing, a real one deletes what is too old; both count the same.
func (r *requester) cleanup(number uint64, dryRun bool) {
	r.t.Helper()
	before := r.stored()
	answer := r.ask(number)
	if answer == nil {
		return
	}
	var got struct {
		Events int64 `json:"events_deleted"`
		DryRun bool  `json:"dry_run"`
	}
	require.NoError(r.t, json.Unmarshal(answer, &got))
	require.Equal(r.t, dryRun, got.DryRun, "request %d", number)
	old := queryCount(r, `SELECT count(*) FROM events WHERE ended_at < now() - interval '390 days'`)
	if dryRun {
		require.Equal(r.t, old, got.Events, "request %d", number)
		require.Equal(r.t, before, r.stored(), "request %d: a dry run changes nothing", number)
		return
	}
	require.Zero(r.t, old, "request %d", number)
}

func queryCount(r *requester, query string) (n int64) {
	r.t.Helper()
	require.NoError(r.t, r.database.GetContext(r.t.Context(), &n, query))
	return n
}
