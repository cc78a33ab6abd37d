package aitest

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	_ "image/gif" // the formats that RT-DETR takes
	"image/jpeg"
	_ "image/png"
	"math"
	"math/rand/v2"

	_ "golang.org/x/image/bmp"  // see above
	_ "golang.org/x/image/webp" // see above
)

// Size of the images that Picture draws, in pixels.
const (
	PictureWidth  = 320
	PictureHeight = 180
)

// Detection is an object in RT-DETR's answer.
type Detection struct {
	Class      string  `json:"class"`
	Confidence float64 `json:"confidence"`
	Box        Box     `json:"bbox"`
}

// Box is in pixels of the original image, from its top left.
type Box struct {
	X      int `json:"x"`
	Y      int `json:"y"`
	Width  int `json:"width"`
	Height int `json:"height"`
}

// classes are those that RT-DETR reports.
var classes = [...]string{"person", "car", "truck", "dog", "cat", "bird", "bicycle", "motorcycle", "bus"}

// marker begins the comment of a JPEG file in which Picture says what is to be found.
const marker = "aitest:"

// Picture draws a JPEG in which the scripted RT-DETR finds exactly the given detections. The seed
// makes the bytes unique: the same seed and detections give the same bytes.
func Picture(seed uint64, detections ...Detection) []byte {
	img := image.NewGray(image.Rect(0, 0, PictureWidth, PictureHeight))
	random := rand.New(rand.NewPCG(seed, 1)) //nolint:gosec // repeatable on purpose
	const cell = 20
	for y := 0; y < PictureHeight; y += cell {
		for x := 0; x < PictureWidth; x += cell {
			shade := color.Gray{Y: 64 + uint8(random.UintN(96))} //nolint:gosec // it fits
			draw.Draw(img, image.Rect(x, y, x+cell, y+cell), image.NewUniform(shade), image.Point{}, draw.Src)
		}
	}
	for _, d := range detections {
		box := image.Rect(d.Box.X, d.Box.Y, d.Box.X+d.Box.Width, d.Box.Y+d.Box.Height)
		draw.Draw(img, box, image.White, image.Point{}, draw.Src)
	}
	var encoded bytes.Buffer
	if err := jpeg.Encode(&encoded, img, nil); err != nil {
		panic(fmt.Sprintf("encode a picture: %v", err)) // writing to memory does not fail
	}
	if detections == nil {
		detections = []Detection{}
	}
	note := append([]byte(marker), jsonReply(0, note{seed, detections}).Body...)
	return withComment(encoded.Bytes(), note)
}

// note is what the comment of a picture says.
type note struct {
	Seed       uint64      `json:"seed"`
	Detections []Detection `json:"detections"`
}

// withComment puts a comment segment behind the start marker of a JPEG file.
func withComment(file, comment []byte) []byte {
	const start = 2
	out := append([]byte{}, file[:start]...)
	out = append(out, 0xff, 0xfe)
	out = binary.BigEndian.AppendUint16(out, uint16(len(comment)+2)) //nolint:gosec // a few hundred bytes
	out = append(out, comment...)
	return append(out, file[start:]...)
}

// Detections is what the scripted RT-DETR finds in a file: what its comment says, when it was drawn
// by Picture; else none to three objects that follow from its bytes. It is nil for a file that is
// no image.
func Detections(file []byte) []Detection {
	if said, ok := commented(file); ok {
		return said
	}
	config, _, err := image.DecodeConfig(bytes.NewReader(file))
	if err != nil {
		return nil
	}
	sum := sha256.Sum256(file)
	random := rand.New(rand.NewChaCha8(sum)) //nolint:gosec // repeatable on purpose
	found := []Detection{}
	for range random.IntN(4) {
		width, height := 1+random.IntN(config.Width), 1+random.IntN(config.Height)
		found = append(found, Detection{
			Class:      classes[random.IntN(len(classes))],
			Confidence: math.Round((0.5+random.Float64()/2)*1e4) / 1e4, // RT-DETR keeps nothing below 0.5
			Box:        Box{X: random.IntN(config.Width - width + 1), Y: random.IntN(config.Height - height + 1), Width: width, Height: height},
		})
	}
	return found
}

// commented reads the comment that Picture wrote.
func commented(file []byte) ([]Detection, bool) {
	const header = 6 // start marker, comment marker, length
	if len(file) < header || !bytes.HasPrefix(file, []byte{0xff, 0xd8, 0xff, 0xfe}) {
		return nil, false
	}
	end := 4 + int(binary.BigEndian.Uint16(file[4:]))
	if end > len(file) || end < header {
		return nil, false
	}
	text, found := bytes.CutPrefix(file[header:end], []byte(marker))
	var said note
	if !found || json.Unmarshal(text, &said) != nil {
		return nil, false
	}
	return said.Detections, true
}
