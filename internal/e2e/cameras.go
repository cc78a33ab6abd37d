package e2e

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"hsi.home.arpa/pipeline/aitest"
)

// Threshold is the confidence below which the server of a World drops a detection.
const Threshold = 0.6

// Camera is the folder of a camera and the id that it must get.
type Camera struct{ Folder, ID string }

// SixCameras are cameras whose folders are spelled in different ways.
func SixCameras() []Camera {
	return []Camera{
		{"Front Door", "front_door"},
		{"garage", "garage"},
		{"back-yard", "back_yard"},
		{"Drive 2", "drive_2"},
		{"cellar", "cellar"},
		{"Attic", "attic"},
	}
}

// Shot is a file that a camera wrote, and what must become of it.
type Shot struct {
	Camera       Camera
	Path, SHA256 string
	Size         int64
	// Broken is the reason for which it must be filtered; empty for a picture.
	Broken string
	// Again says that the same bytes were recorded before under another name, so that it must
	// count as the duplicate.
	Again bool
	// Poison says that the detector refuses it for good.
	Poison bool
	// Kept are the detections of a picture that reach the threshold.
	Kept []aitest.Detection
}

// NewShot describes a file. Broken is empty for a picture, of which the scripted detector sees
// what aitest.Detections says.
func NewShot(camera Camera, path string, data []byte, broken string) *Shot {
	sum := sha256.Sum256(data)
	s := &Shot{
		Camera: camera, Path: path, SHA256: hex.EncodeToString(sum[:]),
		Size: int64(len(data)), Broken: broken,
	}
	if broken == "" {
		s.Kept = slices.DeleteFunc(aitest.Detections(data),
			func(d aitest.Detection) bool { return d.Confidence < Threshold })
	}
	return s
}

// nature describes what a file is.
func (s *Shot) nature() string {
	switch {
	case s.Broken != "":
		return "broken: " + s.Broken
	case s.Poison:
		return "refused by the detector"
	case len(s.Kept) == 0:
		return "a picture of nothing"
	default:
		return fmt.Sprintf("a picture of %d objects", len(s.Kept))
	}
}

// Cameras are the folders of all cameras and the list of what they wrote.
type Cameras struct {
	Root string

	mu    sync.Mutex
	shots []*Shot // guarded by mu
}

// Path is where a camera puts a file.
func (c *Cameras) Path(camera Camera, name string) string {
	return filepath.Join(c.Root, camera.Folder, name)
}

// Note puts a file on the list. One that the server may see earlier than that must not be looked
// for in an audit meanwhile.
func (c *Cameras) Note(s *Shot) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.shots = append(c.shots, s)
}

// Shots is what was written so far.
func (c *Cameras) Shots() []*Shot {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.shots)
}

// WriteRenamed writes a file under a temporary name and renames it. Its time is at, or now when
// that is zero.
func WriteRenamed(path string, data []byte, at time.Time) error {
	temporary := filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".part")
	if err := os.WriteFile(temporary, data, 0o644); err != nil { //nolint:gosec // cameras write for all to read
		return err
	}
	if !at.IsZero() {
		if err := os.Chtimes(temporary, at, at); err != nil {
			return err
		}
	}
	return os.Rename(temporary, path)
}

// WriteHalf writes the first half of a file and returns what writes the second and closes it.
func WriteHalf(path string, data []byte) (finish func() error, err error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o644) //nolint:gosec // as above
	if err != nil {
		return nil, err
	}
	if _, err := file.Write(data[:len(data)/2]); err != nil {
		_ = file.Close() // the first error counts
		return nil, err
	}
	return func() error {
		if _, err := file.Write(data[len(data)/2:]); err != nil {
			_ = file.Close() // as above
			return err
		}
		return file.Close()
	}, nil
}
