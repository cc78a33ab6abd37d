package live

import (
	"context"
	"time"

	"hsi.home.arpa/store"
	"hsi.home.arpa/store/seen"
)

// Event is an event as it is now, with what belongs to it.
type Event = seen.Event

// CameraState is a camera as it is now.
type CameraState = seen.Camera

// CameraCounts are how many cameras there are, and how many of them are online; nil when nobody
// knows.
type CameraCounts struct {
	Active *int64 `db:"active"`
	Total  int64  `db:"total"`
}

// Events reads events by id. Those that are gone are missing in the answer.
func (s *Sequencer) Events(ctx context.Context, ids []int64) (map[int64]Event, error) {
	if len(ids) == 0 {
		return nil, nil //nolint:nilnil // reading from it is fine
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	events, err := seen.EventsByID(ctx, s.options.DB.SQL(), ids)
	if err != nil {
		return nil, store.Classify(ctx, "read events", err)
	}
	found := make(map[int64]Event, len(events))
	for _, event := range events {
		found[event.ID] = event
	}
	return found, nil
}

// Cameras reads cameras by id. Those that are gone are missing in the answer.
func (s *Sequencer) Cameras(ctx context.Context, ids []string) (map[string]CameraState, error) {
	if len(ids) == 0 {
		return nil, nil //nolint:nilnil // reading from it is fine
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	cameras, err := seen.CamerasByID(ctx, s.options.DB.SQL(), ids)
	if err != nil {
		return nil, store.Classify(ctx, "read cameras", err)
	}
	found := make(map[string]CameraState, len(cameras))
	for _, camera := range cameras {
		found[camera.ID] = camera
	}
	return found, nil
}

// CountCameras counts the cameras. offlineAfter is after how long without a picture one is offline;
// 0 when the owner has not said.
func (s *Sequencer) CountCameras(ctx context.Context, offlineAfter time.Duration) (CameraCounts, error) {
	var counts CameraCounts
	if err := s.options.DB.Ready(); err != nil {
		return counts, err
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	err := s.options.DB.SQL().GetContext(ctx, &counts, `
		SELECT CASE WHEN $1::float8 > 0 THEN
		         count(*) FILTER (WHERE last_seen_at > clock_timestamp() - $1::float8 * interval '1 second') END AS active,
		       count(*) AS total
		FROM cameras WHERE deleted_at IS NULL`, offlineAfter.Seconds())
	return counts, store.Classify(ctx, "count cameras", err)
}
