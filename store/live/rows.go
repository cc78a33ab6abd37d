package live

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	"github.com/lib/pq"

	"hsi.home.arpa/store"
)

// Event is an event as it is now, with what belongs to it.
type Event struct {
	ID           int64          `db:"id"`
	BatchID      *string        `db:"batch_id"`
	CameraID     string         `db:"camera_id"`
	CameraName   *string        `db:"camera_name"`
	StartedAt    time.Time      `db:"started_at"`
	EndedAt      *time.Time     `db:"ended_at"`
	RiskScore    *int           `db:"risk_score"`
	RiskLevel    *string        `db:"risk_level"`
	Summary      *string        `db:"summary"`
	Reasoning    *string        `db:"reasoning"`
	Analyzer     *string        `db:"analyzer"`
	Reviewed     bool           `db:"reviewed"`
	Notes        *string        `db:"notes"`
	CreatedAt    time.Time      `db:"created_at"`
	DetectionIDs pq.Int64Array  `db:"detection_ids"`
	ObjectTypes  pq.StringArray `db:"object_types"`
	Named        *string        `db:"named"` // JSON, of rows whose detections do not know their event
}

// CameraState is a camera as it is now.
type CameraState struct {
	ID         string     `db:"id"`
	Name       string     `db:"name"`
	Status     string     `db:"status"`
	LastSeenAt *time.Time `db:"last_seen_at"`
}

// CameraCounts are how many cameras there are, and how many of them are online.
type CameraCounts struct {
	Active int64 `db:"active"`
	Total  int64 `db:"total"`
}

// Events reads events by id. Those that are gone are missing in the answer.
func (s *Sequencer) Events(ctx context.Context, ids []int64) (map[int64]Event, error) {
	if len(ids) == 0 {
		return nil, nil //nolint:nilnil // reading from it is fine
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	var rows []Event
	err := s.options.DB.SQL().SelectContext(ctx, &rows, `
		SELECT e.id, e.batch_id, e.camera_id, c.name AS camera_name, e.started_at, e.ended_at,
			e.risk_score, e.risk_level, e.summary, e.reasoning, e.analyzer, e.reviewed, e.notes,
			e.created_at, d.ids AS detection_ids, d.types AS object_types,
			CASE WHEN d.ids IS NULL THEN e.detection_ids END AS named
		FROM unnest($1::bigint[]) AS chosen (id) JOIN events AS e ON e.id = chosen.id
		LEFT JOIN cameras AS c ON c.id = e.camera_id
		CROSS JOIN LATERAL (
			SELECT array_agg(d.id ORDER BY d.id) AS ids,
				array_agg(DISTINCT d.object_type) FILTER (WHERE d.object_type IS NOT NULL) AS types
			FROM detections AS d WHERE d.event_id = e.id) AS d`, pq.Array(ids))
	if err != nil {
		return nil, store.Classify(ctx, "read events", err)
	}
	found := make(map[int64]Event, len(rows))
	for _, event := range rows {
		if event.Named != nil {
			if err := s.addNamed(ctx, &event); err != nil {
				return nil, err
			}
		}
		event.StartedAt, event.CreatedAt = event.StartedAt.UTC(), event.CreatedAt.UTC()
		event.EndedAt = utc(event.EndedAt)
		found[event.ID] = event
	}
	return found, nil
}

// addNamed finds the detections that an event of another program names in its JSON. Those that are
// gone are left out.
func (s *Sequencer) addNamed(ctx context.Context, event *Event) error {
	var named []int64
	_ = json.Unmarshal([]byte(*event.Named), &named) // another program may have written something else
	if len(named) == 0 {
		return nil
	}
	var rows []struct {
		ID   int64   `db:"id"`
		Type *string `db:"object_type"`
	}
	err := s.options.DB.SQL().SelectContext(ctx, &rows, `
		SELECT d.id, d.object_type FROM unnest($1::bigint[]) WITH ORDINALITY AS named (id, place)
		JOIN detections AS d ON d.id = named.id ORDER BY named.place`, pq.Array(named))
	if err != nil {
		return store.Classify(ctx, "read detections of an event", err)
	}
	for _, row := range rows {
		event.DetectionIDs = append(event.DetectionIDs, row.ID)
		if row.Type != nil && !slices.Contains(event.ObjectTypes, *row.Type) {
			event.ObjectTypes = append(event.ObjectTypes, *row.Type)
		}
	}
	slices.Sort(event.ObjectTypes)
	return nil
}

// Cameras reads cameras by id. Those that are gone are missing in the answer.
func (s *Sequencer) Cameras(ctx context.Context, ids []string) (map[string]CameraState, error) {
	if len(ids) == 0 {
		return nil, nil //nolint:nilnil // reading from it is fine
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	var rows []CameraState
	err := s.options.DB.SQL().SelectContext(ctx, &rows, `
		SELECT id, name, status, last_seen_at FROM cameras
		WHERE id = ANY ($1) AND deleted_at IS NULL`, pq.Array(ids))
	if err != nil {
		return nil, store.Classify(ctx, "read cameras", err)
	}
	found := make(map[string]CameraState, len(rows))
	for _, camera := range rows {
		camera.LastSeenAt = utc(camera.LastSeenAt)
		found[camera.ID] = camera
	}
	return found, nil
}

// CountCameras counts the cameras.
func (s *Sequencer) CountCameras(ctx context.Context) (CameraCounts, error) {
	var counts CameraCounts
	if err := s.options.DB.Ready(); err != nil {
		return counts, err
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	err := s.options.DB.SQL().GetContext(ctx, &counts, `
		SELECT count(*) FILTER (WHERE status = 'online') AS active, count(*) AS total
		FROM cameras WHERE deleted_at IS NULL`)
	return counts, store.Classify(ctx, "count cameras", err)
}

func utc(t *time.Time) *time.Time {
	if t != nil {
		*t = t.UTC()
	}
	return t
}
