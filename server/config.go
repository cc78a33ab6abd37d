package server

import (
	"context"

	"hsi.home.arpa/gen"
)

// GetSystemConfig returns the effective settings.
func (s *Server) GetSystemConfig(ctx context.Context, _ gen.GetSystemConfigRequestObject) (gen.GetSystemConfigResponseObject, error) {
	config, err := s.config.get(ctx)
	if err != nil {
		return nil, err
	}
	return gen.GetSystemConfig200JSONResponse(s.toAPIConfig(config)), nil
}

// UpdateSystemConfig changes settings and returns the effective ones after the change.
func (s *Server) UpdateSystemConfig(ctx context.Context, request gen.UpdateSystemConfigRequestObject) (gen.UpdateSystemConfigResponseObject, error) {
	config, err := s.options.Config.Update(ctx, fromAPIConfigUpdate(*request.Body), toActor(requesterOf(ctx)))
	if err != nil {
		return nil, err
	}
	return gen.UpdateSystemConfig200JSONResponse(s.toAPIConfig(config)), nil
}
