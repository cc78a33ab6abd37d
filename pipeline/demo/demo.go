package demo

import (
	"bytes"
	"context"
	"fmt"
	"image/jpeg"
	"log/slog"
	"os"
	"path/filepath"
	"time"
)

// CameraName is the folder, and so the camera, that the demo writes to.
const CameraName = "demo"

// cycle is how many frames the demo's story lasts: motion first, then quiet for long enough that
// the batch closes.
const cycle = 75

// Options of a demo.
type Options struct {
	// Root is the folder of the camera folders; the demo makes its own below it.
	Root string
	// Seed decides what the frames show.
	Seed uint64
	// Interval is the time between two frames. Defaults to one second.
	Interval time.Duration
	Log      *slog.Logger
	// Now is the clock. Defaults to time.Now.
	Now func() time.Time
}

// Run writes one frame per interval into the demo camera's folder until ctx ends: the way a careful
// camera does it, under a temporary name first.
func Run(ctx context.Context, options Options) error {
	if options.Interval == 0 {
		options.Interval = time.Second
	}
	if options.Now == nil {
		options.Now = time.Now
	}
	folder := filepath.Join(options.Root, CameraName)
	if err := os.MkdirAll(folder, 0o750); err != nil {
		return fmt.Errorf("make demo camera folder: %w", err)
	}
	scene := Story(options.Seed)
	options.Log.InfoContext(ctx, "demo camera writes images", "folder", folder, "interval", options.Interval)
	ticker := time.NewTicker(options.Interval)
	defer ticker.Stop()
	for frame := 0; ; frame++ {
		if err := writeFrame(scene, frame, folder, options.Now()); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// Story returns the scene of the demo. From frame 3 of each cycle a person-sized object walks
// through, and later a larger one drives by; the rest of the cycle is quiet.
func Story(seed uint64) *Scene {
	scene := &Scene{Width: 640, Height: 360, Seed: seed, Noise: 2}
	const cycles = 1000
	for n := range cycles {
		start := n * cycle
		scene.Objects = append(scene.Objects,
			Object{Width: 44, Height: 110, Luma: 235, From: start + 3, Until: start + 22, X: -30, Y: 190, StepX: 36, StepY: -2},
			Object{Width: 150, Height: 80, Luma: 25, From: start + 12, Until: start + 20, X: 640, Y: 250, StepX: -95},
		)
	}
	return scene
}

func writeFrame(scene *Scene, frame int, folder string, now time.Time) error {
	var buffer bytes.Buffer
	if err := jpeg.Encode(&buffer, scene.Frame(frame), &jpeg.Options{Quality: 85}); err != nil {
		return fmt.Errorf("encode demo frame: %w", err)
	}
	name := fmt.Sprintf("demo_%s_%06d.jpg", now.UTC().Format("20060102_150405"), frame)
	temporary := filepath.Join(folder, "."+name+".part")
	if err := os.WriteFile(temporary, buffer.Bytes(), 0o640); err != nil { //nolint:gosec // as readable as a camera's own files
		return fmt.Errorf("write demo frame: %w", err)
	}
	if err := os.Rename(temporary, filepath.Join(folder, name)); err != nil {
		return fmt.Errorf("publish demo frame: %w", err)
	}
	return nil
}
