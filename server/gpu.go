package server

import (
	"context"

	"hsi.home.arpa/gen"
)

// GetGPUStats returns the newest sample from memory; without a fresh one everything is null.
func (s *Server) GetGPUStats(context.Context, gen.GetGPUStatsRequestObject) (gen.GetGPUStatsResponseObject, error) {
	sample := s.options.GPU.Latest().Sample
	if sample == nil {
		return gen.GetGPUStats200JSONResponse{}, nil
	}
	return gen.GetGPUStats200JSONResponse(toAPIGPUStats(*sample, s.options.InferenceFPS())), nil
}

// ListGPUHistory returns the newest samples of a time range, oldest first. As long as no sample was
// stored or deleted, an answer is kept encoded.
func (s *Server) ListGPUHistory(ctx context.Context, request gen.ListGPUHistoryRequestObject) (gen.ListGPUHistoryResponseObject, error) {
	since, err := fromAPISince(request.Params.Since)
	if err != nil {
		return nil, err
	}
	limit := *request.Params.Limit // the validator fills in the default
	// First the revision, then the rows: the rows may be newer than it says, never older.
	revision, err := s.revision.get(ctx)
	if err != nil {
		return nil, err
	}
	answer, err := s.history.get(historyKeyOf(since, limit), revision, func() (gen.GPUHistory, error) {
		samples, err := s.options.Store.ListGPUSamples(ctx, since, int(limit))
		return toAPIGPUHistory(samples, limit), err
	})
	if err != nil {
		return nil, err
	}
	return historyResponse{keptHistory: answer, notModified: matches(requesterOf(ctx).ifNoneMatch, answer.etag)}, nil
}
