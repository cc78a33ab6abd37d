package server

import (
	"context"
	"net/http"

	"hsi.home.arpa/gen"
	"hsi.home.arpa/store"
)

// GetSystemConfig returns the effective settings.
func (s *Server) GetSystemConfig(ctx context.Context, _ gen.GetSystemConfigRequestObject) (gen.GetSystemConfigResponseObject, error) {
	config, err := s.config.get(ctx)
	if err != nil {
		return nil, err
	}
	body, err := s.bodies.config.of(config.value, equal, func(config store.SystemConfig) any { return s.toAPIConfig(config) })
	return ready{http.StatusOK, body}, err
}

// UpdateSystemConfig changes settings and returns the effective ones after the change.
func (s *Server) UpdateSystemConfig(ctx context.Context, request gen.UpdateSystemConfigRequestObject) (gen.UpdateSystemConfigResponseObject, error) {
	defer s.config.forget() // also after an error: it may have been stored all the same
	config, err := s.options.Config.Update(ctx, fromAPIConfigUpdate(*request.Body), toActor(requesterOf(ctx)))
	if err != nil {
		return nil, err
	}
	return gen.UpdateSystemConfig200JSONResponse(s.toAPIConfig(config)), nil
}
