// Package video takes pictures out of videos with ffmpeg, which decodes what strangers may have
// made. It runs as a process of its own that reads one open file and writes to a pipe, with bounded
// memory, output and time, and without network.
package video

import (
	"cmp"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// MaxBytes is the largest video that is read.
const MaxBytes = 4 << 30

// MediaType returns the MIME type of a video by its file name; empty when the name is not that of a
// video.
func MediaType(name string) string {
	switch strings.ToLower(filepath.Ext(name)) {
	case ".mp4":
		return "video/mp4"
	case ".mkv":
		return "video/x-matroska"
	case ".avi":
		return "video/x-msvideo"
	case ".mov":
		return "video/quicktime"
	}
	return ""
}

// ErrNotInstalled says that there is no ffmpeg on this machine.
var ErrNotInstalled = errors.New("ffmpeg is not installed")

// BrokenError says that no picture can be taken out of a video, whoever tries.
type BrokenError struct {
	// Text is what ffmpeg says, in one line and without paths.
	Text string
}

func (e *BrokenError) Error() string { return "broken video: " + e.Text }

// TimeoutError says that the next picture did not come in time. The video may be at fault, or a
// machine that is too busy.
type TimeoutError struct{ After time.Duration }

func (e *TimeoutError) Error() string { return fmt.Sprintf("ffmpeg gave no picture for %v", e.After) }

// Frame is a picture out of a video.
type Frame struct {
	// Offset is the time from the beginning of the video.
	Offset time.Duration
	// JPEG is the picture.
	JPEG []byte
}

// Options of an Extractor. Zero values mean their defaults.
type Options struct {
	// Find returns the path of ffmpeg and its whole environment, or an error when there is none.
	// Required.
	Find func() (path string, env []string, err error)
	// Interval is the time from one picture to the next. Defaults to 2 s.
	Interval time.Duration
	// MaxFrames is how many pictures are taken of one video, from its beginning. Defaults to 30.
	MaxFrames int
	// MaxFrameBytes is the largest picture as JPEG. Defaults to 16 MiB.
	MaxFrameBytes int
	// MaxPixels is the largest picture, width times height. Defaults to 40 million.
	MaxPixels int64
	// MaxMemoryBytes is the largest address space of ffmpeg. Defaults to 2 GiB. Kept on Linux only.
	MaxMemoryBytes uint64
	// FrameTimeout is how long ffmpeg may take for each picture. Defaults to 30 s.
	FrameTimeout time.Duration
	// Now is the clock. Defaults to time.Now.
	Now func() time.Time
}

// findAgainAfter is when ffmpeg is looked for again that was not there: somebody may have installed
// it.
const findAgainAfter = time.Minute

// Extractor takes pictures out of videos. It is safe for concurrent use; each use runs one ffmpeg.
type Extractor struct {
	options Options

	mu       sync.Mutex
	path     string    // guarded by mu; empty until ffmpeg is found
	env      []string  // guarded by mu
	missedAt time.Time // guarded by mu; when it was looked for in vain
	missing  error     // guarded by mu; what came of that
}

// New makes an extractor. It looks for ffmpeg when it is first needed.
func New(options Options) *Extractor {
	options.Interval = cmp.Or(options.Interval, 2*time.Second)
	options.MaxFrames = cmp.Or(options.MaxFrames, 30)
	options.MaxFrameBytes = cmp.Or(options.MaxFrameBytes, 16<<20)
	options.MaxPixels = cmp.Or(options.MaxPixels, 40_000_000)
	options.MaxMemoryBytes = cmp.Or(options.MaxMemoryBytes, 2<<30)
	options.FrameTimeout = cmp.Or(options.FrameTimeout, 30*time.Second)
	if options.Now == nil {
		options.Now = time.Now
	}
	return &Extractor{options: options}
}

// MaxFrames is how many pictures one video gives at most.
func (e *Extractor) MaxFrames() int { return e.options.MaxFrames }

// FrameTimeout is how long each of them may take.
func (e *Extractor) FrameTimeout() time.Duration { return e.options.FrameTimeout }

// Available returns ErrNotInstalled while there is no ffmpeg.
func (e *Extractor) Available() error {
	_, _, err := e.find()
	return err
}

func (e *Extractor) find() (path string, env []string, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.path != "" {
		return e.path, e.env, nil
	}
	now := e.options.Now()
	if e.missing == nil || now.Sub(e.missedAt).Abs() >= findAgainAfter {
		e.path, e.env, e.missing = e.options.Find()
		e.missedAt = now
	}
	if e.missing != nil {
		return "", nil, fmt.Errorf("%w: %w", ErrNotInstalled, e.missing)
	}
	return e.path, e.env, nil
}
