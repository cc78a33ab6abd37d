package server

import (
	"context"
	"net/http"

	"hsi.home.arpa/gen"
	"hsi.home.arpa/store"
	"hsi.home.arpa/store/media"
)

// storage is what GetStorage answers from.
type storage struct {
	files  media.Report
	counts figure[store.Counts]
}

// GetStorage returns what the disk, the files and the tables come to.
func (s *Server) GetStorage(ctx context.Context, _ gen.GetStorageRequestObject) (gen.GetStorageResponseObject, error) {
	files, err := s.options.Media.Storage()
	if err != nil {
		return nil, err
	}
	counts, err := s.counts.get(ctx)
	if err != nil {
		return nil, err
	}
	body, err := s.bodies.storage.of(storage{files, counts}, equal, func(all storage) any { return toAPIStorage(all.files, all.counts.value, all.counts.at) })
	return ready{http.StatusOK, body}, err
}
