package detect

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"hsi.home.arpa/pipeline/picture"
	"hsi.home.arpa/pipeline/video"
	"hsi.home.arpa/store"
)

// maxFrameDetections bounds what is kept of one picture of a video; the most confident stay.
const maxFrameDetections = 10

// videos takes pictures out of videos; see video.Extractor.
type videos interface {
	Frames(ctx context.Context, file *os.File, each func(ctx context.Context, frame video.Frame) error) error
	MaxFrames() int
	FrameTimeout() time.Duration
}

// isVideo tells whether a row is of a video.
func isVideo(row store.Image) bool { return video.MediaType(row.FilePath) != "" }

// videoLease is Lease for a video, each of whose pictures is shown to the detector.
func (w *Worker) videoLease() time.Duration {
	if w.options.Videos == nil {
		return Lease(w.options.DetectLimit)
	}
	each := w.options.Videos.FrameTimeout() + Lease(w.options.DetectLimit)
	return Lease(w.options.DetectLimit) + time.Duration(w.options.Videos.MaxFrames())*each
}

// lookAtVideo shows the pictures of a video to the detector one after the other. What is found in
// all of them belongs to the one row.
func (w *Worker) lookAtVideo(ctx context.Context, row store.Image) (l look) {
	if w.options.Videos == nil {
		l.err = &Unusable{Err: video.ErrNotInstalled}
		return l
	}
	file, err := openRecorded(row, w.options.CameraRoot)
	if err != nil {
		l.err = err
		return l
	}
	defer func() { _ = file.Close() }() // only read
	if l.err = isRecorded(ctx, file, row); l.err != nil {
		return l
	}
	l.isRead = true
	l.result = store.DetectionResult{
		Detector: w.options.Detector.Name(), ImageAt: picture.TakenAt(row.ModTime, row.SeenAt), FileType: video.MediaType(row.FilePath),
	}
	err = w.options.Videos.Frames(ctx, file, func(ctx context.Context, frame video.Frame) error {
		return w.lookAtFrame(ctx, row, frame, &l)
	})
	_, broken := errors.AsType[*video.BrokenError](err)
	if broken || errors.Is(err, video.ErrNotInstalled) {
		err = &Unusable{Err: err}
	}
	l.err = err
	return l
}

// lookAtFrame shows one picture of a video to the detector and adds what it finds.
func (w *Worker) lookAtFrame(ctx context.Context, row store.Image, frame video.Frame, l *look) error {
	base := filepath.Base(row.FilePath)
	name := fmt.Sprintf("%s-%d.jpg", strings.TrimSuffix(base, filepath.Ext(base)), int(frame.Offset.Seconds()))
	img, err := NewImage(row.CameraID, name, l.result.ImageAt.Add(frame.Offset), frame.JPEG, w.options.Limits, w.options.Memory)
	if err != nil {
		return &Unusable{Err: err}
	}
	defer img.Close()
	img.Scene = row.CameraID + " video" // other pictures of the camera may show it from elsewhere, or in another size
	found, took, err := w.detect(ctx, img)
	if err != nil {
		return err
	}
	l.calls = append(l.calls, took)
	kept := selectDetections(found, w.options.Settings.Latest().DetectionConfidenceThreshold)
	rows, err := w.withThumbnails(ctx, row.ID, len(l.result.Detections), img, kept[:min(len(kept), maxFrameDetections)])
	if err != nil {
		return err
	}
	for i := range rows {
		rows[i].MediaType = "video"
	}
	l.result.Detections = slices.Concat(l.result.Detections, rows)
	return nil
}

// isRecorded tells by its bytes whether an open file is what the row describes.
func isRecorded(ctx context.Context, file *os.File, row store.Image) error {
	const part = 8 << 20
	hash := sha256.New()
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		_, err := io.CopyN(hash, file, part)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("read video: %w", withoutPath(err))
		}
	}
	if row.SHA256 == nil || hex.EncodeToString(hash.Sum(nil)) != *row.SHA256 {
		return &lostError{reason: store.ReasonReplaced}
	}
	return nil
}
