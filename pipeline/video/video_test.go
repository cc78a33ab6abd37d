package video_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"image/jpeg"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"hsi.home.arpa/internal/await"
	"hsi.home.arpa/internal/program"
	"hsi.home.arpa/pipeline/video"
	"hsi.home.arpa/pipeline/video/videotest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t *testing.T, path string) *os.File {
	t.Helper()
	file, err := os.Open(path)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, file.Close()) })
	return file
}

// frames takes all pictures of a video.
func frames(t *testing.T, extractor *video.Extractor, path string) ([]video.Frame, error) {
	t.Helper()
	var list []video.Frame
	err := extractor.Frames(t.Context(), open(t, path), func(_ context.Context, frame video.Frame) error {
		list = append(list, frame)
		return nil
	})
	return list, err
}

// clock makes a video with sound on which a white bar of 6 pixels moves on by its width each
// second, at its half.
func clock(t *testing.T, path, duration string, options ...string) string {
	t.Helper()
	videotest.Make(t, path, append([]string{
		"-f", "lavfi", "-i", "color=size=64x48:rate=5:duration=" + duration + ",format=gray,geq=lum='255*between(X,6*floor(T+0.5),6*floor(T+0.5)+5)'",
		"-f", "lavfi", "-i", "sine=duration=" + duration,
	}, options...)...)
	return path
}

// barAt is the middle of the bar.
func barAt(img image.Image) int {
	sum, count := 0, 0
	for x := range img.Bounds().Dx() {
		if luma, _, _, _ := img.At(x, 24).RGBA(); luma > 0x8000 {
			sum += x
			count++
		}
	}
	return sum / max(1, count)
}

func TestFrames_OneEveryTwoSeconds(t *testing.T) {
	t.Parallel()
	extractor := videotest.Extractor(t, video.Options{})
	require.NoError(t, extractor.Available())
	for name, options := range map[string][]string{
		"a.mp4": {"-c:v", "libx264", "-pix_fmt", "yuv420p"}, "b.mkv": {"-c:v", "libx265", "-x265-params", "log-level=error", "-pix_fmt", "yuv420p"},
		"c.avi": {"-c:v", "mjpeg"}, "d.mov": {"-c:v", "mpeg4"},
	} {
		list, err := frames(t, extractor, clock(t, filepath.Join(t.TempDir(), name), "9", options...))
		require.NoError(t, err, name)
		require.Len(t, list, 5, name)
		for i, frame := range list {
			require.Equal(t, time.Duration(i)*2*time.Second, frame.Offset)
			img, err := jpeg.Decode(bytes.NewReader(frame.JPEG))
			require.NoError(t, err, name)
			require.Equal(t, 64, img.Bounds().Dx())
			require.Equal(t, 2*i, barAt(img)/6, "%s: picture %d", name, i)
		}
	}
}

func TestFrames_AtMostThirtyAndAtLeastOne(t *testing.T) {
	t.Parallel()
	extractor := videotest.Extractor(t, video.Options{})
	long := filepath.Join(t.TempDir(), "long.mp4")
	videotest.Make(t, long, "-f", "lavfi", "-i", "testsrc=size=64x48:rate=2:duration=100")
	list, err := frames(t, extractor, long)
	require.NoError(t, err)
	require.Len(t, list, 30)
	require.Equal(t, 30, extractor.MaxFrames())
	short := filepath.Join(t.TempDir(), "short.mp4")
	videotest.Make(t, short, "-f", "lavfi", "-i", "testsrc=size=64x48:rate=10:duration=0.1")
	list, err = frames(t, extractor, short)
	require.NoError(t, err)
	require.Len(t, list, 1)
}

func TestFrames_ABrokenVideo(t *testing.T) {
	t.Parallel()
	extractor := videotest.Extractor(t, video.Options{})
	dir := t.TempDir()
	write := func(name string, data []byte) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, data, 0o600))
		return path
	}
	whole := clock(t, filepath.Join(dir, "whole.mp4"), "4")
	data, err := os.ReadFile(whole)
	require.NoError(t, err)
	sound := filepath.Join(dir, "sound.mp4")
	videotest.Make(t, sound, "-f", "lavfi", "-i", "sine=duration=1")
	playlist := "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n" + whole + "\n#EXT-X-ENDLIST\n"
	for name, path := range map[string]string{
		"a text":                        write("text.mp4", []byte("this is a text")),
		"nothing":                       write("empty.mp4", nil),
		"its index is cut off":          write("cut.mp4", data[:len(data)/2]),
		"only sound":                    sound,
		"a playlist of other files":     write("playlist.mp4", []byte(playlist)),
		"a list of files":               write("list.mp4", []byte("ffconcat version 1.0\nfile "+whole+"\n")),
		"a picture":                     write("picture.mp4", append([]byte("\xff\xd8\xff\xe0\x00\x10JFIF\x00"), make([]byte, 1000)...)),
		"a description of a connection": write("sdp.mp4", []byte("v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\na=rtpmap:96 H264/90000\n")),
	} {
		list, err := frames(t, extractor, path)
		broken, ok := errors.AsType[*video.BrokenError](err)
		require.True(t, ok, "%s: %v", name, err)
		require.Empty(t, list, name)
		require.NotContains(t, broken.Text, dir, name)
		require.NotContains(t, broken.Text, "/dev/fd", name)
		require.NotContains(t, broken.Text, "\n", name)
		t.Logf("%-30s %s", name, broken)
	}
	list, err := frames(t, videotest.Extractor(t, video.Options{MaxPixels: 1000}), whole)
	_, ok := errors.AsType[*video.BrokenError](err)
	require.True(t, ok, "larger than any camera's: %v", err)
	require.Empty(t, list)
}

func TestFrames_AVideoThatBreaksOffGivesThePicturesBefore(t *testing.T) {
	t.Parallel()
	path := clock(t, filepath.Join(t.TempDir(), "a.mkv"), "9")
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.NoError(t, os.Truncate(path, info.Size()*2/3))
	list, err := frames(t, videotest.Extractor(t, video.Options{}), path)
	require.NoError(t, err)
	require.NotEmpty(t, list)
	require.Less(t, len(list), 5)
}

func TestFrames_EndsWithItsCaller(t *testing.T) {
	t.Parallel()
	extractor := videotest.Extractor(t, video.Options{})
	path := filepath.Join(t.TempDir(), "a.mp4")
	videotest.Make(t, path, "-f", "lavfi", "-i", "testsrc=size=320x240:rate=2:duration=60")
	ctx, cancel := context.WithCancel(t.Context())
	taken := 0
	err := extractor.Frames(ctx, open(t, path), func(context.Context, video.Frame) error {
		if taken++; taken == 2 {
			cancel()
		}
		return nil
	})
	require.ErrorIs(t, err, context.Canceled)
	require.Less(t, taken, 30)

	failure := errors.New("the detector is away")
	taken = 0
	err = extractor.Frames(t.Context(), open(t, path), func(context.Context, video.Frame) error {
		taken++
		return failure
	})
	require.ErrorIs(t, err, failure)
	require.Equal(t, 1, taken)
}

func TestAvailable_LooksAgainAfterAWhile(t *testing.T) {
	t.Parallel()
	now, looked := time.Now(), 0
	installed := false
	extractor := video.New(video.Options{
		Now: func() time.Time { return now },
		Find: func() (string, []string, error) {
			looked++
			if !installed {
				return "", nil, errors.New("type: apt-get install ffmpeg")
			}
			return "/usr/bin/ffmpeg", nil, nil
		},
	})
	require.ErrorIs(t, extractor.Available(), video.ErrNotInstalled)
	require.ErrorContains(t, extractor.Available(), "apt-get install ffmpeg")
	require.Equal(t, 1, looked)
	installed = true
	require.Error(t, extractor.Available())
	_, err := frames(t, extractor, os.Args[0])
	require.ErrorIs(t, err, video.ErrNotInstalled)
	now = now.Add(time.Minute)
	require.NoError(t, extractor.Available())
	require.NoError(t, extractor.Available())
	require.Equal(t, 2, looked)
}

func TestMediaType(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"a.mp4": "video/mp4", "b.MKV": "video/x-matroska", "c.avi": "video/x-msvideo", "d.Mov": "video/quicktime", "e.jpg": "", "mp4": "", "f.mp4.part": "",
	} {
		require.Equal(t, want, video.MediaType(name), name)
	}
}

// fake makes an extractor whose ffmpeg is a script.
func fake(t *testing.T, script string, options video.Options) *video.Extractor {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ffmpeg")
	program.Write(t, path, []byte("#!/bin/sh\n"+script+"\n"), 0o700)
	options.Find = func() (string, []string, error) { return path, []string{"PATH=/usr/bin:/bin"}, nil }
	return video.New(options)
}

// running tells whether a process has the argument.
func running(t *testing.T, argument string) bool {
	t.Helper()
	paths, err := filepath.Glob("/proc/[0-9]*/cmdline")
	require.NoError(t, err)
	for _, path := range paths {
		line, err := os.ReadFile(path)
		if err == nil && slices.Contains(strings.Split(string(line), "\x00"), argument) {
			return true
		}
	}
	return false
}

const part = `printf -- '--ffmpeg\r\nContent-type: image/jpeg\r\nContent-length: 4\r\n\r\nJPEG\r\n--ffmpeg\r\n'`

func TestFrames_AProgramThatHangsIsKilledWithItsChildren(t *testing.T) {
	t.Parallel()
	const limit = 100 * time.Millisecond
	for name, script := range map[string]string{
		"before the first picture": "sleep 1000.ARGUMENT & wait",
		"after the first":          part + "; sleep 1000.ARGUMENT & wait",
		"slowly":                   "sleep 1000.ARGUMENT & while :; do printf x; sleep 0.01; done",
	} {
		argument := time.Now().UnixNano()
		_, err := frames(t, fake(t, strings.ReplaceAll(script, "ARGUMENT", fmt.Sprint(argument)), video.Options{FrameTimeout: limit}), os.Args[0])
		timeout, ok := errors.AsType[*video.TimeoutError](err)
		require.True(t, ok, "%s: %v", name, err)
		require.Equal(t, limit, timeout.After)
		await.True(t, func() bool { return !running(t, fmt.Sprintf("1000.%d", argument)) }, "%s", name)
	}
}

func TestFrames_OutputIsBounded(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ script, text string }{
		"a huge picture":   {`printf -- '--ffmpeg\r\nContent-length: 2000000000\r\n\r\n'; cat /dev/zero`, "a picture of more than 1000 bytes"},
		"no line ever":     {"cat /dev/zero", "buffer full"},
		"no header ever":   {"while :; do echo; done", "no header"},
		"a length of none": {`printf -- 'Content-length: 0\r\n\r\n'`, "length"},
		"no length":        {`printf -- 'Content-length: x\r\n\r\n'`, "length"},
		"much to say":      {"head -c 10000000 /dev/zero | tr '\\000' x >&2; exit 1", "xxxx"},
	} {
		list, err := frames(t, fake(t, test.script, video.Options{MaxFrameBytes: 1000}), os.Args[0])
		require.ErrorContains(t, err, test.text, name)
		require.Less(t, len(err.Error()), 5000, name)
		require.Empty(t, list)
	}
}

func TestFrames_APictureOfJustTheLargestSizeIsTaken(t *testing.T) {
	t.Parallel()
	list, err := frames(t, fake(t, part, video.Options{MaxFrameBytes: 4}), os.Args[0])
	require.NoError(t, err)
	require.Len(t, list, 1)
	_, err = frames(t, fake(t, part, video.Options{MaxFrameBytes: 3}), os.Args[0])
	require.ErrorContains(t, err, "a picture of more than 3 bytes")
}

func TestFrames_WhatWasSaidIsTheError(t *testing.T) {
	t.Parallel()
	for script, want := range map[string]string{
		`printf 'a\n\n b  1\na\n[mov @ 0x1] c\nd\n' >&2; exit 1`: "a; b 1; c",
		`echo odd >&2`: "odd",
		"exit 3":       "exit status 3",
		"exit 0":       "no pictures in it",
	} {
		_, err := frames(t, fake(t, script, video.Options{}), os.Args[0])
		broken, ok := errors.AsType[*video.BrokenError](err)
		require.True(t, ok, "%s: %v", script, err)
		require.Equal(t, want, broken.Text, script)
	}
}

func TestFrames_AProgramThatIsKilledIsNotTheVideosFault(t *testing.T) {
	t.Parallel()
	for _, script := range []string{"kill -9 $$", part + "; kill -SEGV $$"} {
		_, err := frames(t, fake(t, script, video.Options{}), os.Args[0])
		_, broken := errors.AsType[*video.BrokenError](err)
		require.False(t, broken)
		require.ErrorContains(t, err, "run ffmpeg: signal")
	}
}

func TestFrames_TheProgramIsConfined(t *testing.T) {
	t.Parallel()
	// The limits come a moment after the start.
	script := `
while ! grep -q 'Max open files *64 ' /proc/$$/limits; do :; done
limits=$(grep -E 'cpu time|address space|core|file size' /proc/$$/limits; env)
(echo x > "$0.written") 2>/dev/null
if [ -s "$0.written" ]; then limits="$limits WRITTEN"; fi
printf -- '--ffmpeg\r\nContent-length: %d\r\n\r\n%s\r\n--ffmpeg\r\n' ${#limits} "$limits"`
	list, err := frames(t, fake(t, script, video.Options{MaxMemoryBytes: 512 << 20, FrameTimeout: 20 * time.Second, MaxFrames: 3}), os.Args[0])
	require.NoError(t, err)
	require.Len(t, list, 1)
	said := string(list[0].JPEG)
	require.Regexp(t, fmt.Sprintf(`Max address space +%d +%d`, 512<<20, 512<<20), said)
	require.Regexp(t, `Max cpu time +61 +61`, said)
	require.Regexp(t, `Max file size +0 +0`, said)
	require.Regexp(t, `Max core file size +0 +0`, said)
	require.NotContains(t, said, "WRITTEN")
	require.NotContains(t, said, "HOME=", "nothing of our environment")
}

// The error may become the cause of a dead letter, which everybody may read.
func TestFrames_AnErrorHasNoPath(t *testing.T) {
	t.Parallel()
	notAProgram := filepath.Join(t.TempDir(), "ffmpeg")
	require.NoError(t, os.WriteFile(notAProgram, nil, 0o600))
	extractor := video.New(video.Options{Find: func() (string, []string, error) { return notAProgram, nil, nil }})
	file, err := os.Open(notAProgram)
	require.NoError(t, err)
	defer func() { require.NoError(t, file.Close()) }()
	err = extractor.Frames(t.Context(), file, func(context.Context, video.Frame) error { return nil })
	require.ErrorIs(t, err, fs.ErrPermission)
	require.EqualError(t, err, "run ffmpeg: permission denied")
}
