package server

import (
	"context"
	"io"
	"net/http"
)

// exampleStream has a frame of each kind.
const exampleStream = `retry: 2000
id: 3f2a9c71d04e-1841

event: system_status
data: {"gpu":{"utilization":null,"memory_used":null,"memory_total":null,"temperature":null,"inference_fps":null},"cameras":{"active":3,"total":4},"queue":{"pending":5,"processing":2},"health":"healthy","timestamp":"2025-12-23T10:30:00Z"}

event: event
id: 3f2a9c71d04e-1842
data: {"id":17,"camera_id":"front_door","camera_name":"Front Door","started_at":"2025-12-23T10:30:00Z","ended_at":null,"risk_score":75,"risk_level":"high","summary":"A person","reasoning":null,"analyzer":"rules","reviewed":false,"notes":null,"detection_count":1,"detection_ids":[1],"object_types":["person"],"thumbnail_url":"/api/events/17/image","created_at":"2025-12-23T10:30:00Z"}

event: events_removed
id: 3f2a9c71d04e-1843
data: {"ids":[17]}

event: camera
id: 3f2a9c71d04e-1844
data: {"id":"front_door","name":null,"status":null,"last_seen_at":null,"removed":true}

event: lagged
data: {"behind":7}

event: resync
id: 3f2a9c71d04e-1851
data: {"reason":"many_changes"}

`

// fakeLive is a hub whose stream ends by itself.
type fakeLive struct{ *fakes }

func (f fakeLive) Stream(_ context.Context, after string, _ <-chan struct{}) (func(http.ResponseWriter) error, error) {
	return func(w http.ResponseWriter) error {
		w.Header().Set("Content-Type", "text/event-stream")
		w.Header().Set("X-After", after)
		_, err := io.WriteString(w, exampleStream)
		return err
	}, f.live()
}

func (fakeLive) Close() {}

func (f fakeLive) Events(http.ResponseWriter, *http.Request, <-chan struct{}) error { return f.live() }

func (f fakeLive) System(http.ResponseWriter, *http.Request, <-chan struct{}) error { return f.live() }
