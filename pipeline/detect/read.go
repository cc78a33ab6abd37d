package detect

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"image"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"hsi.home.arpa/pipeline/picture"
	"hsi.home.arpa/store"
)

// lostError says that the bytes of an image cannot be had any more, which is no failure.
type lostError struct{ reason string }

func (e *lostError) Error() string { return "lost: " + e.reason }

// openRecorded opens the file that a row describes. A file of another size is another image; one
// that is gone is lost, unless its camera's folder is away, as when a disk is not mounted: then it
// is waited for.
func openRecorded(row store.Image, root string) (*os.File, error) {
	// Not blocking, because what was a file may be a pipe now.
	file, err := os.OpenFile(row.FilePath, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, notOpened(row.FilePath, root, err)
	}
	info, err := file.Stat()
	switch {
	case err != nil:
		err = fmt.Errorf("look at image: %w", withoutPath(err))
	case !info.Mode().IsRegular() || info.Size() != row.SizeBytes:
		err = &lostError{reason: store.ReasonReplaced}
	default:
		return file, nil
	}
	_ = file.Close() // only read
	return nil, err
}

// readImage reads the file that a row describes. A file with other bytes than were recorded is
// another image.
func readImage(row store.Image, root string, limits picture.Limits) ([]byte, error) {
	file, err := openRecorded(row, root)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }() // only read
	if row.SizeBytes > limits.Bytes() {
		return nil, &Unusable{Err: picture.ErrTooLarge}
	}
	data := make([]byte, row.SizeBytes)
	if _, err := io.ReadFull(file, data); err != nil {
		return nil, fmt.Errorf("read image: %w", withoutPath(err))
	}
	// The bytes decide, not the file's time: that may change alone, and stay when the bytes change.
	if sum := sha256.Sum256(data); row.SHA256 == nil || hex.EncodeToString(sum[:]) != *row.SHA256 {
		return nil, &lostError{reason: store.ReasonReplaced}
	}
	return data, nil
}

// notOpened tells a file that was removed from one whose disk is away. A folder that is empty is
// taken for the mount point of a disk: one that held the file has had files.
func notOpened(path, root string, err error) error {
	if folderErr := hasEntries(root); folderErr != nil {
		return &Unavailable{Err: fmt.Errorf("camera folders are away: %w", folderErr), what: "camera folder"}
	}
	if folderErr := hasEntries(cameraFolder(path, root)); folderErr != nil {
		return &folderAwayError{err: folderErr}
	}
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return &lostError{reason: store.ReasonFileGone}
	}
	return fmt.Errorf("open image: %w", withoutPath(err))
}

// withoutPath takes the path out of an error of the file system: the error may become the cause of
// a dead letter, which everybody may read, and the image is named beside it in any case.
func withoutPath(err error) error {
	if wrapped, ok := errors.AsType[*fs.PathError](err); ok {
		return wrapped.Err
	}
	return err
}

// folderAwayError says that the folder of one camera is away. Its images wait, those of other
// cameras go on.
type folderAwayError struct{ err error }

func (e *folderAwayError) Error() string { return fmt.Sprintf("camera folder is away: %v", e.err) }

// cameraFolder is the first folder on the way from root to path. A file elsewhere, as after a
// change of the settings, has only its own.
func cameraFolder(path, root string) string {
	rel, err := filepath.Rel(root, path)
	first, _, nested := strings.Cut(rel, string(filepath.Separator))
	if err != nil || !nested || first == ".." {
		return filepath.Dir(path)
	}
	return filepath.Join(root, first)
}

// hasEntries returns an error when the folder cannot be read or is empty.
func hasEntries(path string) error {
	folder, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = folder.Close() }() // only read
	if _, err = folder.Readdirnames(1); errors.Is(err, io.EOF) {
		return fmt.Errorf("%s is empty: is its disk mounted?", path)
	}
	return err
}

// withThumbnails draws a thumbnail for each detection and turns them into rows; first is the number
// of the first one. A picture that the detector could read and we cannot gets none.
func (w *Worker) withThumbnails(ctx context.Context, imageID int64, first int, img *Image, found []Detection) ([]store.NewDetection, error) {
	if len(found) == 0 {
		return nil, nil
	}
	rows := make([]store.NewDetection, len(found))
	for i, d := range found {
		rows[i] = store.NewDetection{
			ObjectType: d.ObjectType, Confidence: d.Confidence,
			BBoxX: d.Box.Min.X, BBoxY: d.Box.Min.Y, BBoxWidth: d.Box.Dx(), BBoxHeight: d.Box.Dy(),
			PictureWidth: img.Info.Width, PictureHeight: img.Info.Height,
		}
	}
	decodeCtx, cancel := context.WithTimeout(ctx, storeLimit)
	defer cancel()
	pixels, err := img.Pixels(decodeCtx)
	if decodeCtx.Err() != nil {
		return nil, fmt.Errorf("decode image for thumbnails: %w", decodeCtx.Err())
	}
	if err != nil {
		w.log.WarnContext(ctx, "no thumbnails: image cannot be decoded", "camera_id", img.CameraID, "image_id", imageID, "error", err)
		return rows, nil
	}
	drawn := picture.NewThumbnails(pixels)
	img.Close() // the memory is for others while the disk is waited for
	for i, d := range found {
		if rows[i].ThumbnailPath, err = w.writeThumbnail(ctx, drawn, imageID, first+i, d.Box); err != nil {
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
