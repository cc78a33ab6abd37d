package detect

import (
	"cmp"
	"context"
	"crypto/sha256"
	"image"
	"slices"
	"sync"
	"time"
)

// MotionName names the built-in detector in detections, and is the object type of what it finds.
const MotionName = "motion"

// maxScenes bounds how many cameras the motion detector remembers; about 150 kB each. The camera
// unseen for longest is forgotten.
const maxScenes = 512

// Motion is the built-in detector. It keeps a background for each camera, which follows the light,
// and reports what differs from it and moves. It sees that something moves, not what it is. The
// first image of a camera only teaches it the background. The same images in the same order always
// give the same detections.
type Motion struct {
	mu     sync.Mutex
	scenes map[string]*scene // guarded by mu
	clock  uint64            // guarded by mu; counts uses, to find the scene unused for longest
}

// NewMotion makes a detector that knows no camera yet.
func NewMotion() *Motion { return &Motion{scenes: make(map[string]*scene)} }

// Name returns MotionName.
func (*Motion) Name() string { return MotionName }

// Detect compares the image with its camera's background and then learns from it. Asked again for
// the camera's last image, as when its result could not be stored, it gives the same result and
// learns nothing. The error is *Unusable, or that of ctx.
func (m *Motion) Detect(ctx context.Context, img *Image) ([]Detection, error) {
	pixels, err := img.Pixels(ctx)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err != nil {
		return nil, &Unusable{Err: err}
	}
	size := pixels.Bounds().Size()
	id := imageID{name: img.Name, takenAt: img.TakenAt, sum: sha256.Sum256(img.Data)}
	s := m.scene(cmp.Or(img.Scene, img.CameraID))
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.frames > 0 && s.lastID == id {
		return slices.Clone(s.lastFound), nil
	}
	blobs := s.look(newGrid(pixels), img.TakenAt)
	detections := make([]Detection, 0, len(blobs))
	for _, b := range blobs {
		detections = append(detections, Detection{
			ObjectType: MotionName,
			Confidence: b.confidence(),
			Box: image.Rect(
				b.box.Min.X*size.X/s.cols, b.box.Min.Y*size.Y/s.rows,
				b.box.Max.X*size.X/s.cols, b.box.Max.Y*size.Y/s.rows,
			),
		})
	}
	s.lastID, s.lastFound = id, detections
	return slices.Clone(detections), nil
}

// imageID tells one image of a camera from another.
type imageID struct {
	name    string
	takenAt time.Time
	sum     [sha256.Size]byte
}

// scene returns the memory of a camera.
func (m *Motion) scene(cameraID string) *scene {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.clock++
	s := m.scenes[cameraID]
	if s == nil {
		if len(m.scenes) >= maxScenes {
			m.forgetOldest()
		}
		s = &scene{}
		m.scenes[cameraID] = s
	}
	s.usedAt = m.clock
	return s
}

// forgetOldest drops the scene unused for longest. m.mu is held.
func (m *Motion) forgetOldest() {
	oldest := ""
	for id, s := range m.scenes {
		if oldest == "" || s.usedAt < m.scenes[oldest].usedAt {
			oldest = id
		}
	}
	delete(m.scenes, oldest)
}

// scene is what the detector remembers of one camera.
type scene struct {
	usedAt uint64 // guarded by Motion.mu

	mu         sync.Mutex // guards all below
	cols, rows int
	frames     int       // images learned
	changed    int       // images in a row in which nearly everything differs
	takenAt    time.Time // of the last image
	mean       []float32 // the background
	noise      []float32 // how far each cell usually is from its background
	last       []float32 // the last image
	still      []uint8   // for how many images in a row a cell has not changed
	seen       []blob    // what moved in the last image, reported or not
	lastID     imageID   // the last image
	lastFound  []Detection
}
