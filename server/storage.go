package server

import (
	"context"

	"hsi.home.arpa/gen"
)

// GetStorage returns what the disk, the files and the tables come to.
func (s *Server) GetStorage(ctx context.Context, _ gen.GetStorageRequestObject) (gen.GetStorageResponseObject, error) {
	files, err := s.options.Media.Storage()
	if err != nil {
		return nil, err
	}
	countedAt := s.now()
	counts, err := s.counts.get(ctx)
	if err != nil {
		return nil, err
	}
	return gen.GetStorage200JSONResponse(toAPIStorage(files, counts, countedAt)), nil
}
