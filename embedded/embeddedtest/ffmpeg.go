package embeddedtest

import (
	"sync"
	"testing"

	"hsi.home.arpa/embedded"
)

// ffmpeg is looked for once per test process: to see that it works it is run.
var ffmpeg struct {
	once sync.Once
	path string
	env  []string
	err  error
}

// FFmpeg returns ffmpeg and its environment. Without it the test fails and says what to type.
func FFmpeg(tb testing.TB) (path string, env []string) {
	tb.Helper()
	ffmpeg.once.Do(func() { ffmpeg.path, ffmpeg.env, ffmpeg.err = embedded.FindFFmpeg(depsDirs()) })
	if ffmpeg.err != nil {
		tb.Fatal(ffmpeg.err)
	}
	return ffmpeg.path, ffmpeg.env
}
