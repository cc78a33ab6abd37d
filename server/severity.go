package server

import (
	"context"

	"hsi.home.arpa/gen"
)

// GetSeverity returns how risk scores are named. It needs no dependency.
func (s *Server) GetSeverity(context.Context, gen.GetSeverityRequestObject) (gen.GetSeverityResponseObject, error) {
	return gen.GetSeverity200JSONResponse(toAPISeverity(s.options.Severity)), nil
}
