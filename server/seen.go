package server

import (
	"context"
	"path"
	"strings"
	"time"

	"hsi.home.arpa/gen"
	"hsi.home.arpa/server/list"
	"hsi.home.arpa/server/wire"
	"hsi.home.arpa/store"
	"hsi.home.arpa/store/seen"
)

// seenStore is what the cameras saw.
type seenStore interface {
	Cameras(ctx context.Context) (cameras []seen.Camera, position string, err error)
	Camera(ctx context.Context, id string) (seen.Camera, error)
	Pictures(ctx context.Context, cameraID string, since time.Time) ([]seen.PictureCount, error)
	CreateCamera(ctx context.Context, added seen.NewCamera, actor store.Actor) (seen.Camera, error)
	UpdateCamera(ctx context.Context, id string, update seen.CameraUpdate, actor store.Actor) (seen.Camera, error)
	ZoneOf(ctx context.Context, cameraID string) (string, error)

	Events(ctx context.Context, filter seen.EventFilter, page seen.Page) (seen.Listed[seen.Event], error)
	Event(ctx context.Context, id int64, maxDetections int) (seen.EventDetail, error)
	UpdateEvent(ctx context.Context, id int64, update seen.EventUpdate, actor store.Actor) (seen.Event, error)
	ReviewEvents(ctx context.Context, ids []int64, actor store.Actor) (int64, error)
	ReviewMatching(ctx context.Context, filter seen.EventFilter, epoch string, number int64, actor store.Actor, asked any) (int64, error)
	EventStats(ctx context.Context, from, before *time.Time) (seen.Stats, error)
	Summary(ctx context.Context, bounds []time.Time, cameraIDs, types []string) ([]seen.Sum, error)
	Search(ctx context.Context, words string, filter seen.EventFilter, limit, offset int) (seen.Matches, error)
	ExportEvents(ctx context.Context, filter seen.EventFilter, actor store.Actor, details map[string]any,
		write func([]seen.Event) error) error

	Detections(ctx context.Context, filter seen.DetectionFilter, page seen.Page) (seen.Listed[seen.Detection], error)
	Detection(ctx context.Context, id int64) (seen.Detection, error)
	DetectionsOfEvent(ctx context.Context, id int64, limit, offset int) (seen.Listed[seen.Detection], error)
}

// zoneNamed returns the time zone of an IANA name. The error is a ParameterError.
func zoneNamed(parameter, name string) (*time.Location, error) {
	zone, err := time.LoadLocation(name)
	if err != nil || !isZoneName(name) {
		return nil, &list.ParameterError{Name: parameter, Err: list.ErrNoSuchZone}
	}
	return zone, nil
}

// isZoneName tells names of time zones from other paths to the files that they are read from: what
// is stored and what the database is asked with must mean the same on every machine.
func isZoneName(name string) bool {
	switch first, _, _ := strings.Cut(name, "/"); first {
	case "", "Local", "localtime", "posix", "posixrules", "right":
		return false
	}
	return path.Clean(name) == name
}

// zoneFor chooses the time zone of a request: the one asked for, else that of the one camera that
// the filter names, else the server's.
func (s *Server) zoneFor(ctx context.Context, asked *string, cameraIDs []string) (*time.Location, error) {
	if asked != nil {
		return zoneNamed("time_zone", *asked)
	}
	if len(cameraIDs) == 1 {
		name, err := s.options.Seen.ZoneOf(ctx, cameraIDs[0])
		if err != nil {
			return nil, err
		}
		if zone, err := zoneNamed("time_zone", name); err == nil {
			return zone, nil
		}
	}
	return s.options.TimeZone, nil
}

// times is a time range with the zone that it was read in.
type times struct {
	list.Range

	zone *time.Location
	used *string // name of the zone, nil when none was needed
}

// timesOf reads the time range and the zone of a list. withHours: the zone is needed in any case.
func (s *Server) timesOf(ctx context.Context, start, end, zone *string, cameraIDs []string, withHours bool) (times, error) {
	isDay := func(text *string) bool { return text != nil && len(*text) == len(time.DateOnly) }
	t := times{zone: time.UTC}
	var err error
	if withHours || isDay(start) || isDay(end) || zone != nil { // an unknown zone is refused in any case
		if t.zone, err = s.zoneFor(ctx, zone, cameraIDs); err != nil {
			return t, err
		}
	}
	if withHours || isDay(start) || isDay(end) {
		t.used = new(t.zone.String())
	}
	t.Range, err = list.RangeOf(start, end, t.zone)
	return t, err
}

// pageOf reads limit, offset, order and cursor of a list; filters are everything that chooses its
// rows.
func pageOf(
	operationID string, limit, offset *int32, order, cursor *string, filters ...any,
) (seen.Page, list.Cursors, error) {
	page := seen.Page{Limit: int(*limit), Offset: int(*offset)} // the validator fills in the defaults
	if order != nil {
		page.Ascending = *order == "asc"
	}
	cursors := list.CursorsOf(operationID, append(filters, page.Ascending)...)
	after, err := cursors.Decode(cursor)
	if err != nil {
		return page, cursors, err
	}
	if after != nil {
		if page.Offset != 0 {
			return page, cursors, &list.ParameterError{Name: "offset", Err: list.ErrOffsetAndCursor}
		}
		page.After = &seen.Position{At: after.At, ID: after.ID}
	}
	return page, cursors, nil
}

// nextOf is the cursor of the next page, nil when there is none.
func nextOf(cursors list.Cursors, next *seen.Position) *string {
	if next == nil {
		return nil
	}
	return new(cursors.Encode(list.Position{At: next.At, ID: next.ID}))
}

// fileBelowRoot is a path as seen from the camera root; a file elsewhere has only its name.
func (s *Server) fileBelowRoot(path string) string { return fileBelow(s.options.CameraRoot, path) }

func (s *Server) toAPICamera(camera seen.Camera) gen.Camera {
	var folder *string
	if below, ok := pathBelow(s.options.CameraRoot, camera.FolderPath); ok {
		folder = &below
	}
	return gen.Camera{
		ID: camera.ID, Name: camera.Name, FolderPath: folder, Status: wire.CameraStatus(camera, s.options.CameraOfflineAfter, s.now()),
		CreatedAt: camera.CreatedAt, LastSeenAt: camera.LastSeenAt, TimeZone: camera.TimeZone,
	}
}

func toAPIEvents(events []seen.Event) []gen.Event {
	converted := make([]gen.Event, len(events))
	for i, event := range events {
		converted[i] = wire.Event(event)
	}
	return converted
}

func (s *Server) toAPIEventDetail(detail seen.EventDetail) gen.EventDetail {
	e := wire.Event(detail.Event)
	stages := detail.Stages
	return gen.EventDetail{
		ID: e.ID, CameraID: e.CameraID, CameraName: e.CameraName, StartedAt: e.StartedAt, EndedAt: e.EndedAt,
		RiskScore: e.RiskScore, RiskLevel: e.RiskLevel, Summary: e.Summary, Reasoning: e.Reasoning,
		Analyzer: e.Analyzer, Reviewed: e.Reviewed, Notes: e.Notes, DetectionCount: e.DetectionCount,
		DetectionIds: e.DetectionIds, ObjectTypes: e.ObjectTypes, ThumbnailURL: e.ThumbnailURL, CreatedAt: e.CreatedAt,
		Detections:       s.toAPIDetections(detail.Detections),
		DetectionsGoesOn: len(detail.Detections) < len(detail.DetectionIDs),
		Stages: gen.EventStages{
			FirstPictureSeenAt: stages.FirstPictureSeenAt, LastPictureDetectedAt: stages.LastPictureDetectedAt,
			BatchClosedAt: stages.BatchClosedAt, AnalysisStartedAt: stages.AnalysisStartedAt, AnalyzedAt: stages.AnalyzedAt,
		},
	}
}

func toAPIMatch(match seen.Match) gen.EventSearchResult {
	e := wire.Event(match.Event)
	return gen.EventSearchResult{
		ID: e.ID, CameraID: e.CameraID, CameraName: e.CameraName, StartedAt: e.StartedAt, EndedAt: e.EndedAt,
		RiskScore: e.RiskScore, RiskLevel: e.RiskLevel, Summary: e.Summary, Reasoning: e.Reasoning,
		Analyzer: e.Analyzer, Reviewed: e.Reviewed, Notes: e.Notes, DetectionCount: e.DetectionCount,
		DetectionIds: e.DetectionIds, ObjectTypes: e.ObjectTypes, ThumbnailURL: e.ThumbnailURL, CreatedAt: e.CreatedAt,
		RelevanceScore: match.Relevance,
	}
}

func (s *Server) toAPIDetection(d seen.Detection) gen.Detection {
	return gen.Detection{
		ID: d.ID, CameraID: d.CameraID, EventID: d.EventID, FilePath: s.fileBelowRoot(d.FilePath), FileType: d.FileType,
		DetectedAt: d.DetectedAt, ObjectType: d.ObjectType, Confidence: d.Confidence,
		BboxX: d.BBoxX, BboxY: d.BBoxY, BboxWidth: d.BBoxWidth, BboxHeight: d.BBoxHeight,
		PictureWidth: d.PictureWidth, PictureHeight: d.PictureHeight, MediaType: d.MediaType, Detector: d.Detector,
		Duration: d.Duration, VideoCodec: d.VideoCodec, VideoWidth: d.VideoWidth, VideoHeight: d.VideoHeight,
	}
}

func (s *Server) toAPIDetections(detections []seen.Detection) []gen.Detection {
	converted := make([]gen.Detection, len(detections))
	for i, detection := range detections {
		converted[i] = s.toAPIDetection(detection)
	}
	return converted
}

// severities are the levels as texts.
func severities(levels []gen.Severity) []string {
	var texts []string
	for _, level := range levels {
		texts = append(texts, string(level))
	}
	return texts
}

// hoursOf reads hours of the day, of which the contract has checked the form.
func hoursOf(text *string) *seen.Hours {
	if text == nil {
		return nil
	}
	minutes := func(clock string) int {
		at, err := time.Parse("15:04", clock)
		if err != nil {
			return 0 // the pattern allows no other form
		}
		return at.Hour()*60 + at.Minute()
	}
	from, before, _ := strings.Cut(*text, "-")
	return &seen.Hours{From: minutes(from), Before: minutes(before)}
}
