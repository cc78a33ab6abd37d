package server

import (
	"context"

	"hsi.home.arpa/gen"
)

// RunCleanup deletes what is too old. A real run goes on when the client leaves and ends when the
// server stops or after CleanupTimeout; a preview ends with its request.
func (s *Server) RunCleanup(ctx context.Context, request gen.RunCleanupRequestObject) (gen.RunCleanupResponseObject, error) {
	dryRun := *request.Params.DryRun // the validator fills in the default
	if !dryRun {
		ctx = context.WithoutCancel(ctx)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-s.stopping:
			cancel()
		case <-ctx.Done():
		}
	}()
	defer s.counts.forget()
	report, err := s.options.Cleanup.Cleanup(ctx, dryRun)
	if err != nil {
		return nil, err
	}
	return gen.RunCleanup200JSONResponse(toAPICleanup(report)), nil
}
