//go:build e2e

package main

import (
	"bytes"
	"encoding/json"
	"image"
	"image/jpeg"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"github.com/lib/pq"
	"github.com/stretchr/testify/require"

	"hsi.home.arpa/internal/e2e"
)

// pictureFolder is the folder of the camera front_door, which the examples of the contract name.
const pictureFolder = "Front Door"

// addPictures puts in what reads find: events with detections, of which some have a picture, others
// one that is gone, lies outside of the folders, or none. The ledger knows the picture before it is
// there, so that the server has nothing to do about it. Their ids are those that are asked for
// most; rows that come later get others.
func (r *requester) addPictures(root string) {
	r.t.Helper()
	var data bytes.Buffer
	require.NoError(r.t, jpeg.Encode(&data, image.NewGray(image.Rect(0, 0, 700, 500)), nil))
	folder, taken := filepath.Join(root, pictureFolder), time.Now().Add(-time.Hour).Truncate(time.Second)
	path := filepath.Join(folder, "1.jpg")
	for _, each := range []struct {
		statement string
		args      []any
	}{
		{`INSERT INTO cameras (id, name, folder_path) VALUES ('front_door', 'Front Door', $1) ON CONFLICT DO NOTHING`, []any{folder}},
		{`INSERT INTO images (id, camera_id, file_path, size_bytes, mtime, state, reason, filtered_at)
		  VALUES (100, 'front_door', $1, $2, $3, 'filtered', 'no_detections', now())`, []any{path, data.Len(), taken}},
		{`INSERT INTO events (id, camera_id, started_at, ended_at, risk_score, risk_level, summary, reasoning, reviewed, notes)
		  SELECT n, 'front_door', now() - n * interval '1 hour', now() - n * interval '1 hour' + interval '1 minute', n * 5,
		         (array['low', 'medium', 'high', 'critical', NULL, 'other'])[n % 6 + 1], '=a person, at "the" door' || n, 'Nobody is expected',
		         n % 2 = 0, CASE WHEN n % 3 = 0 THEN 'noted' END
		  FROM generate_series(1, 20) AS n`, nil},
		{`INSERT INTO detections (id, camera_id, event_id, image_id, file_path, file_type, detected_at, object_type, confidence,
		                          bbox_x, bbox_y, bbox_width, bbox_height)
		  SELECT n, 'front_door', CASE WHEN n <= 15 THEN n END, CASE WHEN n % 4 > 1 THEN 100 END,
		         CASE n % 4 WHEN 0 THEN '/elsewhere/1.jpg' WHEN 1 THEN $1 || '/gone.jpg' ELSE $1 || '/1.jpg' END, 'image/jpeg',
		         now() - n * interval '1 hour', (array['person', 'Car', 'dog', NULL])[n % 4 + 1], n / 50.0, 10, 20, 30, 40
		  FROM generate_series(1, 20) AS n`, []any{folder}},
		{`SELECT setval(pg_get_serial_sequence('events', 'id'), 1000), setval(pg_get_serial_sequence('detections', 'id'), 1000),
		         setval(pg_get_serial_sequence('images', 'id'), 1000)`, nil},
	} {
		_, err := r.database.ExecContext(r.t.Context(), each.statement, each.args...)
		require.NoError(r.t, err, each.statement)
	}
	require.NoError(r.t, e2e.WriteRenamed(path, data.Bytes(), taken))
	for path, want := range map[string]int{
		"/api/cameras/front_door/snapshot": 200, "/api/detections/2/image": 200, "/api/events/3/image?width=640": 200,
		"/api/media/detections/2": 200, "/api/media/detections/1": 410, "/api/media/detections/4": 404, "/api/events/20/image": 404,
	} {
		status, body := r.request(http.MethodGet, path, r.key(), nil)
		require.Equal(r.t, want, status, "%s: %.200s", path, body)
	}
}

// fill puts in what requests could change: dead letters of both kinds, and things that are older
// than any retention period.
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

// stored is all that requests could change, as a text. What the server changes by itself is not
// part of it: its log, samples of a GPU, and images on their way.
func (r *requester) stored() (text string) {
	r.t.Helper()
	require.NoError(r.t, r.database.GetContext(r.t.Context(), &text, `
		SELECT jsonb_build_object(
			'config', (SELECT to_jsonb(c) FROM system_config AS c),
			'audit', (SELECT jsonb_build_array(count(*), max(id)) FROM audit_logs WHERE action <> 'key_refused'),
			'sessions', (SELECT jsonb_build_array(count(*), md5(string_agg(to_jsonb(s)::text, ',' ORDER BY token_hash))) FROM sessions AS s),
			'jobs', (SELECT jsonb_agg(to_jsonb(j) ORDER BY name) FROM jobs AS j),
			'cameras', (SELECT jsonb_build_array(count(*), md5(string_agg(to_jsonb(c)::text, ',' ORDER BY id))) FROM cameras AS c),
			'events', (SELECT jsonb_build_array(count(*), md5(string_agg(to_jsonb(e)::text, ',' ORDER BY id))) FROM events AS e),
			'detections', (SELECT jsonb_build_array(count(*), md5(string_agg(to_jsonb(d)::text, ',' ORDER BY id))) FROM detections AS d),
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
	case "createCamera":
		r.newCamera(number, request.Body)
	case "updateCamera":
		r.change(number, request.Body, "camera_updated")
	case "updateEvent":
		r.change(number, request.Body, "event_reviewed", "event_dismissed")
	case "reviewEvents":
		r.review(number, request.Body)
	case "exportEvents":
		r.export(number)
	default:
		require.Fail(r.t, "say what the operation changes", request.OperationID)
	}
}

// entries counts audit entries of some actions.
func (r *requester) entries(actions ...string) int64 {
	r.t.Helper()
	return r.count(`SELECT count(*) FROM audit_logs WHERE action = ANY ($1)`, pq.Array(actions))
}

func (r *requester) count(query string, args ...any) (n int64) {
	r.t.Helper()
	require.NoError(r.t, r.database.GetContext(r.t.Context(), &n, query, args...))
	return n
}

// newCamera: there is one camera more, with the name that was sent and an audit entry, or nothing
// changed.
func (r *requester) newCamera(number uint64, body []byte) {
	r.t.Helper()
	before, entries := r.stored(), r.entries("camera_created")
	answer := r.ask(number)
	if answer == nil {
		return
	}
	var sent, got struct{ ID, Name string }
	require.NoError(r.t, json.Unmarshal(body, &sent))
	require.NoError(r.t, json.Unmarshal(answer, &got))
	if got.ID == "" { // a camera of this folder was there
		require.Equal(r.t, before, r.stored(), "request %d: %s", number, body)
		return
	}
	require.Equal(r.t, sent.Name, got.Name, "request %d: %s", number, body)
	require.EqualValues(r.t, 1, r.count(`SELECT count(*) FROM cameras WHERE id = $1 AND name = $2`, got.ID, got.Name), "request %d: %s", number, body)
	require.Equal(r.t, entries+1, r.entries("camera_created"), "request %d: %s", number, body)
	status, found := r.request(http.MethodGet, "/api/cameras/"+url.PathEscape(got.ID), r.key(), nil)
	require.Equal(r.t, http.StatusOK, status, "request %d: %s: %s", number, body, found)
}

// key is the header with the key.
func (r *requester) key() http.Header {
	return http.Header{"X-Api-Key": {lastValue(r.Env, "API_KEYS")}}
}

// change: the answer has what was sent, an empty text as null, and something changed with one audit
// entry, or nothing with none.
func (r *requester) change(number uint64, body []byte, actions ...string) {
	r.t.Helper()
	before, entries := r.stored(), r.entries(actions...)
	answer := r.ask(number)
	if answer == nil {
		return
	}
	var sent, got map[string]any
	require.NoError(r.t, json.Unmarshal(body, &sent))
	require.NoError(r.t, json.Unmarshal(answer, &got))
	after := r.stored()
	if got["detail"] != nil { // there is no such row
		require.Equal(r.t, before, after, "request %d: %s", number, body)
		return
	}
	for key, value := range sent {
		if key == "reviewed" && value == nil {
			continue
		}
		if value == "" {
			value = nil
		}
		require.Equal(r.t, value, got[key], "request %d: %s", number, body)
	}
	changes := int64(0)
	if before != after {
		changes = 1
	}
	require.Equal(r.t, entries+changes, r.entries(actions...), "request %d: %s", number, body)
}

// review: those of the ids that were not reviewed are, and the audit says it once.
func (r *requester) review(number uint64, body []byte) {
	r.t.Helper()
	var sent struct{ IDs []int64 }
	require.NoError(r.t, json.Unmarshal(body, &sent))
	const unreviewed = `SELECT count(*) FROM events WHERE id = ANY ($1) AND NOT reviewed`
	const reviewed = `SELECT count(*) FROM events WHERE reviewed`
	want, entries, before := r.count(unreviewed, pq.Array(sent.IDs)), r.entries("events_reviewed"), r.count(reviewed)
	answer := r.ask(number)
	if answer == nil {
		return
	}
	var got struct{ Reviewed int64 }
	require.NoError(r.t, json.Unmarshal(answer, &got))
	require.Equal(r.t, want, got.Reviewed, "request %d: %s", number, body)
	require.Zero(r.t, r.count(unreviewed, pq.Array(sent.IDs)), "request %d: %s", number, body)
	require.Equal(r.t, before+want, r.count(reviewed), "request %d: %s", number, body)
	require.Equal(r.t, entries+min(want, 1), r.entries("events_reviewed"), "request %d: %s", number, body)
}

// export: it is on record, and that is all that changed.
func (r *requester) export(number uint64) {
	r.t.Helper()
	const others = `SELECT count(*) FROM audit_logs WHERE action NOT IN ('media_exported', 'key_refused')`
	exports, rest := r.entries("media_exported"), r.count(others)
	if r.ask(number) == nil {
		return
	}
	require.Equal(r.t, exports+1, r.entries("media_exported"), "request %d", number)
	require.Equal(r.t, rest, r.count(others), "request %d", number)
}

// session checks that a session is made where keys are, with an audit entry, and that nothing else
// changes.
func (r *requester) session(number uint64) {
	r.t.Helper()
	const sessions, audit = `SELECT count(*) FROM sessions`, `SELECT count(*) FROM audit_logs WHERE action <> 'key_refused'`
	sessionsBefore, auditBefore := r.count(sessions), r.count(audit)
	request := r.generator.Request(r.seed, number)
	if r.ask(number) == nil && request.Method != http.MethodHead {
		return
	}
	made := int64(0)
	if request.OperationID == "createSession" && lastValue(r.Env, "API_KEYS") != "" {
		made = 1
	}
	require.Equal(r.t, sessionsBefore+made, r.count(sessions))
	require.Equal(r.t, auditBefore+made, r.count(audit))
}

// configState is the stored configuration, without the time of the last change, and how often it
// was changed.
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

// patch: the answer has the sent values and all others as they were, and version and audit grow by
// one when something changed.
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

// requeue: as many as were chosen, batches whole, are no dead letters any more, and the audit says
// it once.
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
	const entries = `SELECT count(*) FROM audit_logs WHERE action = 'dead_letters_requeued'`
	want, audit := r.count(count, ids, chosen.Cause), r.count(entries)
	answer := r.ask(number)
	if answer == nil {
		return
	}
	var got struct{ Requeued int64 }
	require.NoError(r.t, json.Unmarshal(answer, &got))
	require.Equal(r.t, want, got.Requeued, "request %d: %s", number, body)
	require.Zero(r.t, r.count(count, ids, chosen.Cause), "request %d: %s", number, body)
	require.Equal(r.t, audit+min(want, 1), r.count(entries), "request %d: %s", number, body)
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
	old := r.count(`SELECT count(*) FROM events WHERE ended_at < now() - interval '390 days'`)
	if dryRun {
		require.Equal(r.t, old, got.Events, "request %d", number)
		require.Equal(r.t, before, r.stored(), "request %d: a dry run changes nothing", number)
		return
	}
	require.Zero(r.t, old, "request %d", number)
}
