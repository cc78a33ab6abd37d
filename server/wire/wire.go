// Package wire gives rows the form that they have in the contract, for the lists and for the
// streams alike.
package wire

import (
	"strconv"
	"time"

	"hsi.home.arpa/gen"
	"hsi.home.arpa/store/seen"
)

// Event is an event as clients get it.
func Event(event seen.Event) gen.Event {
	var thumbnail *string
	if len(event.DetectionIDs) > 0 {
		thumbnail = new("/api/events/" + strconv.FormatInt(event.ID, 10) + "/image")
	}
	var score *int32
	if event.RiskScore != nil {
		score = new(int32(*event.RiskScore)) //nolint:gosec // 0 to 100
	}
	return gen.Event{
		ID: event.ID, CameraID: event.CameraID, CameraName: event.CameraName,
		StartedAt: event.StartedAt, EndedAt: event.EndedAt, RiskScore: score, RiskLevel: event.RiskLevel,
		Summary: event.Summary, Reasoning: event.Reasoning, Analyzer: event.Analyzer, Reviewed: event.Reviewed,
		Notes: event.Notes, DetectionCount: int32(len(event.DetectionIDs)), //nolint:gosec // few
		DetectionIds: notNil(event.DetectionIDs), ObjectTypes: notNil(event.ObjectTypes), ThumbnailURL: thumbnail,
		CreatedAt: event.CreatedAt,
	}
}

// notNil makes an empty list one that is written as such.
func notNil[S ~[]T, T any](items S) []T {
	if items == nil {
		return []T{}
	}
	return items
}

// CameraStatus tells whether a picture came within the time after which a camera counts as offline.
// It is nil when that is 0: the owner has not said.
func CameraStatus(camera seen.Camera, offlineAfter time.Duration, now time.Time) *gen.CameraStatus {
	switch {
	case offlineAfter == 0:
		return nil
	case camera.LastSeenAt != nil && now.Sub(*camera.LastSeenAt) < offlineAfter:
		return new(gen.CameraStatusOnline)
	default:
		return new(gen.CameraStatusOffline)
	}
}
