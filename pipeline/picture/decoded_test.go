package picture_test

import (
	"bytes"
	"compress/zlib"
	"context"
	"encoding/binary"
	"hash/crc32"
	"image"
	"image/color"
	"image/gif"
	"math"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/image/bmp"

	"hsi.home.arpa/internal/nightly"
	"hsi.home.arpa/pipeline/picture"
)

// pngOf makes a PNG of empty pixels.
func pngOf(tb testing.TB, width, height int, depth, colourType byte, interlaced, transparent bool) []byte {
	tb.Helper()
	samples := map[byte]int{0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colourType]
	header := binary.BigEndian.AppendUint32(nil, uint32(width))
	header = binary.BigEndian.AppendUint32(header, uint32(height))
	header = append(header, depth, colourType, 0, 0, 0)
	var pixels bytes.Buffer
	compressed := zlib.NewWriter(&pixels)
	passes := [][4]int{{0, 0, 1, 1}} // first column, first row, columns apart, rows apart
	if interlaced {
		header[12] = 1
		passes = [][4]int{{0, 0, 8, 8}, {4, 0, 8, 8}, {0, 4, 4, 8}, {2, 0, 4, 4}, {0, 2, 2, 4}, {1, 0, 2, 2}, {0, 1, 1, 2}}
	}
	for _, pass := range passes {
		columns, rows := (width-pass[0]+pass[2]-1)/pass[2], (height-pass[1]+pass[3]-1)/pass[3]
		row := make([]byte, 1+(samples*int(depth)*columns+7)/8)
		for range rows {
			_, err := compressed.Write(row)
			require.NoError(tb, err)
		}
	}
	require.NoError(tb, compressed.Close())
	file := []byte("\x89PNG\r\n\x1a\n")
	chunk := func(kind string, data []byte) {
		file = binary.BigEndian.AppendUint32(file, uint32(len(data)))
		named := append([]byte(kind), data...)
		file = append(file, named...)
		file = binary.BigEndian.AppendUint32(file, crc32.ChecksumIEEE(named))
	}
	chunk("IHDR", header)
	if colourType == 3 {
		chunk("PLTE", make([]byte, 3))
	}
	if transparent {
		chunk("tRNS", make([]byte, 2*samples))
	}
	chunk("IDAT", pixels.Bytes())
	chunk("IEND", nil)
	return file
}

// jpegOf makes a JPEG of empty samples. Each sampling is one component.
func jpegOf(width, height int, progressive bool, ids string, samplings ...byte) []byte {
	var file []byte
	segment := func(marker byte, data ...byte) {
		file = append(file, 0xff, marker)
		file = binary.BigEndian.AppendUint16(file, uint16(len(data)+2))
		file = append(file, data...)
	}
	file = append(file, 0xff, 0xd8)
	segment(0xdb, append([]byte{0}, bytes.Repeat([]byte{1}, 64)...)...)
	frame := []byte{8, byte(height >> 8), byte(height), byte(width >> 8), byte(width), byte(len(samplings))}
	scan := []byte{byte(len(samplings))}
	for i, sampling := range samplings {
		frame = append(frame, ids[i], sampling, 0)
		scan = append(scan, ids[i], 0)
	}
	marker, last := byte(0xc0), byte(63)
	if progressive {
		marker, last = 0xc2, 0
	}
	segment(marker, frame...)
	// One code of one bit: no difference, and the end of a block.
	segment(0xc4, slices.Concat([]byte{0x00, 1}, make([]byte, 15), []byte{0})...)
	segment(0xc4, slices.Concat([]byte{0x10, 1}, make([]byte, 15), []byte{0})...)
	if ids == "CMYK" {
		segment(0xee, []byte("Adobe\x00\x64\x00\x00\x00\x00\x00")...)
	}
	segment(0xda, append(scan, 0, last, 0)...)
	blocks := (width/8 + 8) * (height/8 + 8) * len(samplings)
	file = append(file, make([]byte, blocks/4+64)...)
	return append(file, 0xff, 0xd9)
}

// webpOf makes a lossy WebP of gray.
func webpOf(width, height int) []byte {
	const partition = 4096 // zeros, which are as many bits that say no as anybody asks for
	blocks := ((width + 15) / 16) * ((height + 15) / 16)
	first := blocks*4 + partition
	frame := []byte{byte(first<<5) | 0x10, byte(first >> 3), byte(first >> 11), 0x9d, 0x01, 0x2a}
	frame = binary.LittleEndian.AppendUint16(frame, uint16(width))
	frame = binary.LittleEndian.AppendUint16(frame, uint16(height))
	frame = append(frame, make([]byte, first+blocks*4+partition)...)
	return riff("VP8 ", frame)
}

func riff(kind string, data []byte) []byte {
	if len(data)%2 == 1 {
		data = append(data, 0)
	}
	file := append([]byte("RIFF"), binary.LittleEndian.AppendUint32(nil, uint32(len(data)+12))...)
	file = append(file, "WEBP"+kind...)
	file = binary.LittleEndian.AppendUint32(file, uint32(len(data)))
	return append(file, data...)
}

// bits writes numbers bit by bit, the lowest bit first.
type bits struct {
	data []byte
	used int
}

func (b *bits) put(value uint64, count int) {
	for range count {
		if b.used%8 == 0 {
			b.data = append(b.data, 0)
		}
		b.data[b.used/8] |= byte(value&1) << (b.used % 8)
		b.used++
		value >>= 1
	}
}

// simple writes a Huffman tree of one symbol, which takes no bits.
func (b *bits) simple(symbol byte) {
	b.put(1, 1)
	b.put(0, 1)
	b.put(1, 1)
	b.put(uint64(symbol), 8)
}

// full writes a Huffman tree of 1<<length symbols, between others that are not used.
func (b *bits) full(before, length, after int) {
	const repeat, fewZeros, manyZeros = 16, 17, 18
	b.put(0, 1)
	// The length of each symbol is told in a code of two bits: a length, its repetition, and two
	// repetitions of zero.
	order := []int{17, 18, 0, 1, 2, 3, 4, 5, 16, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}
	b.put(uint64(len(order)-4), 4)
	used := []int{length, repeat, fewZeros, manyZeros}
	for _, symbol := range order {
		if slices.Contains(used, symbol) {
			b.put(2, 3)
		} else {
			b.put(0, 3)
		}
	}
	b.put(0, 1) // all symbols have one
	put := func(symbol int) { b.code(uint64(slices.Index(used, symbol)), 2) }
	zeros := func(left int) {
		for left > 0 {
			if n := min(138, left); n >= 11 {
				put(manyZeros)
				b.put(uint64(n-11), 7)
				left -= n
			} else {
				put(fewZeros)
				b.put(uint64(n-3), 3)
				left -= n
			}
		}
	}
	zeros(before)
	put(length)
	for left := 1<<length - 1; left > 0; {
		if n := min(6, left); n >= 3 {
			put(repeat)
			b.put(uint64(n-3), 2)
			left -= n
		} else {
			put(length)
			left--
		}
	}
	zeros(after)
}

// code writes a Huffman code, the highest bit first.
func (b *bits) code(code uint64, count int) {
	for i := count - 1; i >= 0; i-- {
		b.put(code>>i&1, 1)
	}
}

// losslessOf makes a lossless WebP whose pixels are coded with as many groups of the largest
// Huffman trees as there may be.
func losslessOf(width, height, groups int) []byte {
	var b bits
	b.put(0x2f, 8)
	b.put(uint64(width-1), 14)
	b.put(uint64(height-1), 14)
	b.put(0, 1+3)
	b.put(0, 1) // no transform
	b.put(1, 1) // colour cache of 2,048 colours
	b.put(11, 4)
	b.put(1, 1) // groups, for tiles of 4 × 4 pixels
	b.put(0, 3)
	// The picture of group numbers: no cache; red and green are written as they are, so that each
	// number occurs.
	b.put(0, 1)
	b.full(0, 8, 24)
	b.full(0, 8, 0)
	b.simple(0)
	b.simple(255)
	b.simple(0)
	for tile := range (width + 3) / 4 * ((height + 3) / 4) {
		number := uint64(tile % groups)
		b.code(number&255, 8) // green
		b.code(number>>8, 8)  // red
	}
	for range groups {
		b.full(280, 11, 0)
		b.full(0, 8, 0)
		b.full(0, 8, 0)
		b.full(0, 8, 0)
		b.full(8, 5, 0)
	}
	b.data = append(b.data, make([]byte, width*height*2)...)
	return riff("VP8L", b.data)
}

// gifOf makes a GIF, interlaced.
func gifOf(tb testing.TB, width, height int) []byte {
	tb.Helper()
	var file bytes.Buffer
	require.NoError(tb, gif.Encode(&file, image.NewPaletted(image.Rect(0, 0, width, height), color.Palette{color.Black, color.White}), nil))
	data := file.Bytes()
	at := bytes.IndexByte(data[13:], ',') + 13 // the descriptor of the frame
	data[at+9] |= 0x40
	return data
}

func bmpOf(tb testing.TB, img image.Image) []byte {
	tb.Helper()
	var file bytes.Buffer
	require.NoError(tb, bmp.Encode(&file, img))
	return file.Bytes()
}

// allocated returns how many bytes f allocates, which is more than it ever holds at once. Nothing
// else may run.
func allocated(f func()) int64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return int64(after.TotalAlloc - before.TotalAlloc)
}

// The largest pictures that are accepted, of each kind: what decoding them allocates is no more
// than their headers say.
//
//nolint:paralleltest // measures the memory of the process
func TestDecode_NeedsNoMoreThanTheHeaderSays(t *testing.T) {
	const limit = 8 << 20
	// side is that of the largest square with so many bytes for each pixel.
	side := func(pixelBytes float64) int { return int(math.Sqrt(0.95*limit/pixelBytes)) &^ 31 }
	pngSquare := func(pixelBytes float64, depth, colourType byte, interlaced, transparent bool) []byte {
		return pngOf(t, side(pixelBytes), side(pixelBytes), depth, colourType, interlaced, transparent)
	}
	jpegSquare := func(pixelBytes float64, progressive bool, ids string, samplings ...byte) []byte {
		return jpegOf(side(pixelBytes), side(pixelBytes), progressive, ids, samplings...)
	}
	pictures := map[string][]byte{
		"png of 16 bits":                  pngSquare(8, 16, 6, false, false),
		"png of 16 bits, interlaced":      pngSquare(16, 16, 6, true, false),
		"png, gray, 16 bits, transparent": pngSquare(8, 16, 0, false, true),
		"png, gray, transparent":          pngSquare(8, 8, 0, true, true),
		"png, colours":                    pngSquare(4, 8, 2, false, false),
		"png, colours, interlaced":        pngSquare(8, 8, 2, true, true),
		"png, indexed, 1 bit":             pngSquare(1, 1, 3, false, false),
		"png of one row":                  pngOf(t, limit/25, 1, 16, 6, false, false),
		"png of one row, interlaced":      pngOf(t, limit/68, 1, 16, 6, true, false),
		"jpeg 4:4:4":                      jpegSquare(3, false, "123", 0x11, 0x11, 0x11),
		"jpeg 4:4:4, by stages":           jpegSquare(15, true, "123", 0x11, 0x11, 0x11),
		"jpeg 4:2:0":                      jpegSquare(1.5, false, "123", 0x22, 0x11, 0x11),
		"jpeg 4:2:0, by stages":           jpegSquare(7.5, true, "123", 0x22, 0x11, 0x11),
		"jpeg 4:1:0, by stages":           jpegSquare(6.25, true, "123", 0x42, 0x11, 0x11),
		"jpeg, gray":                      jpegSquare(1, false, "1", 0x22),
		"jpeg, gray, by stages":           jpegSquare(5, true, "1", 0x11),
		"jpeg, red green blue":            jpegSquare(7, false, "RGB", 0x11, 0x11, 0x11),
		"jpeg, four colours":              jpegSquare(8, false, "CMYK", 0x11, 0x11, 0x11, 0x11),
		"jpeg, four colours, by stages":   jpegSquare(24, true, "CMYK", 0x11, 0x11, 0x11, 0x11),
		"gif, interlaced":                 gifOf(t, side(2), side(2)),
		"bmp":                             bmpOf(t, image.NewRGBA(image.Rect(0, 0, side(4), side(4)))),
		"bmp, gray":                       bmpOf(t, image.NewGray(image.Rect(0, 0, side(1), side(1)))),
		"webp":                            webpOf(side(1.7), side(1.7)),
	}
	for name, data := range pictures {
		header, used := measure(t, name, data, picture.Limits{MaxDecodedBytes: limit})
		require.LessOrEqual(t, used, header, name)
		require.Greater(t, header, int64(limit*3/4), "%s is not the largest", name)
	}
	narrow := jpegOf(1, 65535, false, "123", 0x22, 0x11, 0x11)
	header, used := measure(t, "jpeg, narrow", narrow, picture.Limits{})
	require.LessOrEqual(t, used, header)
	// The largest that is accepted, or a sixteenth of it.
	square := nightly.Pick(3610/4, 3610)
	largest := pngOf(t, square, square, 16, 6, true, false)
	header, used = measure(t, "png of 16 bits, interlaced", largest, picture.Limits{})
	require.LessOrEqual(t, used, header)
	require.Greater(t, header, int64(nightly.Pick(205_000_000/17, 205_000_000)))
	// Nearly as much as the pixels of the largest picture, for as many Huffman trees as may be.
	// What is thrown away while they are built, lengths and codes, is not held.
	trees := nightly.Pick(260, 2600)
	built := int64(trees) * 2 * 4 * (256 + 24 + 2048 + 3*256 + 40)
	header, used = measure(t, "webp without loss", losslessOf(400, 420, trees), picture.Limits{})
	require.LessOrEqual(t, used-built, header)
	require.Greater(t, used-built, int64(nightly.Pick(10_000_000, 100_000_000)))
}

// measure returns how many bytes the header says that decoding takes, and how many it took.
func measure(t *testing.T, name string, data []byte, limits picture.Limits) (header, used int64) {
	t.Helper()
	info, err := verify(data, limits)
	require.NoError(t, err, name)
	var decoded *picture.Decoded
	used = allocated(func() { decoded, err = picture.Decode(t.Context(), data, limits, nil) })
	require.NoError(t, err, name)
	require.Equal(t, image.Pt(info.Width, info.Height), decoded.Image.Bounds().Size(), name)
	t.Logf("%-31s %6d × %-5d header says %5.1f MB, decoder took %5.1f MB", name, info.Width, info.Height, megabytes(info.DecodedBytes), megabytes(used))
	return info.DecodedBytes, used
}

func megabytes(bytes int64) float64 { return float64(bytes) / 1e6 }

func TestVerify_RefusesWhatNeedsTooMuchMemory(t *testing.T) {
	t.Parallel()
	const limit = 4 << 20
	tests := map[string]func(side int) []byte{
		"png of 16 bits":               func(side int) []byte { return pngOf(t, side, side, 16, 6, false, false) },
		"png of 16 bits, interlaced":   func(side int) []byte { return pngOf(t, side, side, 16, 6, true, false) },
		"png of one row":               func(side int) []byte { return pngOf(t, side*side, 1, 16, 6, false, false) },
		"jpeg, by stages":              func(side int) []byte { return jpegOf(side, side, true, "123", 0x22, 0x11, 0x11) },
		"jpeg, red green blue":         func(side int) []byte { return jpegOf(side, side, false, "RGB", 0x11, 0x11, 0x11) },
		"jpeg, four colours":           func(side int) []byte { return jpegOf(side, side, false, "CMYK", 0x11, 0x11, 0x11, 0x11) },
		"webp with many kinds of code": func(side int) []byte { return losslessOf(side, side, 60) },
	}
	for name, of := range tests {
		_, err := verify(of(16), picture.Limits{MaxDecodedBytes: limit})
		require.NoError(t, err, name)
		_, err = verify(of(1000), picture.Limits{MaxDecodedBytes: limit, MaxBytes: 1 << 30})
		require.ErrorIs(t, err, picture.ErrTooMuchMemory, name)
	}
	huge := pngOf(t, 8, 8, 16, 6, true, false)
	copy(huge[16:24], "\x7f\xff\xff\xff\x7f\xff\xff\xff")
	_, err := verify(huge, picture.Limits{MaxPixels: math.MaxInt64})
	require.ErrorIs(t, err, picture.ErrTooMuchMemory, "nothing overflows")
}

// A JPEG must not show the check another header than the decoder sees.
func TestVerify_AJPEGHasOneHeader(t *testing.T) {
	t.Parallel()
	large, small := jpegOf(4000, 4000, true, "123", 0x11, 0x11, 0x11), jpegOf(8, 8, false, "1", 0x11)
	frame := bytes.Index(large, []byte{0xff, 0xc2})
	hidden := large[frame : frame+19]
	for _, marker := range []byte{0x00, 0xd0, 0xd7, 0xd8} {
		// Decoders skip these two bytes. Read as a segment, it has the length of what follows and
		// hides that.
		data := slices.Concat(small[:2], []byte{0xff, marker}, hidden, small[2:])
		_, err := verify(data, picture.Limits{})
		require.ErrorIs(t, err, picture.ErrNotAnImage, "marker %x", marker)
	}
}

func TestDecode_RefusesAJPEGThatChangesItsColoursLate(t *testing.T) {
	t.Parallel()
	data := jpegOf(64, 64, false, "123", 0x11, 0x11, 0x11)
	adobe := []byte("\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00\x00")
	comment := []byte("\xff\xfe\x00\x06\xff\xd9\xff\xd9") // looks like the end
	end := len(data) - 2
	late := slices.Concat(data[:end], comment, adobe, data[end:])
	_, err := picture.Decode(t.Context(), late, picture.Limits{}, nil)
	require.ErrorIs(t, err, picture.ErrNotAnImage)

	for name, data := range map[string][]byte{
		"a comment":                         slices.Concat(data[:end], comment, data[end:]),
		"a second picture":                  slices.Concat(data, adobe),
		"an end that is cut, after the end": slices.Concat(data, []byte{0xff}),
	} {
		_, err = picture.Decode(t.Context(), data, picture.Limits{}, nil)
		require.NoError(t, err, name)
	}
}

func TestDecode_WaitsForMemory(t *testing.T) {
	t.Parallel()
	data := pngOf(t, 200, 200, 8, 6, false, false)
	info, err := verify(data, picture.Limits{})
	require.NoError(t, err)
	memory := picture.NewMemory(2*info.DecodedBytes + info.DecodedBytes/2)
	decode := func(ctx context.Context) (*picture.Decoded, error) {
		return picture.Decode(ctx, data, picture.Limits{}, memory)
	}
	patient, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	first, err := decode(patient)
	require.NoError(t, err)
	second, err := decode(patient)
	require.NoError(t, err)

	full, cancelFull := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancelFull()
	_, err = decode(full)
	require.ErrorIs(t, err, context.DeadlineExceeded)

	third := make(chan error, 1)
	go func() {
		_, err := decode(patient)
		third <- err
	}()
	first.Release()
	first.Release() // once only
	require.NoError(t, <-third)
	_, err = decode(full)
	require.ErrorIs(t, err, context.DeadlineExceeded, "full again")

	broken := bytes.Clone(data)
	broken[60] ^= 0xff
	second.Release()
	for range 10 { // what fails gives its memory back
		_, err = picture.Decode(patient, broken, picture.Limits{}, memory)
		require.Error(t, err)
		require.NotErrorIs(t, err, context.DeadlineExceeded)
	}
	_, err = picture.Decode(t.Context(), pngOf(t, 100, 100, 8, 6, false, false), picture.Limits{}, picture.NewMemory(1000))
	require.NoError(t, err, "what is larger than all memory is decoded alone")
}

// A few bytes may ask for much work: here thousands of scans of a picture, in a file of a few
// hundred kilobytes.
func TestDecode_EndsWithItsContext(t *testing.T) {
	t.Parallel()
	data := jpegOf(1000, 1000, true, "123", 0x11, 0x11, 0x11)
	endOfBlocks := slices.Concat([]byte{0xff, 0xc4, 0x00, 0x14, 0x11, 1}, make([]byte, 15), []byte{0xe0}) // of 16,384 blocks
	scan := []byte{0xff, 0xda, 0x00, 0x08, 1, '1', 0x01, 1, 1, 0, 0, 0}
	data = slices.Concat(data[:len(data)-2], endOfBlocks, bytes.Repeat(scan, 30_000), data[len(data)-2:])
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err := picture.Decode(ctx, data, picture.Limits{}, nil)
	require.ErrorIs(t, err, context.DeadlineExceeded)
}
