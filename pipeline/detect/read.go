package detect

import (
	"context"
	"errors"
	"fmt"
	"image"
	"io"
	"io/fs"
	"os"
	"time"

	"hsi.home.arpa/pipeline/picture"
	"hsi.home.arpa/store"
)

// lostError says that the bytes of an image cannot be had any more, which is no failure.
type lostError struct{ reason string }

func (e *lostError) Error() string { return "lost: " + e.reason }

// readImage reads the file that a row describes. A file that changed since is another image; one that is gone is lost, unless
// its folder is gone too, as when a disk is not mounted: then it is waited for.
func readImage(row store.Image, root string, limits picture.Limits) ([]byte, error) {
	file, err := os.Open(row.FilePath)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, missing(root)
	}
	if err != nil {
		return nil, fmt.Errorf("open image: %w", err)
	}
	defer func() { _ = file.Close() }() // only read
	info, err := file.Stat()
	if err != nil {
		return nil, fmt.Errorf("look at image: %w", err)
	}
	if info.Size() != row.SizeBytes || !info.ModTime().Truncate(time.Microsecond).Equal(row.ModTime) {
		return nil, &lostError{reason: store.ReasonReplaced}
	}
	if info.Size() > limits.Bytes() {
		return nil, &Unusable{Err: picture.ErrTooLarge}
	}
	data := make([]byte, info.Size())
	if _, err := io.ReadFull(file, data); err != nil {
		return nil, fmt.Errorf("read image: %w", err)
	}
	return data, nil
}

// missing tells a file that was removed from one whose disk is away.
func missing(root string) error {
	if _, rootErr := os.Stat(root); rootErr != nil {
		return &Unavailable{Err: fmt.Errorf("camera folder is away: %w", rootErr), what: "camera folder"}
	}
	if entries, rootErr := os.ReadDir(root); rootErr == nil && len(entries) == 0 {
		// An empty mount point: a root that has cameras is never empty.
		return &Unavailable{Err: errors.New("camera folder is empty: is its disk mounted?"), what: "camera folder"}
	}
	return &lostError{reason: store.ReasonFileGone}
}

// withThumbnails draws a thumbnail for each detection and turns them into rows. A picture that the detector could read and we
// cannot gets none.
func (w *Worker) withThumbnails(ctx context.Context, imageID int64, img *Image, found []Detection) ([]store.NewDetection, error) {
	if len(found) == 0 {
		return nil, nil
	}
	rows := make([]store.NewDetection, len(found))
	for i, d := range found {
		rows[i] = store.NewDetection{
			ObjectType: d.ObjectType, Confidence: d.Confidence,
			BBoxX: d.Box.Min.X, BBoxY: d.Box.Min.Y, BBoxWidth: d.Box.Dx(), BBoxHeight: d.Box.Dy(),
		}
	}
	pixels, err := img.Pixels()
	if err != nil {
		w.log.WarnContext(ctx, "no thumbnails: image cannot be decoded", "camera_id", img.CameraID, "image_id", imageID, "error", err)
		return rows, nil
	}
	drawn := picture.NewThumbnails(pixels)
	for i, d := range found {
		if rows[i].ThumbnailPath, err = w.writeThumbnail(ctx, drawn, imageID, i, d.Box); err != nil {
			return nil, err
		}
	}
	return rows, nil
}

func (w *Worker) writeThumbnail(ctx context.Context, drawn *picture.Thumbnails, imageID int64, n int, box image.Rectangle) (string, error) {
	jpeg, err := drawn.Draw(box)
	if err != nil {
		return "", err
	}
	path, err := w.options.Thumbnails.Write(ctx, fmt.Sprintf("%d-%d.jpg", imageID, n), jpeg)
	if err != nil {
		// The disk is full or away. That is nobody's fault here and passes.
		return "", &Unavailable{Err: fmt.Errorf("write thumbnail: %w", err), what: "thumbnail folder"}
	}
	return path, nil
}
