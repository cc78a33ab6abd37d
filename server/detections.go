package server

import (
	"context"

	"hsi.home.arpa/gen"
	"hsi.home.arpa/store/seen"
)

// ListDetections returns one page of detections.
func (s *Server) ListDetections(
	ctx context.Context, request gen.ListDetectionsRequestObject,
) (gen.ListDetectionsResponseObject, error) {
	p := request.Params
	t, err := s.timesOf(ctx, p.StartDate, p.EndDate, p.TimeZone, p.CameraID, false)
	if err != nil {
		return nil, err
	}
	filter := seen.DetectionFilter{
		CameraIDs: p.CameraID, ObjectTypes: p.ObjectType, MinConfidence: p.MinConfidence, From: t.From, Before: t.Before,
	}
	page, cursors, err := pageOf("listDetections", p.Limit, p.Offset, (*string)(p.Order), p.Cursor, filter)
	if err != nil {
		return nil, err
	}
	listed, err := s.options.Seen.Detections(ctx, filter, page)
	if err != nil {
		return nil, err
	}
	return gen.ListDetections200JSONResponse{
		Detections: s.toAPIDetections(listed.Rows), Count: listed.Count, CountIsMinimum: listed.CountIsMinimum,
		Limit: *p.Limit, Offset: *p.Offset, NextCursor: nextOf(cursors, listed.Next), TimeZone: t.used,
		Position: listed.Position,
	}, nil
}

// GetDetection returns one detection.
func (s *Server) GetDetection(
	ctx context.Context, request gen.GetDetectionRequestObject,
) (gen.GetDetectionResponseObject, error) {
	detection, err := s.options.Seen.Detection(ctx, request.DetectionID)
	if err != nil {
		return nil, orNotFound(err, "Detection", request.DetectionID)
	}
	return gen.GetDetection200JSONResponse(s.toAPIDetection(detection)), nil
}
