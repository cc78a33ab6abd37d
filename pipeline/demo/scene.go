// Package demo makes camera images out of nothing: a still background with sensor noise and objects
// that move across it. The demo writes them into a camera folder; tests use them where it must be
// known what an image shows.
package demo

import (
	"image"
	"math"
	"math/rand/v2"
)

// Object is something that crosses the scene in a straight line.
type Object struct {
	// Width and Height are in pixels.
	Width, Height int
	// Luma is its brightness, 0 to 255.
	Luma uint8
	// From is the first frame that shows it, Until the first that no longer does.
	From, Until int
	// X and Y are its top left corner in frame From; it moves by StepX and StepY pixels per frame.
	X, Y, StepX, StepY int
}

// Box returns where the object is in a frame, not clipped to the image, and whether it is there at
// all.
func (o Object) Box(frame int) (image.Rectangle, bool) {
	if frame < o.From || frame >= o.Until {
		return image.Rectangle{}, false
	}
	n := frame - o.From
	x, y := o.X+n*o.StepX, o.Y+n*o.StepY
	return image.Rect(x, y, x+o.Width, y+o.Height), true
}

// Scene is what one camera looks at. The same scene always gives the same frames.
type Scene struct {
	// Width and Height are in pixels.
	Width, Height int
	// Seed decides the background and the noise.
	Seed uint64
	// Noise is the standard deviation of the sensor noise.
	Noise float64
	// Objects are drawn in order.
	Objects []Object
	// Light is the factor on brightness in a frame; nil means always 1.
	Light func(frame int) float64
}

// Boxes returns where objects show in a frame, clipped to the image.
func (s *Scene) Boxes(frame int) []image.Rectangle {
	var boxes []image.Rectangle
	for _, object := range s.Objects {
		box, there := object.Box(frame)
		if box = box.Intersect(image.Rect(0, 0, s.Width, s.Height)); there && !box.Empty() {
			boxes = append(boxes, box)
		}
	}
	return boxes
}

// Frame draws one frame.
func (s *Scene) Frame(frame int) *image.YCbCr {
	img := image.NewYCbCr(image.Rect(0, 0, s.Width, s.Height), image.YCbCrSubsampleRatio420)
	for i := range img.Cb {
		img.Cb[i], img.Cr[i] = 128, 128
	}
	s.drawBackground(img)
	for _, object := range s.Objects {
		if box, there := object.Box(frame); there {
			drawObject(img, box, object.Luma)
		}
	}
	light := 1.0
	if s.Light != nil {
		light = s.Light(frame)
	}
	s.addNoise(img.Y, frame, light)
	return img
}

// addNoise applies light and sensor noise. The noise is drawn from a table, four pixels per random
// number, because drawing each from its distribution takes longer than all the rest of a frame.
func (s *Scene) addNoise(pixels []uint8, frame int, light float64) {
	random := rand.NewPCG(s.Seed, uint64(frame)) //nolint:gosec // a frame number is not negative
	var table [1 << 12]float64
	source := rand.New(random) //nolint:gosec // pictures need no cryptographic randomness
	for i := range table {
		table[i] = source.NormFloat64() * s.Noise
	}
	var bits uint64
	for i, value := range pixels {
		if i%4 == 0 {
			bits = random.Uint64()
		}
		pixels[i] = clampToByte(float64(value)*light + table[bits%uint64(len(table))])
		bits >>= 16
	}
}

// drawBackground paints a wall of blocks under a soft gradient.
func (s *Scene) drawBackground(img *image.YCbCr) {
	const block = 40
	random := rand.New(rand.NewPCG(s.Seed, math.MaxUint64)) //nolint:gosec // pictures need no cryptographic randomness
	columns := s.Width/block + 1
	blocks := make([]float64, columns*(s.Height/block+1))
	for i := range blocks {
		blocks[i] = 30 * random.Float64()
	}
	for y := range s.Height {
		gradient := 80 + 60*float64(y)/float64(s.Height)
		for x := range s.Width {
			img.Y[y*img.YStride+x] = clampToByte(gradient + blocks[y/block*columns+x/block])
		}
	}
}

// drawObject paints an ellipse that fills the box, a little brighter towards its top.
func drawObject(img *image.YCbCr, box image.Rectangle, luma uint8) {
	visible := box.Intersect(img.Rect)
	for y := visible.Min.Y; y < visible.Max.Y; y++ {
		dy := (float64(y-box.Min.Y)+0.5)/float64(box.Dy())*2 - 1
		for x := visible.Min.X; x < visible.Max.X; x++ {
			dx := (float64(x-box.Min.X)+0.5)/float64(box.Dx())*2 - 1
			if dx*dx+dy*dy <= 1 {
				img.Y[y*img.YStride+x] = clampToByte(float64(luma) - 10*dy)
			}
		}
	}
}

func clampToByte(value float64) uint8 {
	return uint8(min(255, max(0, value+0.5)))
}
