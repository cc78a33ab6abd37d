package server

import (
	"context"
	"maps"
	"net/http"
	"slices"

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
	body, err := s.bodies.health.of(report, sameHealth, func(report health.Report) any { return toAPIHealth(report) })
	if report.State != health.Healthy {
		return ready{http.StatusServiceUnavailable, body}, err
	}
	return ready{http.StatusOK, body}, err
}

// GetReadiness returns the readiness verdict with what it rests on.
func (s *Server) GetReadiness(context.Context, gen.GetReadinessRequestObject) (gen.GetReadinessResponseObject, error) {
	readiness := s.options.Health.Readiness()
	body, err := s.bodies.readiness.of(readiness, sameReadiness, func(readiness health.Readiness) any { return toAPIReadiness(readiness) })
	if !readiness.Ready {
		return ready{http.StatusServiceUnavailable, body}, err
	}
	return ready{http.StatusOK, body}, err
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

// sameHealth tells whether the answer to both is the same.
func sameHealth(a, b health.Report) bool {
	return a.State == b.State && a.At.Equal(b.At) && sameServices(a.Services, b.Services)
}

// sameReadiness tells whether the answer to both is the same.
func sameReadiness(a, b health.Readiness) bool {
	return a.Ready == b.Ready && a.State == b.State && a.At.Equal(b.At) && slices.Equal(a.Workers, b.Workers) && sameServices(a.Services, b.Services)
}

func sameServices(a, b health.Services) bool {
	return sameService(a.Database, b.Database) && sameService(a.Redis, b.Redis) && sameService(a.AI, b.AI) && sameService(a.Storage, b.Storage)
}

// sameService does not compare At, which the answer shows only of the whole.
func sameService(a, b health.Service) bool {
	return a.State == b.State && a.Message == b.Message && (a.Details == nil) == (b.Details == nil) && maps.Equal(a.Details, b.Details)
}
