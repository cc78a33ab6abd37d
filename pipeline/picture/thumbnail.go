package picture

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"

	"golang.org/x/image/draw"
)

// Size of a thumbnail in pixels.
const (
	ThumbnailWidth  = 320
	ThumbnailHeight = 240
)

const (
	thumbnailQuality = 85
	lineWidth        = 2 // of a box, in pixels of the thumbnail
)

// Thumbnails draws thumbnails of one image. It scales the image once, however many thumbnails
// follow.
type Thumbnails struct {
	scaled *image.RGBA
	source image.Rectangle
	target image.Rectangle // where the image lies inside the thumbnail
}

// NewThumbnails scales img into a thumbnail, keeping its proportions; what is left over stays
// black.
func NewThumbnails(img image.Image) *Thumbnails {
	source := img.Bounds()
	target := letterbox(source.Dx(), source.Dy())
	scaled := image.NewRGBA(image.Rect(0, 0, ThumbnailWidth, ThumbnailHeight))
	draw.Draw(scaled, scaled.Bounds(), image.Black, image.Point{}, draw.Src)
	draw.ApproxBiLinear.Scale(scaled, target, img, source, draw.Src, nil)
	return &Thumbnails{scaled: scaled, source: source, target: target}
}

// Draw returns a JPEG with the given boxes, which are in pixels of the original image. Boxes
// outside the image are clipped.
func (t *Thumbnails) Draw(boxes ...image.Rectangle) ([]byte, error) {
	canvas := image.NewRGBA(t.scaled.Bounds())
	copy(canvas.Pix, t.scaled.Pix)
	red := image.NewUniform(color.RGBA{R: 0xef, G: 0x44, B: 0x44, A: 0xff})
	for _, box := range boxes {
		box = t.place(box)
		if box.Empty() {
			continue
		}
		for _, side := range [...]image.Rectangle{
			{Min: box.Min, Max: image.Pt(box.Max.X, box.Min.Y+lineWidth)},
			{Min: image.Pt(box.Min.X, box.Max.Y-lineWidth), Max: box.Max},
			{Min: box.Min, Max: image.Pt(box.Min.X+lineWidth, box.Max.Y)},
			{Min: image.Pt(box.Max.X-lineWidth, box.Min.Y), Max: box.Max},
		} {
			draw.Draw(canvas, side.Intersect(t.target), red, image.Point{}, draw.Src)
		}
	}
	var buffer bytes.Buffer
	if err := jpeg.Encode(&buffer, canvas, &jpeg.Options{Quality: thumbnailQuality}); err != nil {
		return nil, fmt.Errorf("encode thumbnail: %w", err)
	}
	return buffer.Bytes(), nil
}

// place maps a box of the original image into the thumbnail; it stays at least as large as its
// lines are wide.
func (t *Thumbnails) place(box image.Rectangle) image.Rectangle {
	box = box.Add(t.source.Min).Intersect(t.source)
	if box.Empty() {
		return image.Rectangle{}
	}
	box = box.Sub(t.source.Min)
	scaleX := float64(t.target.Dx()) / float64(t.source.Dx())
	scaleY := float64(t.target.Dy()) / float64(t.source.Dy())
	placed := image.Rect(
		int(float64(box.Min.X)*scaleX), int(float64(box.Min.Y)*scaleY),
		int(float64(box.Max.X)*scaleX+0.5), int(float64(box.Max.Y)*scaleY+0.5),
	)
	placed.Max.X = max(placed.Max.X, placed.Min.X+lineWidth)
	placed.Max.Y = max(placed.Max.Y, placed.Min.Y+lineWidth)
	return placed.Add(t.target.Min)
}

// letterbox returns where an image of that size lies inside a thumbnail, centred and at least one
// pixel wide and high.
func letterbox(width, height int) image.Rectangle {
	scaledWidth, scaledHeight := ThumbnailWidth, max(1, height*ThumbnailWidth/width)
	if scaledHeight > ThumbnailHeight {
		scaledWidth, scaledHeight = max(1, width*ThumbnailHeight/height), ThumbnailHeight
	}
	x, y := (ThumbnailWidth-scaledWidth)/2, (ThumbnailHeight-scaledHeight)/2
	return image.Rect(x, y, x+scaledWidth, y+scaledHeight)
}

// NewScaled scales img down to a width of at most maxWidth pixels, without bars around it. What is
// narrower keeps its size. A picture more than twice as high as it is wide gets narrower still, so
// that the result is bounded.
func NewScaled(img image.Image, maxWidth int) *Thumbnails {
	source := img.Bounds()
	width := min(maxWidth, source.Dx())
	height := source.Dy() * width / source.Dx()
	if most := 2 * maxWidth; height > most {
		width, height = source.Dx()*most/source.Dy(), most
	}
	target := image.Rect(0, 0, max(1, width), max(1, height))
	scaled := image.NewRGBA(target)
	draw.Draw(scaled, target, image.Black, image.Point{}, draw.Src) // behind what is transparent
	draw.ApproxBiLinear.Scale(scaled, target, img, source, draw.Over, nil)
	return &Thumbnails{scaled: scaled, source: source, target: target}
}
