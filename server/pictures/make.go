package pictures

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"image"
	"io"
	"runtime/debug"
	"strings"

	"hsi.home.arpa/pipeline/picture"
	"hsi.home.arpa/store"
)

// fromOriginal makes a picture with the box of the detection. Of a video there is the thumbnail
// alone.
func (s *Service) fromOriginal(ctx context.Context, row *store.Picture, width int) (*blob, error) {
	found, err := s.original(ctx, row)
	if err != nil {
		return nil, err
	}
	if strings.HasPrefix(found.MediaType, "video/") {
		_ = found.Close() // only read
		if row.ThumbnailPath == nil || *row.ThumbnailPath == "" {
			return nil, ErrNone
		}
		return s.thumbnail(ctx, row)
	}
	return s.smaller(ctx, row, found, width, boxOf(row))
}

// smaller closes an original and makes a picture of it, at most width pixels wide.
func (s *Service) smaller(
	ctx context.Context, row *store.Picture, found *original, width int, boxes []image.Rectangle,
) (*blob, error) {
	size, etag := found.info.Size(), found.ETag
	_ = found.Close() // whoever waits for its turn holds no file open
	key := fmt.Sprint(etag, " ", width, " ", boxes)
	return s.make(ctx, key, func(ctx context.Context) ([]byte, error) {
		data, err := s.read(ctx, row, size)
		if err != nil {
			return nil, err
		}
		return s.scale(ctx, data, width, boxes)
	})
}

// read reads an original into memory, within the bounds of the pipeline. The bytes decide: a file
// may change and keep its size and time.
func (s *Service) read(ctx context.Context, row *store.Picture, size int64) ([]byte, error) {
	if size > (picture.Limits{}).Bytes() {
		return nil, ErrKind
	}
	found, err := s.original(ctx, row)
	if err != nil {
		return nil, err
	}
	defer func() { _ = found.Close() }() // only read
	data := make([]byte, size)
	switch _, err := io.ReadFull(found.file, data); {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return nil, ErrReplaced
	case err != nil:
		return nil, unreadable(err)
	}
	if sum := sha256.Sum256(data); row.SHA256 != nil && hex.EncodeToString(sum[:]) != *row.SHA256 {
		return nil, ErrReplaced
	}
	return data, nil
}

// boxOf is the box of a detection; none when the row has none.
func boxOf(row *store.Picture) []image.Rectangle {
	if row.BBoxX == nil || row.BBoxY == nil || row.BBoxWidth == nil || row.BBoxHeight == nil {
		return nil
	}
	x, y := *row.BBoxX, *row.BBoxY
	return []image.Rectangle{image.Rect(x, y, x+*row.BBoxWidth, y+*row.BBoxHeight)}
}

// scale decodes a picture and makes a smaller one.
func (s *Service) scale(
	ctx context.Context, data []byte, width int, boxes []image.Rectangle,
) ([]byte, error) {
	decoded, err := picture.Decode(ctx, data, picture.Limits{}, s.memory)
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case errors.Is(err, picture.ErrTruncated):
		return nil, ErrReplaced // it is still being written, or was left half
	case err != nil:
		return nil, ErrKind
	}
	drawn := picture.NewScaled(decoded.Image, width)
	decoded.Release()
	return drawn.Draw(boxes...)
}

// make returns the picture that was made under this key, or makes it: a few at a time, and those
// who ask for the same wait together. One that nobody waits for any more is finished all the same,
// for the next one who asks.
func (s *Service) make(
	ctx context.Context, key string, made func(ctx context.Context) ([]byte, error),
) (*blob, error) {
	if kept, known := s.made.get(key); known {
		return kept, nil
	}
	result := s.flights.DoChan(key, func() (_ any, err error) {
		defer func() {
			// A decoder that trips over its input must not take the process with it.
			if value := recover(); value != nil {
				err = fmt.Errorf("panic while a picture was made: %v\n%s", value, debug.Stack())
			}
		}()
		if !s.queue.TryAcquire(1) {
			return nil, ErrBusy
		}
		defer s.queue.Release(1)
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), makeTimeout)
		defer cancel()
		if err := s.slots.Acquire(ctx, 1); err != nil {
			return nil, fmt.Errorf("wait for a turn: %w", err)
		}
		defer s.slots.Release(1)
		data, err := made(ctx)
		if err != nil {
			return nil, err
		}
		found, err := newBlob(data, false)
		if err == nil {
			s.made.add(key, found)
		}
		return found, err
	})
	select {
	case done := <-result:
		if done.Err != nil {
			return nil, done.Err
		}
		return done.Val.(*blob), nil //nolint:forcetypeassert // it is made above
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
