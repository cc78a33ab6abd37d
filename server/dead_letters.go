package server

import (
	"context"

	"hsi.home.arpa/gen"
)

// ListDeadLetters returns one page of dead letters, by rising id.
func (s *Server) ListDeadLetters(ctx context.Context, request gen.ListDeadLettersRequestObject) (gen.ListDeadLettersResponseObject, error) {
	selection := fromAPICause(request.Params.Cause)
	limit := *request.Params.Limit // the validator fills in the defaults
	total, err := s.options.DeadLetters.CountDeadLetters(ctx, selection)
	if err != nil {
		return nil, err
	}
	// One more than asked for tells whether there is a next page.
	letters, err := s.options.DeadLetters.DeadLetters(ctx, selection, *request.Params.AfterID, int(limit)+1)
	if err != nil {
		return nil, err
	}
	return gen.ListDeadLetters200JSONResponse(toAPIDeadLetterPage(letters, total, limit)), nil
}

// RequeueDeadLetters lets dead letters be tried again.
func (s *Server) RequeueDeadLetters(ctx context.Context, request gen.RequeueDeadLettersRequestObject) (gen.RequeueDeadLettersResponseObject, error) {
	defer s.depths.forget()
	requeued, err := s.options.DeadLetters.RequeueDeadLetters(ctx, fromAPIDeadLetterSelection(*request.Body), toActor(requesterOf(ctx)))
	if err != nil {
		return nil, err
	}
	return gen.RequeueDeadLetters200JSONResponse{Requeued: requeued}, nil
}
