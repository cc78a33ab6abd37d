package demo_test

import (
	"context"
	"image"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"hsi.home.arpa/internal/await"
	"hsi.home.arpa/pipeline/demo"
	"hsi.home.arpa/pipeline/picture"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestRun_WritesWholePicturesUntilStopped(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- demo.Run(ctx, demo.Options{Root: root, Seed: 1, Interval: time.Millisecond, Log: slog.New(slog.DiscardHandler)})
	}()
	folder := filepath.Join(root, "demo")
	names := func() []string {
		entries, _ := os.ReadDir(folder)
		var names []string
		for _, entry := range entries {
			if !strings.HasPrefix(entry.Name(), ".") {
				names = append(names, entry.Name())
			}
		}
		return names
	}
	await.True(t, func() bool { return len(names()) >= 3 })
	cancel()
	require.NoError(t, <-done)
	for _, name := range names() {
		data, err := os.ReadFile(filepath.Join(folder, name))
		require.NoError(t, err)
		info, err := picture.VerifyBytes(data, picture.Limits{})
		require.NoError(t, err, name)
		require.Equal(t, picture.JPEG, info.Format)
		require.Equal(t, [2]int{640, 360}, [2]int{info.Width, info.Height})
	}
}

func TestScene_IsTheSameForTheSameSeed(t *testing.T) {
	t.Parallel()
	first, second := demo.Story(7), demo.Story(7)
	require.Equal(t, first.Frame(5), second.Frame(5))
	require.NotEqual(t, demo.Story(7).Frame(5), demo.Story(8).Frame(5))
	require.NotEqual(t, demo.Story(7).Frame(0), demo.Story(7).Frame(1), "noise differs from frame to frame")
}

func TestScene_KnowsWhereItsObjectsAre(t *testing.T) {
	t.Parallel()
	scene := demo.Scene{Width: 100, Height: 50, Objects: []demo.Object{
		{Width: 10, Height: 20, From: 2, Until: 4, X: -5, Y: 10, StepX: 30},
	}}
	require.Empty(t, scene.Boxes(1))
	require.Equal(t, []image.Rectangle{image.Rect(0, 10, 5, 30)}, scene.Boxes(2), "clipped to the image")
	require.Equal(t, []image.Rectangle{image.Rect(25, 10, 35, 30)}, scene.Boxes(3))
	require.Empty(t, scene.Boxes(4))
}
