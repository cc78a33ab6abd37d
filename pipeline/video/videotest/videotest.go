// Package videotest makes videos for tests, with the real ffmpeg.
package videotest

import (
	"cmp"
	"os/exec"
	"testing"

	"hsi.home.arpa/embedded/embeddedtest"
	"hsi.home.arpa/internal/await"
	"hsi.home.arpa/pipeline/video"
)

// Extractor is one with the real ffmpeg. Without ffmpeg the test fails and says what to type.
func Extractor(tb testing.TB, options video.Options) *video.Extractor {
	tb.Helper()
	path, env := embeddedtest.FFmpeg(tb)
	options.Find = func() (string, []string, error) { return path, env, nil }
	options.FrameTimeout = cmp.Or(options.FrameTimeout, await.Limit) // for a busy machine
	return video.New(options)
}

// Make writes a video to path. The arguments say what is in it; see ffmpeg's lavfi sources.
func Make(tb testing.TB, path string, arguments ...string) {
	tb.Helper()
	ffmpeg, env := embeddedtest.FFmpeg(tb)
	cmd := exec.CommandContext(tb.Context(), ffmpeg, append(append([]string{"-nostdin", "-loglevel", "error", "-y"}, arguments...), path)...)
	cmd.Env = env
	if output, err := cmd.CombinedOutput(); err != nil {
		tb.Fatalf("make %s: %v: %s", path, err, output)
	}
}
