package embeddedtest

import (
	"testing"

	"hsi.home.arpa/embedded"
)

// FFmpeg returns ffmpeg and its environment. Without it the test fails and says what to type.
func FFmpeg(tb testing.TB) (path string, env []string) {
	tb.Helper()
	path, env, err := embedded.FindFFmpeg(depsDirs())
	if err != nil {
		tb.Fatal(err)
	}
	return path, env
}
