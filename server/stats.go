package server

import (
	"context"

	"hsi.home.arpa/gen"
)

// GetStats returns exact totals and how long the server runs.
func (s *Server) GetStats(ctx context.Context, _ gen.GetStatsRequestObject) (gen.GetStatsResponseObject, error) {
	counts, err := s.counts.get(ctx)
	if err != nil {
		return nil, err
	}
	return gen.GetStats200JSONResponse{
		TotalCameras:    counts.value.Cameras,
		TotalEvents:     counts.value.Events,
		TotalDetections: counts.value.Detections,
		UptimeSeconds:   s.now().Sub(s.startedAt).Seconds(),
	}, nil
}
