package server

import (
	"context"

	"hsi.home.arpa/gen"
	"hsi.home.arpa/server/health"
)

// GetLiveness says that the process serves HTTP. It looks at nothing.
func (s *Server) GetLiveness(context.Context, gen.GetLivenessRequestObject) (gen.GetLivenessResponseObject, error) {
	return gen.GetLiveness200JSONResponse{Status: gen.LivenessStatusAlive}, nil
}

// GetHealth returns the last results of the background probes.
func (s *Server) GetHealth(context.Context, gen.GetHealthRequestObject) (gen.GetHealthResponseObject, error) {
	report := s.options.Health.Health()
	if report.State != health.Healthy {
		return gen.GetHealth503JSONResponse(toAPIHealth(report)), nil
	}
	return gen.GetHealth200JSONResponse(toAPIHealth(report)), nil
}

// GetReadiness returns the readiness verdict with what it rests on.
func (s *Server) GetReadiness(context.Context, gen.GetReadinessRequestObject) (gen.GetReadinessResponseObject, error) {
	readiness := s.options.Health.Readiness()
	if !readiness.Ready {
		return gen.GetReadiness503JSONResponse(toAPIReadiness(readiness)), nil
	}
	return gen.GetReadiness200JSONResponse(toAPIReadiness(readiness)), nil
}

// GetReadinessProbe returns the readiness verdict alone.
func (s *Server) GetReadinessProbe(context.Context, gen.GetReadinessProbeRequestObject) (gen.GetReadinessProbeResponseObject, error) {
	readiness := s.options.Health.Readiness()
	verdict := gen.ReadinessProbe{Ready: readiness.Ready, Status: gen.ReadinessState(readiness.State)}
	if !readiness.Ready {
		return gen.GetReadinessProbe503JSONResponse(verdict), nil
	}
	return gen.GetReadinessProbe200JSONResponse(verdict), nil
}
