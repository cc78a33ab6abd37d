package video

import (
	"context"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// readOf lets a program write, in time that passes only while all wait, and reads at most three
// pictures of what it writes. What stops the program closes its output.
func readOf(t *testing.T, program func(output io.Writer, pause func(time.Duration)), each func()) (taken int, stopped error) {
	t.Helper()
	e := &Extractor{options: Options{MaxFrames: 3, MaxFrameBytes: 10, FrameTimeout: 2 * time.Second}}
	output, write := io.Pipe()
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	go func() {
		program(write, func(d time.Duration) {
			select {
			case <-ctx.Done():
			case <-time.After(d):
			}
		})
		_ = write.Close() // cannot fail
	}()
	defer context.AfterFunc(ctx, func() { _ = output.Close() })()
	taken, err := e.read(ctx, cancel, output, func(context.Context, Frame) error { each(); return nil })
	require.NoError(t, err)
	return taken, context.Cause(ctx)
}

func writePicture(output io.Writer) {
	_, _ = io.WriteString(output, "--ffmpeg\r\nContent-type: image/jpeg\r\nContent-length: 4\r\n\r\nJPEG\r\n--ffmpeg\r\n")
}

func TestFrames_TheTimeOfTheCallerDoesNotCount(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		taken, stopped := readOf(t, func(output io.Writer, _ func(time.Duration)) {
			writePicture(output)
			writePicture(output)
		}, func() { <-time.After(3 * time.Second) })
		require.NoError(t, stopped)
		require.Equal(t, 2, taken)
	})
}

func TestFrames_EachPictureComesInTime(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		pause time.Duration
		taken int
	}{"just in time": {2*time.Second - 1, 3}, "too late": {2*time.Second + 1, 1}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				taken, stopped := readOf(t, func(output io.Writer, pause func(time.Duration)) {
					writePicture(output)
					for range 2 {
						pause(test.pause)
						writePicture(output)
					}
				}, func() {})
				require.Equal(t, test.taken, taken)
				require.Equal(t, test.taken == 3, stopped == nil)
			})
		})
	}
}

func TestFrames_AProgramThatDoesNotEndIsStopped(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		startedAt := time.Now()
		taken, stopped := readOf(t, func(output io.Writer, pause func(time.Duration)) {
			for range 5 { // more than are wanted
				writePicture(output)
			}
			pause(time.Hour)
		}, func() {})
		require.Equal(t, 3, taken)
		require.Equal(t, &TimeoutError{After: 2 * time.Second}, stopped)
		require.Equal(t, 2*time.Second, time.Since(startedAt))
	})
}
