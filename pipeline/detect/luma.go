package detect

import (
	"image"

	"golang.org/x/image/draw"
)

// gridSide is the larger side of the grid that the motion detector looks at, in cells.
const gridSide = 128

// grid is the brightness of an image in coarse cells, row by row, each the mean of the pixels that
// it covers (0 to 255).
type grid struct {
	cols, rows int
	cells      []float32
}

// gridSize returns the grid for an image of that size: no side above gridSide, proportions kept,
// never finer than the pixels.
func gridSize(width, height int) (cols, rows int) {
	longest := max(width, height)
	if longest <= gridSide {
		return width, height
	}
	return max(1, width*gridSide/longest), max(1, height*gridSide/longest)
}

// newGrid measures an image. Means over whole cells are what takes sensor and compression noise
// out.
func newGrid(img image.Image) grid {
	pixels, stride, bounds := lumaPlane(img)
	width, height := bounds.Dx(), bounds.Dy()
	cols, rows := gridSize(width, height)
	g := grid{cols: cols, rows: rows, cells: make([]float32, cols*rows)}
	sums := make([]uint32, width) // of the pixels of one row of cells, for each column of pixels
	for row := range rows {
		top, bottom := row*height/rows, (row+1)*height/rows
		clear(sums)
		for y := top; y < bottom; y++ {
			addLine(sums, pixels[y*stride:])
		}
		for col := range cols {
			left, right := col*width/cols, (col+1)*width/cols
			var sum uint32
			for _, value := range sums[left:right] {
				sum += value
			}
			g.cells[row*cols+col] = float32(sum) / float32((bottom-top)*(right-left))
		}
	}
	return g
}

// addLine adds a line of pixels to sums, which is as long as the line.
func addLine(sums []uint32, line []uint8) {
	line = line[:len(sums)]
	for x := range sums {
		sums[x] += uint32(line[x])
	}
}

// lumaPlane returns the brightness of each pixel, without copying where the image already has it.
func lumaPlane(img image.Image) (pixels []uint8, stride int, bounds image.Rectangle) {
	bounds = img.Bounds()
	switch img := img.(type) {
	case *image.YCbCr:
		return img.Y[img.YOffset(bounds.Min.X, bounds.Min.Y):], img.YStride, bounds
	case *image.Gray:
		return img.Pix[img.PixOffset(bounds.Min.X, bounds.Min.Y):], img.Stride, bounds
	}
	gray := image.NewGray(image.Rect(0, 0, bounds.Dx(), bounds.Dy()))
	draw.Draw(gray, gray.Bounds(), img, bounds.Min, draw.Src)
	return gray.Pix, gray.Stride, bounds
}
