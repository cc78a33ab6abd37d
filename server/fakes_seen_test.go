package server

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"hsi.home.arpa/store"
	"hsi.home.arpa/store/seen"
)

// fakeSeen has what the examples of the contract show. What it was asked is kept in its last
// fields.
type fakeSeen struct {
	tb  testing.TB
	err error // answers everything when set

	cameras    []seen.Camera
	events     []seen.Event
	detections []seen.Detection
	next       *seen.Position
	zones      map[string]string
	folder     func(asked string) (CameraFolder, error)

	mu              sync.Mutex // guards those below; requests may come together
	filter          seen.EventFilter
	detectionFilter seen.DetectionFilter
	page            seen.Page
	bounds          []time.Time
	types           []string // of the summary
	update          seen.EventUpdate
	cameraUpdate    seen.CameraUpdate
	words           string
}

func newFakeSeen(tb testing.TB) *fakeSeen {
	tb.Helper()
	added := at(tb, "2025-12-01T08:00:00Z")
	return &fakeSeen{
		tb: tb,
		cameras: []seen.Camera{
			{
				ID: "front_door", Name: "Front Door", FolderPath: "/srv/cameras/Front Door", CreatedAt: added,
				LastSeenAt: new(at(tb, "2025-12-23T10:29:58Z")),
			},
			{ID: "garden", Name: "Garden", FolderPath: "/srv/cameras/garden", CreatedAt: added, TimeZone: new("Europe/Berlin")},
		},
		events: []seen.Event{{
			ID: 311, CameraID: "front_door", CameraName: new("Front Door"), StartedAt: at(tb, "2025-12-23T10:28:30Z"),
			EndedAt: new(at(tb, "2025-12-23T10:29:58Z")), RiskScore: new(75), RiskLevel: new("high"),
			Summary: new("A person waits at the door"), Reasoning: new("Nobody is expected at this hour"),
			Analyzer: new("nemotron"), DetectionIDs: []int64{4711}, ObjectTypes: []string{"person"},
			CreatedAt: at(tb, "2025-12-23T10:30:00Z"),
		}},
		detections: []seen.Detection{{
			ID: 4711, CameraID: "front_door", EventID: new(int64(311)), FilePath: "/srv/cameras/Front Door/10-28-30.jpg",
			FileType: new("image/jpeg"), DetectedAt: at(tb, "2025-12-23T10:28:30Z"), ObjectType: new("person"),
			Confidence: new(0.93), BBoxX: new(int32(100)), BBoxY: new(int32(40)), BBoxWidth: new(int32(220)),
			BBoxHeight: new(int32(410)), PictureWidth: new(int32(1280)), PictureHeight: new(int32(720)),
			MediaType: new("image"), Detector: new("rtdetr"),
		}},
		zones: map[string]string{"garden": "Europe/Berlin"},
		folder: func(asked string) (CameraFolder, error) {
			return CameraFolder{CameraID: asked, Path: "/srv/cameras/" + asked}, nil
		},
	}
}

// note keeps what was asked.
func (f *fakeSeen) note(write func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	write()
}

func (f *fakeSeen) MakeCameraFolder(asked string) (CameraFolder, error) { return f.folder(asked) }

// examplePosition is where the live stream stands.
const examplePosition = "3f2a9c71d04e-1841"

func (f *fakeSeen) Cameras(context.Context) ([]seen.Camera, string, error) {
	return f.cameras, examplePosition, f.err
}

func (f *fakeSeen) Camera(_ context.Context, id string) (seen.Camera, error) {
	for _, camera := range f.cameras {
		if camera.ID == id {
			return camera, f.err
		}
	}
	return seen.Camera{}, fmt.Errorf("read camera: %w", store.ErrNotFound)
}

func (f *fakeSeen) Pictures(context.Context, string, time.Time) ([]seen.PictureCount, error) {
	return []seen.PictureCount{{State: "analyzed", Count: 17}, {State: "filtered", Reason: new("no_detections"), Count: 402}}, f.err
}

func (f *fakeSeen) CreateCamera(ctx context.Context, added seen.NewCamera, _ store.Actor) (seen.Camera, error) {
	if f.err == nil {
		if _, err := f.Camera(ctx, added.ID); err == nil {
			return seen.Camera{}, fmt.Errorf("create camera: %w", store.ErrConflict)
		}
	}
	return seen.Camera{
		ID: added.ID, Name: added.Name, FolderPath: added.FolderPath, TimeZone: added.TimeZone,
		CreatedAt: at(f.tb, "2025-12-23T10:30:00Z"),
	}, f.err
}

func (f *fakeSeen) UpdateCamera(
	ctx context.Context, id string, update seen.CameraUpdate, _ store.Actor,
) (seen.Camera, error) {
	f.note(func() { f.cameraUpdate = update })
	return f.Camera(ctx, id)
}

func (f *fakeSeen) ZoneOf(_ context.Context, id string) (string, error) { return f.zones[id], f.err }

func (f *fakeSeen) Events(
	_ context.Context, filter seen.EventFilter, page seen.Page,
) (seen.Listed[seen.Event], error) {
	f.note(func() { f.filter, f.page = filter, page })
	return seen.Listed[seen.Event]{Rows: f.events, Next: f.next, Count: int64(len(f.events)), Position: examplePosition}, f.err
}

func (f *fakeSeen) event(id int64) (seen.Event, error) {
	if f.err != nil {
		return seen.Event{}, f.err
	}
	for _, event := range f.events {
		if event.ID == id {
			return event, nil
		}
	}
	return seen.Event{}, fmt.Errorf("read event: %w", store.ErrNotFound)
}

func (f *fakeSeen) Event(_ context.Context, id int64, maxDetections int) (seen.EventDetail, error) {
	event, err := f.event(id)
	event.DetectionIDs = event.DetectionIDs[:min(len(event.DetectionIDs), maxDetections)]
	return seen.EventDetail{
		Event: event, Detections: f.detections, Stages: seen.Stages{
			FirstPictureSeenAt:    new(at(f.tb, "2025-12-23T10:28:30.1Z")),
			LastPictureDetectedAt: new(at(f.tb, "2025-12-23T10:29:58.4Z")),
			BatchClosedAt:         new(at(f.tb, "2025-12-23T10:30:00Z")),
			AnalysisStartedAt:     new(at(f.tb, "2025-12-23T10:30:00Z")),
			AnalyzedAt:            new(at(f.tb, "2025-12-23T10:30:00Z")),
		},
	}, err
}

func (f *fakeSeen) UpdateEvent(
	_ context.Context, id int64, update seen.EventUpdate, _ store.Actor,
) (seen.Event, error) {
	f.note(func() { f.update = update })
	event, err := f.event(id)
	if update.Reviewed != nil {
		event.Reviewed = *update.Reviewed
	}
	return event, err
}

func (f *fakeSeen) ReviewEvents(_ context.Context, ids []int64, _ store.Actor) (int64, error) {
	return int64(len(ids)), f.err
}

func (f *fakeSeen) ReviewMatching(
	_ context.Context, filter seen.EventFilter, epoch string, number int64, _ store.Actor, _ any,
) (int64, error) {
	f.note(func() { f.filter = filter })
	if f.err == nil && fmt.Sprint(epoch, "-", number) != examplePosition {
		return 0, seen.ErrUnknownPosition
	}
	return 2, f.err
}

func (f *fakeSeen) EventStats(context.Context, *time.Time, *time.Time) (seen.Stats, error) {
	return seen.Stats{
		Total: 44, ByLevel: map[string]int64{"critical": 2, "high": 5, "medium": 12, "low": 25},
		ByCamera: []seen.CameraCount{{CameraID: "front_door", Name: "Front Door", Events: 30}, {CameraID: "garden", Name: "Garden", Events: 14}},
	}, f.err
}

func (f *fakeSeen) Summary(
	_ context.Context, bounds []time.Time, _, types []string,
) ([]seen.Sum, error) {
	f.note(func() { f.bounds, f.types = bounds, types })
	sums := make([]seen.Sum, len(bounds)-1)
	sums[0].Buckets = []seen.Bucket{
		{CameraID: "front_door", RiskLevel: new("low"), Events: 7, Unreviewed: 3},
		{CameraID: "front_door", RiskLevel: new("high"), Events: 1, Unreviewed: 1},
	}
	return sums, f.err
}

func (f *fakeSeen) Search(
	_ context.Context, words string, filter seen.EventFilter, _, _ int,
) (seen.Matches, error) {
	f.note(func() { f.words, f.filter = words, filter })
	matches := seen.Matches{Count: int64(len(f.events)), Position: examplePosition}
	for _, event := range f.events {
		matches.Rows = append(matches.Rows, seen.Match{Event: event, Relevance: 0.25})
	}
	return matches, f.err
}

func (f *fakeSeen) ExportEvents(
	_ context.Context, filter seen.EventFilter, _ store.Actor, _ map[string]any, write func([]seen.Event) error,
) error {
	f.note(func() { f.filter = filter })
	if f.err != nil {
		return f.err
	}
	return write(f.events)
}

func (f *fakeSeen) Detections(
	_ context.Context, filter seen.DetectionFilter, page seen.Page,
) (seen.Listed[seen.Detection], error) {
	f.note(func() { f.detectionFilter, f.page = filter, page })
	return seen.Listed[seen.Detection]{Rows: f.detections, Next: f.next, Count: int64(len(f.detections)), Position: examplePosition}, f.err
}

func (f *fakeSeen) Detection(_ context.Context, id int64) (seen.Detection, error) {
	if f.err != nil {
		return seen.Detection{}, f.err
	}
	for _, detection := range f.detections {
		if detection.ID == id {
			return detection, nil
		}
	}
	return seen.Detection{}, fmt.Errorf("read detection: %w", store.ErrNotFound)
}

func (f *fakeSeen) DetectionsOfEvent(_ context.Context, id int64, _, _ int) (seen.Listed[seen.Detection], error) {
	_, err := f.event(id)
	return seen.Listed[seen.Detection]{
		Rows: f.detections, Count: int64(len(f.detections)), Position: examplePosition,
	}, err
}
