// Package picture reads camera images without trusting them: it checks them by header and end
// marker before anything decodes them, bounds how large they may be, and draws the thumbnails of
// detections.
package picture

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	_ "image/gif"  // decoder
	_ "image/jpeg" // decoder
	_ "image/png"  // decoder
	"io"
	"time"

	_ "golang.org/x/image/bmp"  // decoder
	_ "golang.org/x/image/webp" // decoder
)

// Errors that say why a file is no usable image. All but ErrTruncated are final for these bytes; a
// truncated file may still be growing.
var (
	ErrEmpty         = errors.New("the file is empty")
	ErrNotAnImage    = errors.New("the file is not an image of a known format")
	ErrTruncated     = errors.New("the image has no end")
	ErrTooManyPixels = errors.New("the image has too many pixels")
	ErrTooMuchMemory = errors.New("the image would need too much memory to decode")
	ErrTooLarge      = errors.New("the file is too large")
)

// Format is an image file format.
type Format string

// Formats that are recognised by content, whatever the file is called.
const (
	JPEG Format = "jpeg"
	PNG  Format = "png"
	GIF  Format = "gif"
	BMP  Format = "bmp"
	WebP Format = "webp"
)

// MediaType returns the MIME type, such as "image/jpeg".
func (f Format) MediaType() string { return "image/" + string(f) }

// Info is what the header of an image says.
type Info struct {
	Format Format
	// Width and Height are in pixels.
	Width, Height int
	// DecodedBytes is the most memory that decoding needs, the pixels included.
	DecodedBytes int64
}

// Limits bound what is accepted. The zero value of a field means its default.
type Limits struct {
	// MaxBytes is the largest file. Defaults to 64 MiB.
	MaxBytes int64
	// MaxPixels is the largest width times height. Defaults to 40 million, which a JPEG of a camera
	// decodes into 60 MB.
	MaxPixels int64
	// MaxDecodedBytes is the largest memory that decoding may need. Defaults to 200 MiB.
	MaxDecodedBytes int64
}

// Bytes returns MaxBytes or its default.
func (l Limits) Bytes() int64 { return l.withDefaults().MaxBytes }

func (l Limits) withDefaults() Limits {
	if l.MaxBytes == 0 {
		l.MaxBytes = 64 << 20
	}
	if l.MaxPixels == 0 {
		l.MaxPixels = 40_000_000
	}
	if l.MaxDecodedBytes == 0 {
		l.MaxDecodedBytes = 200 << 20
	}
	return l
}

// TakenAt is when an image was taken: the modification time of its file, which a camera's upload
// sets. Where that cannot be, before the year 2000 or more than five minutes after the file was
// seen, it is the time at which the file was seen.
func TakenAt(modTime, seenAt time.Time) time.Time {
	const clockTolerance = 5 * time.Minute
	if modTime.Year() < 2000 || modTime.Sub(seenAt) > clockTolerance {
		return seenAt
	}
	return modTime
}

// Decode turns the bytes of an image into pixels after checking them with Verify. It waits until
// memory has room for them, and gives up when ctx ends. Errors of a broken image that only decoding
// shows are returned as they are.
func Decode(ctx context.Context, data []byte, limits Limits, memory *Memory) (*Decoded, error) {
	info, err := VerifyBytes(data, limits)
	if err != nil {
		return nil, err
	}
	if info.Format == JPEG && changesColoursLate(data) {
		return nil, ErrNotAnImage
	}
	release, err := memory.take(ctx, info.DecodedBytes)
	if err != nil {
		return nil, err
	}
	decoded, err := decode(ctx, data)
	if err != nil {
		release()
		return nil, fmt.Errorf("decode %s: %w", info.Format, err)
	}
	return &Decoded{Image: decoded, Info: info, release: release}, nil
}

func decode(ctx context.Context, data []byte) (image.Image, error) {
	decoded, _, err := image.Decode(&endingReader{ctx: ctx, reader: bytes.NewReader(data)})
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err != nil {
		return nil, err
	}
	if size := decoded.Bounds().Size(); size.X <= 0 || size.Y <= 0 {
		return nil, ErrNotAnImage
	}
	return decoded, nil
}

// endingReader reads until ctx ends: a few bytes can ask for much work, as a thousand empty scans
// of a large picture do.
type endingReader struct {
	ctx    context.Context //nolint:containedctx // lives for one call
	reader io.Reader
}

func (r *endingReader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.reader.Read(p)
}
