// Package detect finds objects in images: with RT-DETR over HTTP, or with the built-in motion
// detector where none is configured. The worker takes waiting images from the queue and commits
// what the detector found.
package detect

import (
	"context"
	"image"
	"time"

	"hsi.home.arpa/pipeline/picture"
)

// Detection is one object found in an image.
type Detection struct {
	// ObjectType is what it is, such as "person"; the motion detector says "motion".
	ObjectType string
	// Confidence is between 0 and 1.
	Confidence float64
	// Box is in pixels of the image with the origin at its top left, and lies inside the image.
	Box image.Rectangle
}

// Detector finds objects in images. It is safe for concurrent use.
type Detector interface {
	// Name is stored with each detection, such as "motion" or "rtdetr".
	Name() string
	// Detect returns what it found, in an order of its own. The error tells by the types of this
	// package whether to wait for a service (Unavailable), to try this image again (BadReply), or
	// to give this image up (Unusable).
	Detect(ctx context.Context, img *Image) ([]Detection, error)
}

// Image is what a detector gets to see. It belongs to one goroutine.
type Image struct {
	CameraID string
	// Scene tells pictures that show the same view from others of the camera. Empty: its still
	// images.
	Scene string
	// Name is the file's name without its folder.
	Name string
	// TakenAt is the image time.
	TakenAt time.Time
	// Data is the file's content.
	Data []byte
	// Info is what the header says.
	Info picture.Info

	limits  picture.Limits
	memory  *picture.Memory
	decoded *picture.Decoded
}

// NewImage checks data and makes an image of it, whose pixels will take their room from memory. The
// error is one of package picture's. The image must be closed.
func NewImage(cameraID, name string, takenAt time.Time, data []byte, limits picture.Limits, memory *picture.Memory) (*Image, error) {
	info, err := picture.VerifyBytes(data, limits)
	if err != nil {
		return nil, err
	}
	return &Image{CameraID: cameraID, Name: name, TakenAt: takenAt, Data: data, Info: info, limits: limits, memory: memory}, nil
}

// Bounds is where boxes may be: the whole image.
func (i *Image) Bounds() image.Rectangle { return image.Rect(0, 0, i.Info.Width, i.Info.Height) }

// Pixels decodes the image when it is first asked for. The error is that of ctx, or the image's.
func (i *Image) Pixels(ctx context.Context) (image.Image, error) {
	if i.decoded == nil {
		decoded, err := picture.Decode(ctx, i.Data, i.limits, i.memory)
		if err != nil {
			return nil, err
		}
		i.decoded = decoded
	}
	return i.decoded.Image, nil
}

// Close drops the pixels. They are decoded again when they are asked for again.
func (i *Image) Close() {
	if i.decoded != nil {
		i.decoded.Release()
		i.decoded = nil
	}
}
