package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"hsi.home.arpa/gen"
	"hsi.home.arpa/server/pictures"
	"hsi.home.arpa/store"
)

const (
	// privateForever lets a browser keep what never changes, and nobody on the way.
	privateForever = "private, max-age=31536000, immutable"
	// privateAsked lets it keep what it asks about each time.
	privateAsked = "private, no-cache"
)

// GetDetectionImage returns the thumbnail of a detection.
func (s *Server) GetDetectionImage(
	ctx context.Context, request gen.GetDetectionImageRequestObject,
) (gen.GetDetectionImageResponseObject, error) {
	file, err := s.options.Pictures.Thumbnail(ctx, request.DetectionID)
	return showing(ctx, file, err, "Detection", request.DetectionID)
}

// GetDetectionOriginal returns the file that a detection was found in.
func (s *Server) GetDetectionOriginal(
	ctx context.Context, request gen.GetDetectionOriginalRequestObject,
) (gen.GetDetectionOriginalResponseObject, error) {
	file, err := s.options.Pictures.Original(ctx, request.DetectionID)
	return showing(ctx, file, err, "Detection", request.DetectionID)
}

// GetEventImage returns the picture of an event's best detection.
func (s *Server) GetEventImage(
	ctx context.Context, request gen.GetEventImageRequestObject,
) (gen.GetEventImageResponseObject, error) {
	width := *request.Params.Width // the validator fills in the default
	file, err := s.options.Pictures.Event(ctx, request.EventID, int(width))
	return showing(ctx, file, err, "Event", request.EventID)
}

// GetCameraSnapshot returns the newest picture of a camera.
func (s *Server) GetCameraSnapshot(
	ctx context.Context, request gen.GetCameraSnapshotRequestObject,
) (gen.GetCameraSnapshotResponseObject, error) {
	width := 0
	if request.Params.Width != nil {
		width = int(*request.Params.Width)
	}
	file, err := s.options.Pictures.Snapshot(ctx, request.CameraID, width)
	return showing(ctx, file, err, "Camera", request.CameraID)
}

// showing makes an answer of a file, or says in words why there is none. No path is among them.
func showing(
	ctx context.Context, file *pictures.File, err error, kind string, id any,
) (picture, error) {
	if err == nil {
		return picture{file, requesterOf(ctx).request}, nil
	}
	of := fmt.Sprintf("%s %v", strings.ToLower(kind), id)
	typed := func(status int, detail string) (picture, error) {
		return picture{}, &problem{status: status, detail: detail, cause: err}
	}
	switch {
	case errors.Is(err, store.ErrNotFound):
		return picture{}, notFound(kind, id)
	case errors.Is(err, pictures.ErrNone):
		return typed(http.StatusNotFound, fmt.Sprintf("%s %v has no picture", kind, id))
	case errors.Is(err, pictures.ErrForeign):
		return typed(http.StatusNotFound, "The file of "+of+" lies outside of the media folders")
	case errors.Is(err, pictures.ErrKind):
		return typed(http.StatusNotFound,
			"The file of "+of+" is no picture or video that can be shown")
	case errors.Is(err, pictures.ErrGone):
		return typed(http.StatusGone, "The picture of "+of+" is gone")
	case errors.Is(err, pictures.ErrReplaced):
		return typed(http.StatusGone, "Another file has taken the place of the picture of "+of)
	case errors.Is(err, pictures.ErrBusy):
		return picture{}, unavailable("Too many pictures are being made", err)
	}
	return picture{}, err
}

// picture is an answer that is a file.
type picture struct {
	*pictures.File

	request *http.Request // as it was sent
}

// VisitGetDetectionImageResponse implements gen.GetDetectionImageResponseObject.
func (p picture) VisitGetDetectionImageResponse(w http.ResponseWriter) error { return p.serve(w) }

// VisitGetDetectionOriginalResponse implements gen.GetDetectionOriginalResponseObject.
func (p picture) VisitGetDetectionOriginalResponse(w http.ResponseWriter) error {
	return p.serve(w)
}

// VisitGetEventImageResponse implements gen.GetEventImageResponseObject.
func (p picture) VisitGetEventImageResponse(w http.ResponseWriter) error { return p.serve(w) }

// VisitGetCameraSnapshotResponse implements gen.GetCameraSnapshotResponseObject.
func (p picture) VisitGetCameraSnapshotResponse(w http.ResponseWriter) error { return p.serve(w) }

func (p picture) serve(w http.ResponseWriter) error {
	defer func() { _ = p.Close() }() // only read
	header := w.Header()
	header.Set("Content-Type", p.MediaType)
	header.Set("Etag", p.ETag)
	header.Set("Cache-Control", privateAsked)
	if p.Immutable {
		header.Set("Cache-Control", privateForever)
	}
	// Another site may not show it, and a browser that opens it as a page runs nothing.
	header.Set("Cross-Origin-Resource-Policy", "same-origin")
	header.Set("Content-Security-Policy", "sandbox")
	to := &pictureWriter{ResponseWriter: w, control: http.NewResponseController(w), file: p.File}
	http.ServeContent(to, p.conditional(), "", time.Time{}, p)
	return nil
}

// conditional is the request with those conditions that the contract has: If-None-Match, Range and
// If-Range. Several ranges are none, nor are other units.
func (p picture) conditional() *http.Request {
	asked := &http.Request{Method: p.request.Method, Header: http.Header{}}
	for _, name := range []string{"If-None-Match", "If-Range", "Range"} {
		if values := p.request.Header.Values(name); len(values) > 0 {
			asked.Header.Set(name, strings.Join(values, ","))
		}
	}
	sent := asked.Header.Get("Range")
	if !strings.HasPrefix(sent, "bytes=") || strings.Contains(sent, ",") {
		asked.Header.Del("Range")
	}
	return asked
}

// pictureWriter gives each write its own time, so that a large file may take as long as its client
// goes on reading, and answers a range that lies outside as the contract says.
type pictureWriter struct {
	http.ResponseWriter

	control *http.ResponseController
	file    io.Seeker
	refused bool
}

func (w *pictureWriter) WriteHeader(status int) {
	if status != http.StatusRequestedRangeNotSatisfiable {
		w.ResponseWriter.WriteHeader(status)
		return
	}
	w.refused = true
	header := w.Header()
	for _, name := range []string{
		"Etag", "Content-Security-Policy", "Cross-Origin-Resource-Policy", "Content-Length",
	} {
		header.Del(name)
	}
	header.Set("Cache-Control", "no-store")
	header.Set("Content-Type", "application/json")
	if size, err := w.file.Seek(0, io.SeekEnd); err == nil {
		// Also where the range cannot be read.
		header.Set("Content-Range", fmt.Sprintf("bytes */%d", size))
	}
	p := &problem{detail: "The range lies outside of the file"}
	body, err := p.body()
	if err != nil {
		return
	}
	w.ResponseWriter.WriteHeader(status)
	_, _ = w.ResponseWriter.Write(body) // the client may have gone
}

func (w *pictureWriter) Write(data []byte) (int, error) {
	if w.refused { // the text that http.ServeContent has for it
		return len(data), nil
	}
	_ = w.control.SetWriteDeadline(time.Now().Add(WriteTimeout)) // not every writer has one
	return w.ResponseWriter.Write(data)
}
