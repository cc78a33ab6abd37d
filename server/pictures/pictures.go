// Package pictures finds the files behind detections, events and cameras, opens them below folders
// that cannot be left, and makes smaller ones. It serves a file only while it is the one that was
// recorded, and only a type that it knows.
package pictures

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
	"time"

	"golang.org/x/sync/semaphore"
	"golang.org/x/sync/singleflight"

	"hsi.home.arpa/pipeline/picture"
	"hsi.home.arpa/store"
	"hsi.home.arpa/store/media"
)

// Why there is nothing to show. Errors of rows and files that are not there at the moment wrap
// store.ErrUnavailable and media.ErrUnavailable, and a row that does not exist is
// store.ErrNotFound.
var (
	// ErrNone says that the row names no picture.
	ErrNone = errors.New("no picture")
	// ErrGone says that the file was deleted.
	ErrGone = errors.New("the file is gone")
	// ErrReplaced says that another file has taken its name, or that it is still being written.
	ErrReplaced = errors.New("another file has taken its name")
	// ErrForeign says that the row names a file outside of the folders.
	ErrForeign = errors.New("the file is not in the folders")
	// ErrKind says that the file is neither a picture nor a video.
	ErrKind = errors.New("the file is no picture or video")
	// ErrBusy says that too many pictures are being made.
	ErrBusy = errors.New("too many pictures are being made")
)

// rows are where the database says that files lie.
type rows interface {
	DetectionPicture(ctx context.Context, id int64) (store.Picture, error)
	EventPicture(ctx context.Context, eventID int64) (*store.Picture, error)
	CameraPictures(ctx context.Context, cameraID string, limit int) ([]store.Picture, error)
}

// files open what lies in the media folders.
type files interface {
	Open(ctx context.Context, kind media.Kind, path string) (*os.File, error)
}

// Limits of the work and the memory.
const (
	snapshotRows     = 20 // how many files of a camera are looked at
	opensAtOnce      = 64 // a disk that hangs holds no more requests than this
	madeAtOnce       = 2  // pictures decoded and scaled at the same time
	madeWaiting      = 8  // and how many wait for that
	makeTimeout      = 20 * time.Second
	decodedBytes     = 128 << 20 // of all pictures that are being scaled; a larger one has it alone
	keptBytes        = 16 << 20  // of pictures that were made
	recentBytes      = 16 << 20  // of answers of the last moment
	maxThumbnailSize = 1 << 20
)

// Options of a Service. Rows and Files are required.
type Options struct {
	Rows  rows
	Files files
	// KeepAnswers is how long a thumbnail is answered again without a look at its row. Defaults to
	// 100 ms.
	KeepAnswers time.Duration
	// Now is the clock. Defaults to time.Now.
	Now func() time.Time
}

// Service serves pictures. Its methods may be called at the same time.
type Service struct {
	options Options
	opens   *semaphore.Weighted
	memory  *picture.Memory
	slots   *semaphore.Weighted // held while a picture is made
	queue   *semaphore.Weighted // held from the request on
	flights singleflight.Group
	made    *cache[*blob]
	recent  *cache[answered]
}

// answered is what a request was answered with.
type answered struct {
	*blob
	at time.Time
}

// New makes a service.
func New(options Options) *Service {
	if options.KeepAnswers == 0 {
		options.KeepAnswers = 100 * time.Millisecond
	}
	if options.Now == nil {
		options.Now = time.Now
	}
	return &Service{
		options: options,
		opens:   semaphore.NewWeighted(opensAtOnce),
		memory:  picture.NewMemory(decodedBytes),
		slots:   semaphore.NewWeighted(madeAtOnce),
		queue:   semaphore.NewWeighted(madeAtOnce + madeWaiting),
		made:    newCache(keptBytes, func(b *blob) int { return len(b.data) }),
		recent:  newCache(recentBytes, func(a answered) int { return len(a.data) }),
	}
}

// File is a picture or video to be served. Close it.
type File struct {
	io.ReadSeeker

	MediaType string
	ETag      string // quoted, strong
	// Immutable: the bytes never change.
	Immutable bool

	close func() error
}

// Close ends the reading.
func (f *File) Close() error {
	if f == nil || f.close == nil {
		return nil
	}
	return f.close()
}

func (b *blob) file() *File {
	return &File{
		ReadSeeker: bytes.NewReader(b.data), MediaType: b.mediaType, ETag: b.etag,
		Immutable: b.immutable,
	}
}

func newBlob(data []byte, immutable bool) (*blob, error) {
	kind := mediaType(data)
	if kind == "" {
		return nil, ErrKind
	}
	sum := sha256.Sum256(data)
	return &blob{data: data, mediaType: kind, etag: quoted(sum[:16]), immutable: immutable}, nil
}

func quoted(sum []byte) string { return `"` + hex.EncodeToString(sum) + `"` }

// Thumbnail returns the small picture of a detection.
func (s *Service) Thumbnail(ctx context.Context, detectionID int64) (*File, error) {
	return s.lately(fmt.Sprintf("detection %d", detectionID), func() (*blob, error) {
		row, err := s.options.Rows.DetectionPicture(ctx, detectionID)
		if err != nil {
			return nil, err
		}
		return s.thumbnail(ctx, &row)
	})
}

// Event returns the picture of an event's best detection, at most width pixels wide.
func (s *Service) Event(ctx context.Context, eventID int64, width int) (*File, error) {
	return s.lately(fmt.Sprintf("event %d %d", eventID, width), func() (*blob, error) {
		row, err := s.options.Rows.EventPicture(ctx, eventID)
		switch {
		case err != nil:
			return nil, err
		case row == nil:
			return nil, ErrNone
		}
		found, err := s.scaled(ctx, row, width)
		if err != nil {
			return nil, err
		}
		changing := *found // another detection may become the best one
		changing.immutable = false
		return &changing, nil
	})
}

// lately answers as a moment ago, or reads.
func (s *Service) lately(key string, read func() (*blob, error)) (*File, error) {
	began := s.options.Now()
	if last, known := s.recent.get(key); known && began.Sub(last.at).Abs() < s.options.KeepAnswers {
		return last.file(), nil
	}
	found, err := read()
	if err != nil {
		return nil, err
	}
	s.recent.add(key, answered{found, began})
	return found.file(), nil
}

func (s *Service) scaled(ctx context.Context, row *store.Picture, width int) (*blob, error) {
	hasThumbnail := row.ThumbnailPath != nil && *row.ThumbnailPath != ""
	switch {
	case width == picture.ThumbnailWidth && hasThumbnail:
		return s.thumbnail(ctx, row)
	case width < picture.ThumbnailWidth && hasThumbnail:
		small, err := s.thumbnail(ctx, row)
		if err != nil {
			return nil, err
		}
		key := fmt.Sprintf("%s %d", small.etag, width)
		return s.make(ctx, key, func(ctx context.Context) ([]byte, error) {
			return s.scale(ctx, small.data, width, nil)
		})
	}
	return s.fromOriginal(ctx, row, width)
}

// thumbnail reads the thumbnail of a row. One that another program has left out, or keeps
// elsewhere, is made.
func (s *Service) thumbnail(ctx context.Context, row *store.Picture) (*blob, error) {
	if row.ThumbnailPath == nil || *row.ThumbnailPath == "" {
		return s.fromOriginal(ctx, row, picture.ThumbnailWidth)
	}
	file, err := s.open(ctx, media.Thumbnail, *row.ThumbnailPath)
	if errors.Is(err, ErrForeign) {
		without := *row
		without.ThumbnailPath = nil
		if made, makeErr := s.fromOriginal(ctx, &without, picture.ThumbnailWidth); makeErr == nil {
			return made, nil
		}
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }() // only read
	data, err := io.ReadAll(io.LimitReader(file, maxThumbnailSize+1))
	switch {
	case err != nil:
		return nil, unreadable(err)
	case len(data) > maxThumbnailSize:
		return nil, ErrKind
	}
	return newBlob(data, media.Own(*row.ThumbnailPath))
}

// Original returns the file that a detection was found in.
func (s *Service) Original(ctx context.Context, detectionID int64) (*File, error) {
	row, err := s.options.Rows.DetectionPicture(ctx, detectionID)
	if err != nil {
		return nil, err
	}
	found, err := s.original(ctx, &row)
	if err != nil {
		return nil, err
	}
	return found.File, nil
}

// Snapshot returns the newest whole picture of a camera, at most width pixels wide; 0: as it is.
func (s *Service) Snapshot(ctx context.Context, cameraID string, width int) (*File, error) {
	if width == 0 {
		return newest(ctx, s, cameraID, func(_ *store.Picture, found *original) (*File, error) {
			return found.File, nil
		})
	}
	return s.lately(fmt.Sprintf("camera %d %s", width, cameraID), func() (*blob, error) {
		return newest(ctx, s, cameraID, func(row *store.Picture, found *original) (*blob, error) {
			return s.smaller(ctx, row, found, width, nil)
		})
	})
}

// newest takes the newest picture of a camera that is whole and that take, which closes it, has no
// fault to find with.
func newest[T any](
	ctx context.Context, s *Service, cameraID string,
	take func(*store.Picture, *original) (*T, error),
) (*T, error) {
	rows, err := s.options.Rows.CameraPictures(ctx, cameraID, snapshotRows)
	if err != nil {
		return nil, err
	}
	reason := ErrNone
	for i := range rows {
		var taken *T
		found, err := s.wholePicture(ctx, &rows[i])
		if err == nil {
			taken, err = take(&rows[i], found)
		}
		switch {
		case err == nil:
			return taken, nil
		case errors.Is(err, ErrGone), errors.Is(err, ErrReplaced):
			reason = ErrGone
		case !errors.Is(err, ErrForeign) && !errors.Is(err, ErrKind):
			return nil, err
		}
	}
	return nil, reason
}

// wholePicture is original of what is no video, and not half a picture.
func (s *Service) wholePicture(ctx context.Context, row *store.Picture) (*original, error) {
	found, err := s.original(ctx, row)
	if err != nil {
		return nil, err
	}
	if _, err := picture.Verify(found.file, found.info.Size(), picture.Limits{}); err != nil {
		_ = found.Close() // only read
		return nil, ErrKind
	}
	return found, nil
}

// original is an open file that is the one of its row.
type original struct {
	*File
	file *os.File
	info fs.FileInfo
}

func (s *Service) original(ctx context.Context, row *store.Picture) (_ *original, err error) {
	file, err := s.open(ctx, media.Image, row.FilePath)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = file.Close() // only read
		}
	}()
	info, err := file.Stat()
	if err != nil {
		return nil, unreadable(err)
	}
	if !isRecorded(row, info) {
		return nil, ErrReplaced
	}
	head := make([]byte, sniffBytes)
	n, err := file.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, unreadable(err)
	}
	kind := mediaType(head[:n])
	if kind == "" {
		return nil, ErrKind
	}
	// No more than was recorded, also when something is added meanwhile.
	served := &File{
		ReadSeeker: io.NewSectionReader(file, 0, info.Size()), MediaType: kind,
		ETag: etagOf(row, info), close: file.Close,
	}
	return &original{served, file, info}, ctx.Err()
}

// isRecorded tells whether a file has the size and the time of its row, as far as there are any.
// The database keeps times to the microsecond.
func isRecorded(row *store.Picture, info fs.FileInfo) bool {
	return (row.SizeBytes == nil || *row.SizeBytes == info.Size()) &&
		(row.ModTime == nil || info.ModTime().Sub(*row.ModTime).Abs() <= time.Microsecond)
}

// etagOf stands for the bytes of a file: by what the ledger knows of them, else by what changes
// with them.
func etagOf(row *store.Picture, info fs.FileInfo) string {
	if row.SHA256 != nil && len(*row.SHA256) == 2*sha256.Size {
		return `"` + (*row.SHA256)[:32] + `"`
	}
	identity := fmt.Sprint(info.Size(), " ", info.ModTime().UnixNano())
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		identity += fmt.Sprint(" ", stat.Dev, " ", stat.Ino, " ", stat.Ctim.Nano())
	}
	sum := sha256.Sum256([]byte(identity))
	return quoted(sum[:16])
}

// open opens a file and says in words of this package why it cannot.
func (s *Service) open(ctx context.Context, kind media.Kind, path string) (*os.File, error) {
	if err := s.opens.Acquire(ctx, 1); err != nil {
		return nil, err
	}
	defer s.opens.Release(1)
	file, err := s.options.Files.Open(ctx, kind, path)
	switch {
	case errors.Is(err, media.ErrOutside):
		return nil, ErrForeign
	case errors.Is(err, fs.ErrNotExist):
		return nil, ErrGone
	}
	return file, err
}

func unreadable(err error) error { return fmt.Errorf("%w: %w", media.ErrUnavailable, err) }
