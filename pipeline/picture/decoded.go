package picture

import "math"

// How many bytes the decoders of Go allocate for a picture is said by its header. Each function
// here gives the most that they hold at once; TestDecode_NeedsNoMoreThanTheHeaderSays measures it.

// decoderBytes is what a decoder needs whatever the size: windows, tables, buffers.
const decoderBytes = 256 << 10

// area multiplies without overflow; what is too large for an image is as good as infinite.
func area(width, height int) int64 {
	const infinite = math.MaxInt64 >> 16
	if width <= 0 || height <= 0 {
		return 0
	}
	if int64(width) > infinite/int64(height) {
		return infinite
	}
	return int64(width) * int64(height)
}

// pngDecodedBytes counts the pixels, as with transparency, which only a later chunk tells; all
// again for the passes of an interlaced picture; and two rows for each pass.
func pngDecodedBytes(width, height int, depth, colourType byte, interlaced bool) int64 {
	const (
		palette    = 3
		gray       = 0
		rgb        = 2
		grayAlpha  = 4
		twoSamples = 16 // bits
	)
	var samples, pixelBytes int64
	switch colourType {
	case palette:
		samples, pixelBytes = 1, 1
	case gray:
		samples, pixelBytes = 1, 4
	case grayAlpha:
		samples, pixelBytes = 2, 4
	case rgb:
		samples, pixelBytes = 3, 4
	default:
		samples, pixelBytes = 4, 4
	}
	if depth == twoSamples {
		pixelBytes = 8
	}
	row := 1 + (samples*int64(depth)*int64(width)+7)/8
	if interlaced {
		// The widths of the seven passes add up to less than three rows.
		return 2*pixelBytes*area(width, height) + 2*3*row + decoderBytes
	}
	return pixelBytes*area(width, height) + 2*row + decoderBytes
}

// gifDecodedBytes counts the first frame twice: once more when it is interlaced.
func gifDecodedBytes(width, height int) int64 { return 2*area(width, height) + decoderBytes }

// bmpDecodedBytes counts the pixels and one row.
func bmpDecodedBytes(width, height int, bitsPerPixel uint16) int64 {
	pixelBytes, rowBytes := int64(4), int64(3)
	if bitsPerPixel <= 8 {
		pixelBytes, rowBytes = 1, 1
	}
	return pixelBytes*area(width, height) + rowBytes*int64(width) + decoderBytes
}

// webpDecodedBytes counts what the kind of the first chunk, "VP8 ", "VP8L" or "VP8X", may lead to.
func webpDecodedBytes(width, height int, kind string, fileBytes int64) int64 {
	blocks := area((width+15)/16, (height+15)/16)
	lossy := blocks*(16*16*3/2+32) + int64(width)*4 + fileBytes // planes, filters, the row above; partitions are read whole
	lossless := vp8lDecodedBytes(width, height, fileBytes)
	switch kind {
	case "VP8 ":
		return lossy + decoderBytes
	case "VP8L":
		return lossless + decoderBytes
	}
	alpha := area(width, height) + lossless // an alpha plane is a lossless picture that is copied
	return lossy + alpha + decoderBytes
}

// vp8lDecodedBytes counts the pixels, the packed pixels that an indexed picture is unpacked from,
// the three coarse pictures of its transforms, and the groups of Huffman trees. How many groups
// there are, and how large, is not in the header; each has at least one tile of four by four
// pixels, and each tree needs bits in the file.
func vp8lDecodedBytes(width, height int, fileBytes int64) int64 {
	const (
		maxGroups      = 2600 // more are refused by the decoder
		treeBytes      = 24 + 4<<7
		groupTrees     = 5
		groupNodes     = 16 * (256 + 24 + 1<<11 + 3*256 + 40) // of its five trees at their largest
		nodesForByte   = 256                                  // a run of 6 symbols, of 16 bytes each, takes 3 bits
		buildingBytes  = 64 << 10                             // one tree under construction
		coarsePictures = 3
	)
	tiles := area((width+3)/4, (height+3)/4)
	groups := min(maxGroups, tiles) + 1 + coarsePictures
	trees := groups*groupTrees*treeBytes + min(groups*groupNodes, nodesForByte*fileBytes)
	return 6*area(width, height) + coarsePictures*4*tiles + trees + buildingBytes
}
