package seen_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"hsi.home.arpa/embedded/embeddedtest"
	"hsi.home.arpa/store"
	"hsi.home.arpa/store/seen"
	"hsi.home.arpa/store/storetest"
)

func TestMain(m *testing.M) { embeddedtest.Main(m) }

// env is a Store on a database of its own. Rows are written by plain INSERTs, as other programs do.
type env struct {
	*seen.Store

	db *store.DB
	t  *testing.T
}

var actor = store.Actor{Name: "anonymous", IPAddress: "192.0.2.1", RequestID: "r1"}

func base() time.Time { return time.Date(2026, 3, 14, 15, 9, 26, 535898000, time.UTC) }

func setup(t *testing.T) *env {
	t.Helper()
	db := storetest.New(t)
	e := &env{seen.New(db), db, t}
	for _, id := range []string{"attic", "front", "garden"} {
		e.exec(`INSERT INTO cameras (id, name, folder_path) VALUES ($1, $2, $3)`, id, strings.ToUpper(id), "/cameras/"+id)
	}
	return e
}

func (e *env) exec(query string, args ...any) {
	e.t.Helper()
	_, err := e.db.SQL().ExecContext(e.t.Context(), query, args...)
	require.NoError(e.t, err)
}

// row is an event as another program may write it.
type row struct {
	camera       string
	startedAt    time.Time
	score        int
	level        string
	summary      string
	reviewed     bool
	objects      string // object types, as text
	detectionIDs string // JSON
}

func (e *env) insert(r row) int64 {
	e.t.Helper()
	var id int64
	null := func(text string) any {
		if text == "" {
			return nil
		}
		return text
	}
	require.NoError(e.t, e.db.SQL().GetContext(e.t.Context(), &id, `
		INSERT INTO events (camera_id, started_at, risk_score, risk_level, summary, reviewed, object_types, detection_ids)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8) RETURNING id`,
		r.camera, r.startedAt, r.score, null(r.level), null(r.summary), r.reviewed, null(r.objects), null(r.detectionIDs)))
	return id
}

func (e *env) detect(camera, object string, at time.Time, event *int64) int64 {
	e.t.Helper()
	var id int64
	require.NoError(e.t, e.db.SQL().GetContext(e.t.Context(), &id, `
		INSERT INTO detections (camera_id, file_path, detected_at, object_type, confidence, event_id)
		VALUES ($1, $2, $3, $4, 0.9, $5) RETURNING id`,
		camera, fmt.Sprintf("/cameras/%s/%d.jpg", camera, at.UnixNano()), at, object, event))
	return id
}

func ids[T any](rows []T, id func(T) int64) []int64 {
	found := make([]int64, len(rows))
	for i, r := range rows {
		found[i] = id(r)
	}
	return found
}

func eventID(e seen.Event) int64 { return e.ID }

// bucket is a part of a sum with the place of its lower bound.
type bucket struct {
	Index              int
	CameraID           string
	RiskLevel          *string
	Events, Unreviewed int64
}

// sums are the buckets of a summary, one after the other.
func (e *env) sums(bounds []time.Time, cameraIDs, types []string) (found []bucket) {
	e.t.Helper()
	sums, err := e.Summary(e.t.Context(), bounds, cameraIDs, types)
	require.NoError(e.t, err)
	require.Len(e.t, sums, len(bounds)-1)
	for i, sum := range sums {
		for _, of := range sum.Buckets {
			found = append(found, bucket{i, of.CameraID, of.RiskLevel, of.Events, of.Unreviewed})
		}
	}
	return found
}
