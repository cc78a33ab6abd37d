package server

import (
	"context"
	"net/http"

	"hsi.home.arpa/gen"
	"hsi.home.arpa/store"
)

// GetSeverity returns how risk scores are named. It needs no dependency.
func (s *Server) GetSeverity(context.Context, gen.GetSeverityRequestObject) (gen.GetSeverityResponseObject, error) {
	body, err := s.bodies.severity.of(s.options.Severity, equal, func(thresholds store.SeverityThresholds) any { return toAPISeverity(thresholds) })
	return ready{http.StatusOK, body}, err
}
