package video

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	// input is the open video as ffmpeg sees it: the third descriptor. Messages name this and no
	// path of ours.
	input = "file:/dev/fd/3"
	// demuxers and decoders are those that cameras' videos need. A playlist that is called a video
	// would lead to other files.
	demuxers = "mov,matroska,avi"
	decoders = "h264,hevc,mpeg4,mjpeg,vp8,vp9,av1,libdav1d,libaom-av1,h263,mpeg1video,mpeg2video,msmpeg4v2,msmpeg4,wmv1,wmv2,wmv3,vc1,flv,dvvideo,rawvideo"
	// endPatience is how long ffmpeg's pipes may stay open after it was killed.
	endPatience = 5 * time.Second
	// maxMessageBytes is how much is kept of what ffmpeg says.
	maxMessageBytes = 4 << 10
)

// arguments of ffmpeg.
func (e *Extractor) arguments() []string {
	o := e.options
	span := o.Interval * time.Duration(o.MaxFrames)
	return []string{
		"-hide_banner", "-loglevel", "error", "-nostats", "-nostdin",
		"-threads", "1", "-filter_threads", "1",
		"-protocol_whitelist", "file", "-format_whitelist", demuxers, "-codec_whitelist", decoders,
		"-max_pixels", strconv.FormatInt(o.MaxPixels, 10), "-t", seconds(span),
		"-i", input,
		// Only the first picture stream, and of that what shows at each interval from its own
		// beginning; rounding up makes even the shortest video give one.
		"-map", "0:v:0", "-an", "-sn", "-dn", "-vf", "setpts=PTS-STARTPTS,fps=1/" + seconds(o.Interval) + ":round=up",
		"-frames:v", strconv.Itoa(o.MaxFrames),
		"-c:v", "mjpeg", "-q:v", "3", "-threads", "1", "-f", "mpjpeg", "pipe:1",
	}
}

func seconds(d time.Duration) string { return strconv.FormatFloat(d.Seconds(), 'f', -1, 64) }

// Frames calls each with the pictures of a video in their order, one at a time; an error of each
// ends it and is returned. The error is otherwise ErrNotInstalled, *BrokenError, *TimeoutError, or
// that of ctx. A video that breaks off gives the pictures before.
func (e *Extractor) Frames(ctx context.Context, video *os.File, each func(ctx context.Context, frame Frame) error) error {
	path, env, err := e.find()
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	cmd := exec.CommandContext(ctx, path, e.arguments()...)
	cmd.Env = env
	cmd.ExtraFiles = []*os.File{video}
	messages := &head{room: maxMessageBytes}
	cmd.Stderr = messages
	cmd.WaitDelay = endPatience
	isolate(cmd)
	output, err := cmd.StdoutPipe()
	if err != nil {
		return fmt.Errorf("run ffmpeg: %w", err)
	}
	// What ends the child with us follows the thread that started it.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := cmd.Start(); err != nil {
		if wrapped, ok := errors.AsType[*fs.PathError](err); ok {
			err = wrapped.Err // where it lies is nobody's business who reads why a video was given up
		}
		return fmt.Errorf("run ffmpeg: %w", err)
	}
	if err := confine(cmd.Process.Pid, e.options); err != nil {
		stop(fmt.Errorf("run ffmpeg: %w", err))
	}
	taken, readErr := e.read(ctx, stop, output, each)
	if readErr != nil {
		stop(readErr)
	}
	waitErr := cmd.Wait()
	exit, _ := errors.AsType[*exec.ExitError](waitErr)
	switch {
	case ctx.Err() != nil: // by us or the caller
		return context.Cause(ctx)
	case waitErr != nil && (exit == nil || !exit.Exited()): // by somebody else, or it crashed
		return fmt.Errorf("run ffmpeg: %w", waitErr)
	case taken > 0:
		return nil
	case waitErr != nil:
		return &BrokenError{Text: cmp.Or(messages.text(), waitErr.Error())}
	}
	return &BrokenError{Text: cmp.Or(messages.text(), "no pictures in it")}
}

// read hands on pictures until there are no more. It stops ffmpeg when the next one does not come
// in time; the time that each takes does not count.
func (e *Extractor) read(
	ctx context.Context, stop context.CancelCauseFunc, output io.Reader, each func(ctx context.Context, frame Frame) error,
) (taken int, err error) {
	timer := time.AfterFunc(e.options.FrameTimeout, func() { stop(&TimeoutError{After: e.options.FrameTimeout}) })
	defer timer.Stop()
	parts := bufio.NewReader(output)
	for taken < e.options.MaxFrames {
		timer.Reset(e.options.FrameTimeout)
		jpeg, err := e.next(parts)
		if !timer.Stop() || errors.Is(err, io.EOF) {
			break // ended, by itself or by us
		}
		if err != nil {
			return taken, err
		}
		if err := each(ctx, Frame{Offset: e.options.Interval * time.Duration(taken), JPEG: jpeg}); err != nil {
			return taken, err
		}
		taken++
	}
	timer.Reset(e.options.FrameTimeout) // until it ends
	_, _ = io.Copy(io.Discard, parts)
	return taken, nil
}

// next reads one part: a line that separates, a header with its length, a picture. io.EOF when
// there is none, or not all of it.
func (e *Extractor) next(parts *bufio.Reader) ([]byte, error) {
	const maxLines = 16
	length := -1
	for range maxLines {
		line, err := parts.ReadSlice('\n')
		if err != nil {
			return nil, fmt.Errorf("read pictures: %w", err)
		}
		text := strings.TrimSpace(string(line))
		if name, value, _ := strings.Cut(text, ":"); strings.EqualFold(name, "Content-Length") {
			if length, err = strconv.Atoi(strings.TrimSpace(value)); err != nil || length <= 0 {
				return nil, fmt.Errorf("read pictures: length %q", value)
			}
		}
		if text != "" || length < 0 {
			continue
		}
		if length > e.options.MaxFrameBytes {
			return nil, &BrokenError{Text: fmt.Sprintf("a picture of more than %d bytes", e.options.MaxFrameBytes)}
		}
		jpeg := make([]byte, length)
		if _, err := io.ReadFull(parts, jpeg); err != nil {
			return nil, io.EOF // it broke off; how it ended tells why
		}
		return jpeg, nil
	}
	return nil, errors.New("read pictures: no header")
}

// head keeps the beginning of what is written to it.
type head struct {
	kept []byte
	room int
}

func (h *head) Write(p []byte) (int, error) {
	h.kept = append(h.kept, p[:min(len(p), h.room-len(h.kept))]...)
	return len(p), nil
}

// sourcePattern is what ffmpeg puts before a message: a part of it and an address, or the input.
var sourcePattern = regexp.MustCompile(`^(\[[^]]*\] |` + regexp.QuoteMeta(input) + `:? ?)+`)

// text is what was said, in one line.
func (h *head) text() string {
	const most = 3
	var said []string
	for line := range strings.Lines(strings.ToValidUTF8(string(h.kept), "?")) {
		line = strings.Join(strings.Fields(sourcePattern.ReplaceAllString(line, "")), " ")
		if line != "" && !slices.Contains(said, line) && len(said) < most {
			said = append(said, line)
		}
	}
	return strings.Join(said, "; ")
}
