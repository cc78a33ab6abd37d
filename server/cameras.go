package server

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"hsi.home.arpa/gen"
	"hsi.home.arpa/store"
	"hsi.home.arpa/store/seen"
)

// CameraFolder is a folder directly below the camera root.
type CameraFolder struct {
	// CameraID is the id that the pictures in it get.
	CameraID string
	// Path is of the server's file system.
	Path string
	// IsNew: it was not there before.
	IsNew bool
}

// What may be wrong with a folder that a camera is to have.
var (
	// ErrNoCameraFolder is a path that is no folder directly below the camera root.
	ErrNoCameraFolder = errors.New("must be a folder directly below the camera root")
	// ErrReadOnlyRoot is a camera root in which no folder can be made.
	ErrReadOnlyRoot = errors.New("the camera root is read-only")
)

// cameraFolders makes folders for cameras.
type cameraFolders interface {
	// MakeCameraFolder makes the folder where it is not there yet. Its errors wrap those above.
	MakeCameraFolder(asked string) (CameraFolder, error)
}

// picturesSince is how far back a camera's pictures are counted.
const picturesSince = 24 * time.Hour

// ListCameras lists all cameras, or those of one status.
func (s *Server) ListCameras(
	ctx context.Context, request gen.ListCamerasRequestObject,
) (gen.ListCamerasResponseObject, error) {
	cameras, position, err := s.options.Seen.Cameras(ctx)
	if err != nil {
		return nil, err
	}
	answer := gen.ListCameras200JSONResponse{Cameras: make([]gen.Camera, 0, len(cameras)), Position: position}
	for _, camera := range cameras {
		converted := s.toAPICamera(camera)
		if asked := request.Params.Status; asked != nil && (converted.Status == nil || *converted.Status != *asked) {
			continue
		}
		answer.Cameras = append(answer.Cameras, converted)
	}
	answer.Count = int64(len(answer.Cameras))
	return answer, nil
}

// GetCamera returns one camera and what became of its pictures.
func (s *Server) GetCamera(
	ctx context.Context, request gen.GetCameraRequestObject,
) (gen.GetCameraResponseObject, error) {
	camera, err := s.options.Seen.Camera(ctx, request.CameraID)
	if err != nil {
		return nil, orNotFound(err, "Camera", request.CameraID)
	}
	counts, err := s.options.Seen.Pictures(ctx, camera.ID, s.now().Add(-picturesSince))
	if err != nil {
		return nil, err
	}
	c := s.toAPICamera(camera)
	answer := gen.GetCamera200JSONResponse{
		ID: c.ID, Name: c.Name, FolderPath: c.FolderPath, Status: c.Status, CreatedAt: c.CreatedAt,
		LastSeenAt: c.LastSeenAt, TimeZone: c.TimeZone, Pictures24H: make([]gen.PictureCount, len(counts)),
	}
	for i, count := range counts {
		answer.Pictures24H[i] = gen.PictureCount{State: count.State, Reason: count.Reason, Count: count.Count}
	}
	return answer, nil
}

// CreateCamera adds a camera and makes its folder.
func (s *Server) CreateCamera(
	ctx context.Context, request gen.CreateCameraRequestObject,
) (gen.CreateCameraResponseObject, error) {
	body := request.Body
	if body.TimeZone != nil {
		if err := checkZone(*body.TimeZone); err != nil {
			return nil, err
		}
	}
	folder, err := s.options.CameraFolders.MakeCameraFolder(body.FolderPath)
	switch {
	case errors.Is(err, ErrNoCameraFolder):
		return nil, invalid(gen.ValidationErrorItem{
			Loc: []string{"body", "folder_path"}, Msg: ErrNoCameraFolder.Error(), Type: "folder",
		})
	case errors.Is(err, ErrReadOnlyRoot):
		return nil, &problem{status: http.StatusConflict, cause: err, detail: "The camera root is read-only: " +
			"make the folder where it comes from, and the camera comes with its first picture"}
	case err != nil:
		return nil, fmt.Errorf("make a camera's folder: %w", err)
	}
	camera, err := s.options.Seen.CreateCamera(ctx, seen.NewCamera{
		ID: folder.CameraID, Name: body.Name, FolderPath: folder.Path, TimeZone: body.TimeZone,
		FolderIsNew: folder.IsNew,
	}, toActor(requesterOf(ctx)))
	if errors.Is(err, store.ErrConflict) {
		return nil, &problem{
			status: http.StatusConflict, cause: err,
			detail: "A camera of this folder exists already: " + folder.CameraID,
		}
	}
	if err != nil {
		return nil, err
	}
	return gen.CreateCamera201JSONResponse(s.toAPICamera(camera)), nil
}

// UpdateCamera changes a camera's name or time zone.
func (s *Server) UpdateCamera(
	ctx context.Context, request gen.UpdateCameraRequestObject,
) (gen.UpdateCameraResponseObject, error) {
	update := seen.CameraUpdate{Name: request.Body.Name}
	if zone := request.Body.TimeZone; zone.IsSpecified() {
		update.TimeZone = new("")
		if !zone.IsNull() {
			*update.TimeZone = zone.MustGet()
			if err := checkZone(*update.TimeZone); err != nil {
				return nil, err
			}
		}
	}
	camera, err := s.options.Seen.UpdateCamera(ctx, request.CameraID, update, toActor(requesterOf(ctx)))
	if err != nil {
		return nil, orNotFound(err, "Camera", request.CameraID)
	}
	return gen.UpdateCamera200JSONResponse(s.toAPICamera(camera)), nil
}

// checkZone refuses a time zone that nobody knows.
func checkZone(name string) error {
	if _, err := zoneNamed("time_zone", name); err != nil {
		return invalid(gen.ValidationErrorItem{
			Loc: []string{"body", "time_zone"}, Msg: "is not the name of a time zone", Type: "time_zone",
		})
	}
	return nil
}
