package picture

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// headBytes is how much of a file is looked at to tell its format.
const headBytes = 32

// errShort is returned when a read goes past the end of the file.
var errShort = errors.New("read past the end")

// Verify checks that a file of size bytes is an image of a known format, has its end marker and
// keeps the limits. It reads the header and the tail, not the whole file, and decodes no pixels.
// The error is one of the sentinels of this package, or an error of the reader.
func Verify(file io.ReaderAt, size int64, limits Limits) (Info, error) {
	limits = limits.withDefaults()
	switch {
	case size == 0:
		return Info{}, ErrEmpty
	case size > limits.MaxBytes:
		return Info{}, ErrTooLarge
	}
	head := make([]byte, min(headBytes, size))
	if err := readFull(file, head, 0); err != nil {
		return Info{}, err
	}
	info, complete, err := inspect(file, size, head)
	if errors.Is(err, errShort) {
		return Info{}, ErrTruncated
	}
	if err != nil {
		return Info{}, err
	}
	// The pixel count comes first: a bomb needs no end marker to be one.
	if info.Width > 0 && info.Height > 0 && int64(info.Width) > limits.MaxPixels/int64(info.Height) {
		return Info{}, ErrTooManyPixels
	}
	if info.DecodedBytes > limits.MaxDecodedBytes {
		return Info{}, ErrTooMuchMemory
	}
	if !complete {
		return Info{}, ErrTruncated
	}
	if info.Width <= 0 || info.Height <= 0 {
		return Info{}, ErrNotAnImage
	}
	return info, nil
}

// VerifyBytes is Verify for a file that is in memory.
func VerifyBytes(data []byte, limits Limits) (Info, error) {
	return Verify(bytes.NewReader(data), int64(len(data)), limits)
}

// inspect reads the header of whichever format the first bytes announce, and tells whether the end
// marker is there.
func inspect(file io.ReaderAt, size int64, head []byte) (info Info, complete bool, err error) {
	switch {
	case hasMagic(head, "\xff\xd8\xff"):
		return inspectJPEG(file, size)
	case hasMagic(head, "\x89PNG\r\n\x1a\n"):
		return inspectPNG(file, size, head)
	case hasMagic(head, "GIF87a"), hasMagic(head, "GIF89a"):
		return inspectGIF(file, size, head)
	case hasMagic(head, "RIFF") && (len(head) < 12 || string(head[8:12]) == "WEBP"):
		return inspectWebP(size, head)
	case hasMagic(head, "BM"):
		return inspectBMP(size, head)
	}
	return Info{}, false, ErrNotAnImage
}

// hasMagic tells whether head starts with magic, or is a shorter file that may still become so.
func hasMagic(head []byte, magic string) bool {
	n := min(len(head), len(magic))
	return string(head[:n]) == magic[:n]
}

func inspectPNG(file io.ReaderAt, size int64, head []byte) (info Info, complete bool, err error) {
	info.Format = PNG
	if len(head) < 29 {
		return info, false, nil
	}
	if string(head[12:16]) != "IHDR" {
		return info, false, ErrNotAnImage
	}
	width, height := binary.BigEndian.Uint32(head[16:20]), binary.BigEndian.Uint32(head[20:24])
	if width > 1<<31-1 || height > 1<<31-1 {
		return info, false, ErrNotAnImage
	}
	info.Width, info.Height = int(width), int(height)
	info.DecodedBytes = pngDecodedBytes(info.Width, info.Height, head[24], head[25], head[28] != 0)
	const tail = 64 << 10 // cameras may append a little
	complete, err = containsAfter(file, max(29, size-tail), size, []byte("\x00\x00\x00\x00IEND\xae\x42\x60\x82"))
	return info, complete, err
}

func inspectGIF(file io.ReaderAt, size int64, head []byte) (info Info, complete bool, err error) {
	info.Format = GIF
	if len(head) < 10 {
		return info, false, nil
	}
	info.Width = int(binary.LittleEndian.Uint16(head[6:8]))
	info.Height = int(binary.LittleEndian.Uint16(head[8:10]))
	info.DecodedBytes = gifDecodedBytes(info.Width, info.Height)
	tail := make([]byte, min(512, size))
	if err := readFull(file, tail, size-int64(len(tail))); err != nil {
		return info, false, err
	}
	tail = bytes.TrimRight(tail, "\x00")
	return info, len(tail) > 0 && tail[len(tail)-1] == 0x3b, nil
}

func inspectWebP(size int64, head []byte) (info Info, complete bool, err error) {
	info.Format = WebP
	if len(head) < 30 {
		return info, false, nil
	}
	kind := string(head[12:16])
	switch kind {
	case "VP8X":
		info.Width = 1 + int(head[24]) + int(head[25])<<8 + int(head[26])<<16
		info.Height = 1 + int(head[27]) + int(head[28])<<8 + int(head[29])<<16
	case "VP8 ":
		info.Width = int(binary.LittleEndian.Uint16(head[26:28]) & 0x3fff)
		info.Height = int(binary.LittleEndian.Uint16(head[28:30]) & 0x3fff)
	case "VP8L":
		bits := binary.LittleEndian.Uint32(head[21:25])
		info.Width, info.Height = 1+int(bits&0x3fff), 1+int(bits>>14&0x3fff)
	default:
		return info, false, ErrNotAnImage
	}
	info.DecodedBytes = webpDecodedBytes(info.Width, info.Height, kind, size)
	return info, size >= 8+int64(binary.LittleEndian.Uint32(head[4:8])), nil
}

func inspectBMP(size int64, head []byte) (info Info, complete bool, err error) {
	info.Format = BMP
	if len(head) < 30 {
		return info, false, nil
	}
	if header := binary.LittleEndian.Uint32(head[14:18]); header < 40 || header > 256 {
		return info, false, ErrNotAnImage
	}
	// Both are signed; a negative height means rows from top to bottom.
	width := int64(int32(binary.LittleEndian.Uint32(head[18:22])))  //nolint:gosec // the field is signed
	height := int64(int32(binary.LittleEndian.Uint32(head[22:26]))) //nolint:gosec // the field is signed
	if height < 0 {
		height = -height
	}
	if width <= 0 {
		return info, false, ErrNotAnImage
	}
	info.Width, info.Height = int(width), int(height)
	info.DecodedBytes = bmpDecodedBytes(info.Width, info.Height, binary.LittleEndian.Uint16(head[28:30]))
	return info, size >= int64(binary.LittleEndian.Uint32(head[2:6])), nil
}

// containsAfter tells whether the file has the marker at or after offset. It searches from the end,
// where the marker is expected.
func containsAfter(file io.ReaderAt, offset, size int64, marker []byte) (bool, error) {
	const block = 32 << 10
	buffer := make([]byte, block+len(marker)-1)
	for end := size; end > offset; end -= block {
		start := max(offset, end-block)
		// Read over the end of the block, so that a marker across two blocks is found.
		n := min(size, end+int64(len(marker))-1) - start
		if err := readFull(file, buffer[:n], start); err != nil {
			return false, err
		}
		if bytes.Contains(buffer[:n], marker) {
			return true, nil
		}
	}
	return false, nil
}

// readFull fills buffer from offset. Its error is errShort when the file ends before.
func readFull(file io.ReaderAt, buffer []byte, offset int64) error {
	n, err := file.ReadAt(buffer, offset)
	if n == len(buffer) {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		return errShort
	}
	return fmt.Errorf("read image: %w", err)
}
