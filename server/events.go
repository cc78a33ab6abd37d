package server

import (
	"context"
	"encoding/csv"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"hsi.home.arpa/gen"
	"hsi.home.arpa/server/list"
	"hsi.home.arpa/server/wire"
	storelive "hsi.home.arpa/store/live"
	"hsi.home.arpa/store/seen"
)

// maxDetectionsOfEvent is how many detections come with an event.
const maxDetectionsOfEvent = 1000

// ListEvents returns one page of events.
func (s *Server) ListEvents(
	ctx context.Context, request gen.ListEventsRequestObject,
) (gen.ListEventsResponseObject, error) {
	p := request.Params
	t, err := s.timesOf(ctx, p.StartDate, p.EndDate, p.TimeZone, p.CameraID, p.Hours != nil)
	if err != nil {
		return nil, err
	}
	filter := seen.EventFilter{
		CameraIDs: p.CameraID, RiskLevels: severities(p.RiskLevel), ObjectTypes: p.ObjectType, Reviewed: p.Reviewed,
		MinScore: intOf(p.MinScore), From: t.From, Before: t.Before, Hours: hoursOf(p.Hours), Zone: t.zone.String(),
	}
	page, cursors, err := pageOf("listEvents", p.Limit, p.Offset, (*string)(p.Order), p.Cursor, filter)
	if err != nil {
		return nil, err
	}
	listed, err := s.options.Seen.Events(ctx, filter, page)
	if err != nil {
		return nil, err
	}
	rows, err := listed.Form.Of(func() ([]byte, error) { return items(toAPIEvents(listed.Rows)) })
	if err != nil {
		return nil, err
	}
	return withParts("events", [][]byte{rows}, gen.ListEvents200JSONResponse{
		Events: []gen.Event{}, Count: listed.Count, CountIsMinimum: listed.CountIsMinimum,
		Limit: *p.Limit, Offset: *p.Offset, NextCursor: nextOf(cursors, listed.Next), TimeZone: t.used,
		Position: listed.Position,
	})
}

func intOf(value *int32) *int {
	if value == nil {
		return nil
	}
	return new(int(*value))
}

// GetEvent returns one event with what led to it.
func (s *Server) GetEvent(
	ctx context.Context, request gen.GetEventRequestObject,
) (gen.GetEventResponseObject, error) {
	detail, err := s.options.Seen.Event(ctx, request.EventID, maxDetectionsOfEvent)
	if err != nil {
		return nil, orNotFound(err, "Event", request.EventID)
	}
	return gen.GetEvent200JSONResponse(s.toAPIEventDetail(detail)), nil
}

// UpdateEvent marks an event as reviewed or notes something.
func (s *Server) UpdateEvent(
	ctx context.Context, request gen.UpdateEventRequestObject,
) (gen.UpdateEventResponseObject, error) {
	update := seen.EventUpdate{Reviewed: request.Body.Reviewed}
	if notes := request.Body.Notes; notes.IsSpecified() {
		update.Notes = new("")
		if !notes.IsNull() {
			*update.Notes = notes.MustGet()
		}
	}
	event, err := s.options.Seen.UpdateEvent(ctx, request.EventID, update, toActor(requesterOf(ctx)))
	if err != nil {
		return nil, orNotFound(err, "Event", request.EventID)
	}
	return gen.UpdateEvent200JSONResponse(wire.Event(event)), nil
}

// ListEventDetections returns some of the detections of one event.
func (s *Server) ListEventDetections(
	ctx context.Context, request gen.ListEventDetectionsRequestObject,
) (gen.ListEventDetectionsResponseObject, error) {
	limit, offset := *request.Params.Limit, *request.Params.Offset
	listed, err := s.options.Seen.DetectionsOfEvent(ctx, request.EventID, int(limit), int(offset))
	if err != nil {
		return nil, orNotFound(err, "Event", request.EventID)
	}
	return gen.ListEventDetections200JSONResponse{
		Detections: s.toAPIDetections(listed.Rows), Count: listed.Count, Limit: limit, Offset: offset,
		Position: listed.Position,
	}, nil
}

// ReviewEvents marks several events as reviewed: some, or all that fit and were there when a list
// was read.
func (s *Server) ReviewEvents(
	ctx context.Context, request gen.ReviewEventsRequestObject,
) (gen.ReviewEventsResponseObject, error) {
	actor := toActor(requesterOf(ctx))
	asked := request.Body.Matching
	if asked == nil {
		reviewed, err := s.options.Seen.ReviewEvents(ctx, request.Body.Ids, actor)
		return gen.ReviewEvents200JSONResponse{Reviewed: reviewed}, err
	}
	t, err := s.timesOf(ctx, asked.StartDate, asked.EndDate, asked.TimeZone, asked.CameraID, false)
	if parameter, ok := errors.AsType[*list.ParameterError](err); ok {
		return nil, invalid(inBody(fromParameter(parameter), "matching"))
	}
	if err != nil {
		return nil, err
	}
	at, ok := storelive.ParsePosition(asked.Position)
	if !ok {
		return nil, errPosition()
	}
	reviewed, err := s.options.Seen.ReviewMatching(ctx, seen.EventFilter{
		CameraIDs: asked.CameraID, RiskLevels: severities(asked.RiskLevel), ObjectTypes: asked.ObjectType,
		MinScore: intOf(asked.MinScore), From: t.From, Before: t.Before,
	}, at.Epoch, at.Number, actor, asked)
	if errors.Is(err, seen.ErrUnknownPosition) {
		return nil, errPosition()
	}
	return gen.ReviewEvents200JSONResponse{Reviewed: reviewed}, err
}

// inBody moves what a parameter got wrong to its place in a body.
func inBody(item gen.ValidationErrorItem, below string) gen.ValidationErrorItem {
	item.Loc = append([]string{"body", below}, item.Loc[1:]...)
	return item
}

func errPosition() *problem {
	return invalid(gen.ValidationErrorItem{
		Loc: []string{"body", "matching", "position"}, Type: "position",
		Msg: "is no position that can still be looked up: read the list anew",
	})
}

// GetEventStats counts events by level and by camera.
func (s *Server) GetEventStats(
	ctx context.Context, request gen.GetEventStatsRequestObject,
) (gen.GetEventStatsResponseObject, error) {
	p := request.Params
	t, err := s.timesOf(ctx, p.StartDate, p.EndDate, p.TimeZone, nil, false)
	if err != nil {
		return nil, err
	}
	stats, err := s.options.Seen.EventStats(ctx, t.From, t.Before)
	if err != nil {
		return nil, err
	}
	answer := gen.GetEventStats200JSONResponse{
		TotalEvents: stats.Total,
		EventsByRiskLevel: gen.EventsByRiskLevel{
			Critical: stats.ByLevel[string(gen.SeverityCritical)], High: stats.ByLevel[string(gen.SeverityHigh)],
			Medium: stats.ByLevel[string(gen.SeverityMedium)], Low: stats.ByLevel[string(gen.SeverityLow)],
		},
		EventsByCamera: make([]gen.EventsOfCamera, len(stats.ByCamera)),
		TimeZone:       t.used,
	}
	for i, camera := range stats.ByCamera {
		answer.EventsByCamera[i] = gen.EventsOfCamera{
			CameraID: camera.CameraID, CameraName: camera.Name, EventCount: camera.Events,
		}
	}
	return answer, nil
}

// Bounds of a summary.
const (
	maxSummaryDays   = 366
	maxSummaryByHour = 31 // days
	usualSummaryDays = 30
)

// GetEventSummary counts events by day or hour, camera and level.
func (s *Server) GetEventSummary(
	ctx context.Context, request gen.GetEventSummaryRequestObject,
) (gen.GetEventSummaryResponseObject, error) {
	p := request.Params
	t, err := s.timesOf(ctx, p.StartDate, p.EndDate, p.TimeZone, p.CameraID, true)
	if err != nil {
		return nil, err
	}
	before := list.StartOfDay(s.now(), 1, t.zone) // of a whole day the sum is kept
	if t.Before != nil {
		before = *t.Before
	}
	from := list.StartOfDay(before.Add(-time.Nanosecond), 1-usualSummaryDays, t.zone)
	if t.From != nil {
		from = *t.From
	}
	answer := gen.GetEventSummary200JSONResponse{
		Buckets: []gen.EventBucket{}, Bucket: gen.EventSummaryBucket(*p.Bucket), TimeZone: t.zone.String(),
	}
	if !from.Before(before) {
		return answer, nil
	}
	most := maxSummaryDays
	if answer.Bucket == gen.EventSummaryBucketHour {
		most = maxSummaryByHour
	}
	if before.Sub(from) > time.Duration(most)*24*time.Hour+2*time.Hour { // a day more may have 25 hours
		return nil, &list.ParameterError{Name: "start_date", Err: list.ErrRangeTooLong}
	}
	bounds := list.Buckets(from, before, t.zone, answer.Bucket == gen.EventSummaryBucketDay)
	sums, err := s.options.Seen.Summary(ctx, bounds, p.CameraID, p.ObjectType)
	if err != nil {
		return nil, err
	}
	parts := make([][]byte, len(sums))
	for i, sum := range sums {
		parts[i], err = sum.Form.Of(func() ([]byte, error) { return items(toAPIBuckets(bounds[i], sum.Buckets)) })
		if err != nil {
			return nil, err
		}
	}
	return withParts("buckets", parts, answer)
}

func toAPIBuckets(startsAt time.Time, buckets []seen.Bucket) []gen.EventBucket {
	converted := make([]gen.EventBucket, len(buckets))
	for i, bucket := range buckets {
		converted[i] = gen.EventBucket{
			StartsAt: startsAt, CameraID: bucket.CameraID, RiskLevel: bucket.RiskLevel,
			Events: bucket.Events, Unreviewed: bucket.Unreviewed,
		}
	}
	return converted
}

// SearchEvents finds events by words.
func (s *Server) SearchEvents(
	ctx context.Context, request gen.SearchEventsRequestObject,
) (gen.SearchEventsResponseObject, error) {
	p := request.Params
	t, err := s.timesOf(ctx, p.StartDate, p.EndDate, p.TimeZone, p.CameraID, false)
	if err != nil {
		return nil, err
	}
	filter := seen.EventFilter{
		CameraIDs: p.CameraID, RiskLevels: severities(p.Severity), ObjectTypes: p.ObjectType, Reviewed: p.Reviewed,
		From: t.From, Before: t.Before,
	}
	matches, err := s.options.Seen.Search(ctx, p.Q, filter, int(*p.Limit), int(*p.Offset))
	if err != nil {
		return nil, err
	}
	answer := gen.SearchEvents200JSONResponse{
		Results: make([]gen.EventSearchResult, len(matches.Rows)), TotalCount: matches.Count,
		TotalCountIsMinimum: matches.CountIsMinimum, Limit: *p.Limit, Offset: *p.Offset, TimeZone: t.used,
		Position: matches.Position,
	}
	for i, match := range matches.Rows {
		answer.Results[i] = toAPIMatch(match)
	}
	return answer, nil
}

// ExportEvents writes events as a file.
func (s *Server) ExportEvents(
	ctx context.Context, request gen.ExportEventsRequestObject,
) (gen.ExportEventsResponseObject, error) {
	p := request.Params
	t, err := s.timesOf(ctx, p.StartDate, p.EndDate, p.TimeZone, p.CameraID, false)
	if err != nil {
		return nil, err
	}
	filter := seen.EventFilter{
		CameraIDs: p.CameraID, RiskLevels: severities(p.RiskLevel), ObjectTypes: p.ObjectType, Reviewed: p.Reviewed,
		MinScore: intOf(p.MinScore), From: t.From, Before: t.Before,
	}
	return &export{
		name: s.now().UTC().Format("events_export_20060102_150405.csv"),
		read: func(write func([]seen.Event) error) error {
			return s.options.Seen.ExportEvents(ctx, filter, toActor(requesterOf(ctx)), exportDetails(p), write)
		},
		now: s.now,
	}, nil
}

// exportDetails is what the audit says about an export: what was asked for.
func exportDetails(p gen.ExportEventsParams) map[string]any { return map[string]any{"filter": p} }

// export is a CSV file that is written while it is read.
type export struct {
	name string
	read func(write func([]seen.Event) error) error
	now  func() time.Time
}

// exportHeader are the columns of the file.
var exportHeader = []string{
	"event_id", "camera_name", "started_at", "ended_at", "risk_score", "risk_level", "summary", "detection_count", "reviewed",
}

// VisitExportEventsResponse implements gen.ExportEventsResponseObject. An error after the beginning
// breaks the connection: otherwise half a file would look like a whole one.
func (e *export) VisitExportEventsResponse(w http.ResponseWriter) error {
	control := http.NewResponseController(w)
	begun := false
	out := csv.NewWriter(w)
	begin := func() error {
		begun = true
		w.Header().Set("Content-Type", "text/csv")
		w.Header().Set("Content-Disposition", `attachment; filename="`+e.name+`"`)
		w.WriteHeader(http.StatusOK)
		return out.Write(exportHeader)
	}
	err := e.read(func(events []seen.Event) error {
		if err := control.SetWriteDeadline(e.now().Add(WriteTimeout)); err != nil {
			return err
		}
		if !begun {
			if err := begin(); err != nil {
				return err
			}
		}
		for _, event := range events {
			if err := out.Write(exportRow(event)); err != nil {
				return err
			}
		}
		out.Flush()
		return out.Error()
	})
	if err != nil && begun {
		panic(http.ErrAbortHandler)
	}
	return err
}

func exportRow(event seen.Event) []string {
	reviewed := "No"
	if event.Reviewed {
		reviewed = "Yes"
	}
	var endedAt, score string
	if event.EndedAt != nil {
		endedAt = event.EndedAt.Format(time.RFC3339Nano)
	}
	if event.RiskScore != nil {
		score = strconv.Itoa(*event.RiskScore)
	}
	return []string{
		strconv.FormatInt(event.ID, 10), cell(event.CameraName), event.StartedAt.Format(time.RFC3339Nano), endedAt, score,
		cell(event.RiskLevel), cell(event.Summary), strconv.Itoa(len(event.DetectionIDs)), reviewed,
	}
}

// cell is a text that no spreadsheet takes for a formula: OWASP's list of what begins one.
func cell(text *string) string {
	if text == nil || *text == "" {
		return ""
	}
	if strings.ContainsRune("=+-@\t\r\n", rune((*text)[0])) {
		return "'" + *text
	}
	return *text
}
