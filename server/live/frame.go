package live

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"hsi.home.arpa/gen"
	"hsi.home.arpa/server/wire"
	"hsi.home.arpa/store/live"
)

// Reasons of a resync.
const (
	reasonExpired     = string(gen.ResyncReasonExpired)
	reasonForeign     = string(gen.ResyncReasonForeign)
	reasonAhead       = string(gen.ResyncReasonAhead)
	reasonManyChanges = string(gen.ResyncReasonManyChanges)
)

// resyncReason tells why a position cannot be read on from.
func resyncReason(err error) (reason string, missing bool) {
	switch {
	case errors.Is(err, live.ErrExpired):
		return reasonExpired, true
	case errors.Is(err, live.ErrAhead):
		return reasonAhead, true
	case errors.Is(err, live.ErrForeign):
		return reasonForeign, true
	}
	return "", false
}

// frame is one position, encoded for all clients. It never changes.
type frame struct {
	number   int64
	sse      []byte // nil when there is nothing to tell: the event is gone
	message  []byte // of /ws/events; nil for what it does not tell
	isCamera bool
}

// sseFrame writes a frame of server-sent events. JSON has no line breaks.
func sseFrame(kind, id string, data []byte) []byte {
	var b bytes.Buffer
	b.Grow(len(kind) + len(id) + len(data) + 24)
	b.WriteString("event: " + kind + "\n")
	if id != "" {
		b.WriteString("id: " + id + "\n")
	}
	b.WriteString("data: ")
	b.Write(data)
	b.WriteString("\n\n")
	return b.Bytes()
}

func resyncFrame(at live.Position, reason string) *frame {
	data := []byte(`{"reason":"` + reason + `"}`)
	return &frame{number: at.Number, sse: sseFrame(string(live.Resync), at.String(), data)}
}

func laggedFrame(behind int64) []byte {
	return sseFrame("lagged", "", []byte(`{"behind":`+strconv.FormatInt(behind, 10)+`}`))
}

// encode makes the frames of changes, with events and cameras as they are now.
func (h *Hub) encode(ctx context.Context, epoch string, changes []live.Change) ([]*frame, error) {
	var eventIDs []int64
	var cameraIDs []string
	for _, change := range changes {
		switch change.Kind {
		case live.EventAdded, live.EventChanged:
			eventIDs = append(eventIDs, change.EventIDs...)
		case live.Camera:
			cameraIDs = append(cameraIDs, change.CameraID)
		default:
		}
	}
	events, err := h.options.Source.Events(ctx, eventIDs)
	if err != nil {
		return nil, err
	}
	cameras, err := h.options.Source.Cameras(ctx, cameraIDs)
	if err != nil {
		return nil, err
	}
	frames := make([]*frame, len(changes))
	for i, change := range changes {
		if frames[i], err = h.encodeChange(epoch, change, events, cameras); err != nil {
			return nil, fmt.Errorf("encode position %d: %w", change.Number, err)
		}
	}
	return frames, nil
}

func (h *Hub) encodeChange(epoch string, change live.Change, events map[int64]live.Event, cameras map[string]live.CameraState) (*frame, error) {
	f := &frame{number: change.Number, isCamera: change.Kind == live.Camera}
	var data any
	switch change.Kind {
	case live.EventAdded, live.EventChanged:
		if len(change.EventIDs) != 1 {
			return f, nil
		}
		event, ok := events[change.EventIDs[0]]
		if !ok {
			return f, nil // gone; its events_removed comes later
		}
		data = wire.Event(event)
		if change.Kind == live.EventAdded {
			var err error
			if f.message, err = json.Marshal(toMessage(event)); err != nil {
				return nil, err
			}
		}
	case live.EventsRemoved:
		data = gen.EventsRemoved{Ids: change.EventIDs}
	case live.Camera:
		data = h.toAPICamera(change.CameraID, cameras)
	case live.Resync:
		data = gen.Resync{Reason: gen.ResyncReasonManyChanges}
	default:
		return f, nil // of a newer version of the program
	}
	encoded, err := json.Marshal(data)
	if err != nil {
		return nil, err
	}
	f.sse = sseFrame(string(change.Kind), live.Position{Epoch: epoch, Number: change.Number}.String(), encoded)
	return f, nil
}

func (h *Hub) toAPICamera(id string, cameras map[string]live.CameraState) gen.CameraChange {
	c, ok := cameras[id]
	if !ok {
		return gen.CameraChange{ID: id, Removed: true}
	}
	return gen.CameraChange{
		ID: id, Name: &c.Name, Status: wire.CameraStatus(c, h.options.CameraOfflineAfter, h.options.Now()), LastSeenAt: c.LastSeenAt,
	}
}

// eventMessage is what /ws/events sends. Its form is that of the server which this one replaces.
type eventMessage struct {
	Type string    `json:"type"`
	Data eventData `json:"data"`
}

type eventData struct {
	ID        int64     `json:"id"`
	EventID   int64     `json:"event_id"` // the same
	BatchID   *string   `json:"batch_id"`
	CameraID  string    `json:"camera_id"`
	RiskScore *int      `json:"risk_score"`
	RiskLevel *string   `json:"risk_level"`
	Summary   *string   `json:"summary"`
	Reasoning *string   `json:"reasoning"`
	StartedAt time.Time `json:"started_at"`
}

func toMessage(e live.Event) eventMessage {
	return eventMessage{Type: "event", Data: eventData{
		ID: e.ID, EventID: e.ID, BatchID: e.BatchID, CameraID: e.CameraID, RiskScore: e.RiskScore, RiskLevel: e.RiskLevel,
		Summary: e.Summary, Reasoning: e.Reasoning, StartedAt: e.StartedAt,
	}}
}
