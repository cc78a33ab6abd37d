package picture

import (
	"bytes"
	"encoding/binary"
	"io"
)

// Markers of JPEG segments.
const (
	markerRST0, markerSOI, markerEOI = 0xd0, 0xd8, 0xd9 // RST0 to RST7, SOI and EOI have no length
	markerSOF2, markerSOS            = 0xc2, 0xda
	markerAPP0, markerAPP14          = 0xe0, 0xee
)

// inspectJPEG walks the segments up to the first scan and then looks for the end marker behind it,
// so that the end marker of an embedded preview does not count.
func inspectJPEG(file io.ReaderAt, size int64) (info Info, complete bool, err error) {
	info.Format = JPEG
	header, scanAt, err := readJPEGHeader(file)
	if err != nil || len(header.frame) == 0 {
		return info, false, err
	}
	info.Height, info.Width = int(binary.BigEndian.Uint16(header.frame[5:7])), int(binary.BigEndian.Uint16(header.frame[7:9]))
	info.DecodedBytes = header.decodedBytes(info.Width, info.Height)
	complete, err = containsAfter(file, scanAt, size, []byte{0xff, markerEOI})
	return info, complete, err
}

// readJPEGHeader reads up to the first scan, and returns where its samples begin.
func readJPEGHeader(file io.ReaderAt) (header jpegHeader, scanAt int64, err error) {
	var segment [4]byte
	for offset := int64(2); ; {
		if err := readFull(file, segment[:], offset); err != nil {
			return header, 0, err
		}
		marker := segment[1]
		if segment[0] != 0xff {
			return header, 0, ErrNotAnImage
		}
		if marker == 0xff { // fill byte
			offset++
			continue
		}
		length := int64(binary.BigEndian.Uint16(segment[2:]))
		if marker == 0 || marker >= markerRST0 && marker <= markerEOI || length < 2 {
			return header, 0, ErrNotAnImage // nothing of that kind has its place here
		}
		if marker == markerSOS {
			return header, offset + 2 + length, nil
		}
		if err := header.read(file, offset, marker, length); err != nil {
			return header, 0, err
		}
		offset += 2 + length
	}
}

// read takes note of a segment that says something about the memory that decoding needs.
func (h *jpegHeader) read(file io.ReaderAt, offset int64, marker byte, length int64) error {
	const frameBytes, appBytes = 10 + 4*3, 16
	switch {
	case isStartOfFrame(marker):
		if length < 8 {
			return ErrNotAnImage
		}
		h.frame = make([]byte, min(2+length, frameBytes))
		h.progressive = marker == markerSOF2
		return readFull(file, h.frame, offset)
	case marker == markerAPP0, marker == markerAPP14:
		app := make([]byte, min(2+length, appBytes))
		if err := readFull(file, app, offset); err != nil {
			return err
		}
		if marker == markerAPP0 && length >= 7 {
			h.jfif = string(app[4:9]) == "JFIF\x00"
		}
		if marker == markerAPP14 && length >= 14 && string(app[4:9]) == "Adobe" {
			h.adobe, h.transform = true, app[15]
		}
	}
	return nil
}

// changesColoursLate tells whether a JPEG says after the start of its first scan that its samples
// are something else than its header says. No camera does, and it would take more memory.
func changesColoursLate(data []byte) bool {
	_, scanAt, err := readJPEGHeader(bytes.NewReader(data))
	for at := scanAt; err == nil && at+4 <= int64(len(data)); {
		skipped := bytes.IndexByte(data[at:], 0xff)
		if skipped < 0 {
			return false
		}
		at += int64(skipped)
		if at+4 > int64(len(data)) {
			return false
		}
		switch marker := data[at+1]; {
		case marker == 0xff:
			at++
		case marker == 0 || marker >= markerRST0 && marker < markerSOI: // a sample, or a point between samples
			at += 2
		case marker == markerEOI: // cameras may append a second picture
			return false
		case marker == markerAPP0 || marker == markerAPP14:
			return true
		default:
			at += 2 + int64(binary.BigEndian.Uint16(data[at+2:]))
		}
	}
	return false
}

// isStartOfFrame tells the markers that carry the picture's size: C0 to CF without C4, C8 and CC,
// which are tables.
func isStartOfFrame(marker byte) bool {
	return marker >= 0xc0 && marker <= 0xcf && marker != 0xc4 && marker != 0xc8 && marker != 0xcc
}

// jpegHeader is what the segments before the first scan say.
type jpegHeader struct {
	frame       []byte // the start-of-frame segment from its marker on
	progressive bool
	jfif, adobe bool
	transform   byte // of the Adobe segment
}

// decodedBytes counts the sample planes, the coefficients that a progressive picture keeps until
// its end, and the second picture that is made when the samples are no YCbCr.
func (h *jpegHeader) decodedBytes(width, height int) int64 {
	const (
		sampleBytes, coefficientBytes = 1, 4
		componentsAt                  = 10 // in the frame segment, 3 bytes each: id, sampling factors, table
	)
	count := (len(h.frame) - componentsAt) / 3
	if count < 1 {
		return 0
	}
	var blocks int64
	first := h.frame[componentsAt+1]
	unitWidth, unitHeight := 8*max(1, int(first>>4)), 8*max(1, int(first&15))
	if count == 1 { // a single component has no sampling
		unitWidth, unitHeight = 8, 8
	}
	units := area((width+unitWidth-1)/unitWidth, (height+unitHeight-1)/unitHeight)
	for i := range count {
		sampling := h.frame[componentsAt+3*i+1]
		if count == 1 {
			sampling = 0x11
		}
		blocks += units * int64(sampling>>4) * int64(sampling&15)
	}
	bytes := blocks * 64 * sampleBytes
	if h.progressive {
		bytes += blocks * 64 * coefficientBytes
	}
	if count == 4 || count == 3 && h.rgb() {
		bytes += 4 * area(width, height)
	}
	return bytes + decoderBytes
}

// rgb tells whether three components are red, green and blue.
func (h *jpegHeader) rgb() bool {
	const componentsAt = 10
	if h.jfif {
		return false
	}
	return h.adobe && h.transform == 0 || h.frame[componentsAt] == 'R' && h.frame[componentsAt+3] == 'G' && h.frame[componentsAt+6] == 'B'
}
