package detect_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"image/jpeg"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"hsi.home.arpa/pipeline/demo"
	"hsi.home.arpa/pipeline/detect"
	"hsi.home.arpa/pipeline/picture"
)

var startedAt = time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)

func toImage(tb testing.TB, camera string, pixels image.Image, quality int, takenAt time.Time) *detect.Image {
	tb.Helper()
	var buffer bytes.Buffer
	require.NoError(tb, jpeg.Encode(&buffer, pixels, &jpeg.Options{Quality: quality}))
	img, err := detect.NewImage(camera, "a.jpg", takenAt, buffer.Bytes(), picture.Limits{}, nil)
	require.NoError(tb, err)
	return img
}

func TestMotion_ACallThatEndsIsNotTheImagesFault(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := detect.NewMotion().Detect(ctx, toImage(t, "front", image.NewGray(image.Rect(0, 0, 8, 8)), 90, startedAt))
	require.ErrorIs(t, err, context.Canceled)
	_, unusable := errors.AsType[*detect.Unusable](err)
	require.False(t, unusable)
}

// labelled is a generated scene of which it is known what every image shows.
type labelled struct {
	scene    demo.Scene
	frames   int
	quality  int           // of JPEG
	interval time.Duration // between images
	invented int           // how many objects may be found that are not there
}

func walker(from, until int) demo.Object {
	return demo.Object{Width: 44, Height: 110, Luma: 235, From: from, Until: until, X: -20, Y: 150, StepX: 25}
}

// labelledScenes is the set on which precision and recall are measured.
func labelledScenes() map[string]labelled {
	flash := func(at int, factor float64) func(int) float64 {
		return func(frame int) float64 {
			if frame == at {
				return factor
			}
			return 1
		}
	}
	scenes := map[string]labelled{
		"walker":       {scene: demo.Scene{Noise: 2, Objects: []demo.Object{walker(5, 25)}}},
		"dark walker":  {scene: demo.Scene{Noise: 2, Objects: []demo.Object{{Width: 44, Height: 110, Luma: 20, From: 5, Until: 25, X: 600, Y: 150, StepX: -25}}}},
		"faint walker": {scene: demo.Scene{Noise: 2, Objects: []demo.Object{{Width: 50, Height: 120, Luma: 150, From: 5, Until: 25, X: 0, Y: 40, StepX: 22}}}},
		"small walker": {scene: demo.Scene{Noise: 2, Objects: []demo.Object{{Width: 18, Height: 44, Luma: 235, From: 5, Until: 25, X: 100, Y: 100, StepX: 20}}}},
		"two at once": {scene: demo.Scene{Noise: 2, Objects: []demo.Object{
			walker(5, 25),
			{Width: 120, Height: 70, Luma: 30, From: 8, Until: 20, X: 560, Y: 280, StepX: -40},
		}}},
		"walker in noise":       {scene: demo.Scene{Noise: 12, Objects: []demo.Object{walker(8, 28)}}},
		"walker, hard JPEG":     {scene: demo.Scene{Noise: 4, Objects: []demo.Object{walker(8, 28)}}, quality: 20},
		"walker as light fades": {scene: demo.Scene{Noise: 2, Objects: []demo.Object{walker(5, 25)}, Light: func(f int) float64 { return 1 - 0.012*float64(f) }}},
		"walker after a cloud":  {scene: demo.Scene{Noise: 2, Objects: []demo.Object{walker(10, 30)}, Light: func(f int) float64 { return 1 - 0.35*min(1, float64(f)/8) }}},
		"there from the start":  {scene: demo.Scene{Noise: 2, Objects: []demo.Object{{Width: 44, Height: 110, Luma: 235, From: 0, Until: 22, X: 60, Y: 150, StepX: 25}}}, invented: 2}, // its place in the first image
		"nothing":               {scene: demo.Scene{Noise: 2}},
		"nothing, noisy":        {scene: demo.Scene{Noise: 14}},
		"nothing, hard JPEG":    {scene: demo.Scene{Noise: 5}, quality: 10},
		"light flickers":        {scene: demo.Scene{Noise: 2, Light: func(f int) float64 { return 1 + 0.15*math.Sin(float64(f)*2.1) }}},
		"one flash":             {scene: demo.Scene{Noise: 2, Light: flash(12, 1.9)}},
		"one dark image":        {scene: demo.Scene{Noise: 2, Light: flash(12, 0.1)}},
		"lights off":            {scene: demo.Scene{Noise: 2, Light: func(f int) float64 { return map[bool]float64{true: 1, false: 0.3}[f < 15] }}},
		"flicker in one image":  {scene: demo.Scene{Noise: 2, Objects: []demo.Object{{Width: 80, Height: 60, Luma: 250, From: 12, Until: 13, X: 200, Y: 100}}}},
		"flicker now and then":  {scene: demo.Scene{Noise: 2, Objects: []demo.Object{{Width: 80, Height: 60, Luma: 250, From: 9, Until: 10, X: 200, Y: 100}, {Width: 60, Height: 60, Luma: 10, From: 14, Until: 15, X: 400, Y: 200}, {Width: 80, Height: 60, Luma: 250, From: 20, Until: 21, X: 200, Y: 100}}}},
		"alarm pictures":        {scene: demo.Scene{Noise: 2, Objects: []demo.Object{walker(6, 9), walker(15, 17), walker(24, 25)}}, interval: 5 * time.Minute},
		"small camera":          {scene: demo.Scene{Width: 160, Height: 120, Noise: 2, Objects: []demo.Object{{Width: 16, Height: 40, Luma: 235, From: 5, Until: 20, X: 0, Y: 50, StepX: 9}}}},
		"large camera":          {scene: demo.Scene{Width: 960, Height: 540, Noise: 3, Objects: []demo.Object{{Width: 60, Height: 150, Luma: 235, From: 4, Until: 11, X: 0, Y: 200, StepX: 90}}}, frames: 12},
	}
	seed := uint64(1)
	for name, l := range scenes {
		if l.scene.Width == 0 {
			l.scene.Width, l.scene.Height = 320, 180
			for i := range l.scene.Objects { // written down for twice the size
				o := &l.scene.Objects[i]
				o.Width, o.Height, o.X, o.Y, o.StepX, o.StepY = o.Width/2, o.Height/2, o.X/2, o.Y/2, o.StepX/2, o.StepY/2
			}
		}
		if l.frames == 0 {
			l.frames = 32
		}
		if l.quality == 0 {
			l.quality = 80
		}
		if l.interval == 0 {
			l.interval = time.Second
		}
		l.scene.Seed = seed
		seed++
		scenes[name] = l
	}
	return scenes
}

// tally counts objects found, missed and invented.
type tally struct{ found, missed, invented int }

func (t tally) precision() float64 { return share(t.found, t.found+t.invented) }
func (t tally) recall() float64    { return share(t.found, t.found+t.missed) }

func share(part, whole int) float64 {
	if whole == 0 {
		return 1
	}
	return float64(part) / float64(whole)
}

// overlap is intersection over union.
func overlap(a, b image.Rectangle) float64 {
	area := func(r image.Rectangle) float64 { return float64(r.Dx() * r.Dy()) }
	both := area(a.Intersect(b))
	return both / (area(a) + area(b) - both)
}

// measure runs a scene through a fresh detector.
func measure(t *testing.T, l labelled) (result tally) {
	t.Helper()
	motion := detect.NewMotion()
	for frame := range l.frames {
		img := toImage(t, "front", l.scene.Frame(frame), l.quality, startedAt.Add(time.Duration(frame)*l.interval))
		detections, err := motion.Detect(t.Context(), img)
		require.NoError(t, err)
		shown := l.scene.Boxes(frame)
		// An object that is only just coming in or that appeared in this very image need not be
		// found, but may be.
		due := slices.DeleteFunc(slices.Clone(shown), func(box image.Rectangle) bool {
			return box.Dx()*box.Dy() < 100 || (l.interval < 15*time.Second && !slices.ContainsFunc(l.scene.Boxes(frame-1), func(before image.Rectangle) bool {
				return before.Dx()*before.Dy() >= 100
			}))
		})
		for _, d := range detections {
			require.True(t, d.Box.In(image.Rect(0, 0, l.scene.Width, l.scene.Height)), "%v", d.Box)
			require.GreaterOrEqual(t, d.Confidence, 0.5)
			require.Less(t, d.Confidence, 1.0)
			if !slices.ContainsFunc(shown, func(box image.Rectangle) bool { return overlap(box, d.Box) > 0.2 }) {
				result.invented++
			}
		}
		for _, box := range due {
			if slices.ContainsFunc(detections, func(d detect.Detection) bool { return overlap(box, d.Box) > 0.2 }) {
				result.found++
			} else {
				result.missed++
			}
		}
	}
	return result
}

func TestMotion_IsDeterministic(t *testing.T) {
	t.Parallel()
	l := labelledScenes()["two at once"]
	var runs [2][]detect.Detection
	for i := range runs {
		motion := detect.NewMotion()
		for frame := range 20 {
			found, err := motion.Detect(t.Context(), toImage(t, "front", l.scene.Frame(frame), l.quality, startedAt.Add(time.Duration(frame)*time.Second)))
			require.NoError(t, err)
			runs[i] = append(runs[i], found...)
		}
	}
	require.NotEmpty(t, runs[0])
	require.Equal(t, runs[0], runs[1])
}

func TestMotion_KeepsCamerasApart(t *testing.T) {
	t.Parallel()
	motion := detect.NewMotion()
	dark, bright := image.NewGray(image.Rect(0, 0, 64, 48)), image.NewGray(image.Rect(0, 0, 64, 48))
	for i := range bright.Pix {
		bright.Pix[i] = 220
	}
	for n := range 6 {
		at := startedAt.Add(time.Duration(n) * time.Second)
		for camera, img := range map[string]image.Image{"dark": dark, "bright": bright} {
			found, err := motion.Detect(t.Context(), toImage(t, camera, img, 90, at))
			require.NoError(t, err)
			require.Empty(t, found)
		}
	}
}

func TestMotion_AnotherSizeIsAnotherScene(t *testing.T) {
	t.Parallel()
	motion := detect.NewMotion()
	for n, size := range []image.Point{{320, 180}, {1, 1}, {640, 2}, {2, 640}, {131, 97}, {320, 180}} {
		img := image.NewGray(image.Rectangle{Max: size})
		for i := range img.Pix {
			img.Pix[i] = uint8(n * 40)
		}
		found, err := motion.Detect(t.Context(), toImage(t, "front", img, 90, startedAt))
		require.NoError(t, err)
		require.Empty(t, found)
	}
}

func TestMotion_ForgetsTheCameraUnseenForLongest(t *testing.T) {
	t.Parallel()
	motion := detect.NewMotion()
	small := image.NewGray(image.Rect(0, 0, 8, 8))
	for n := range 1500 {
		_, err := motion.Detect(t.Context(), toImage(t, fmt.Sprint("camera ", n), small, 90, startedAt))
		require.NoError(t, err)
	}
	require.Equal(t, 512, detect.Scenes(motion))
}

func TestMotion_AnImageThatCannotBeDecoded(t *testing.T) {
	t.Parallel()
	img := toImage(t, "front", image.NewGray(image.Rect(0, 0, 64, 64)), 90, startedAt)
	img.Data = slices.Clone(img.Data[:len(img.Data)/2])
	_, err := detect.NewMotion().Detect(t.Context(), img)
	_, unusable := errors.AsType[*detect.Unusable](err)
	require.True(t, unusable, "%v", err)
}

func BenchmarkMotion640x360(b *testing.B) {
	scene := demo.Story(1)
	var images []*detect.Image
	for frame := range 16 {
		images = append(images, toImage(b, "front", scene.Frame(frame), 85, startedAt.Add(time.Duration(frame)*time.Second)))
	}
	motion := detect.NewMotion()
	for n := 0; b.Loop(); n++ {
		img := *images[n%len(images)] // decoded anew each time
		if _, err := motion.Detect(b.Context(), &img); err != nil {
			b.Fatal(err)
		}
	}
}

// An image is asked again when its result could not be stored. It must not confirm itself.
func TestMotion_TheSameImageAgain(t *testing.T) {
	t.Parallel()
	once, often, confirmedSome := detect.NewMotion(), detect.NewMotion(), false
	for _, l := range []labelled{labelledScenes()["flicker in one image"], labelledScenes()["walker"], labelledScenes()["one flash"]} {
		camera := fmt.Sprint(l.scene.Seed)
		for frame := range l.frames {
			img := toImage(t, camera, l.scene.Frame(frame), l.quality, startedAt.Add(time.Duration(frame)*l.interval))
			want, err := once.Detect(t.Context(), img)
			require.NoError(t, err)
			confirmedSome = confirmedSome || len(want) > 0
			for range 3 {
				got, err := often.Detect(t.Context(), img)
				require.NoError(t, err)
				require.Equal(t, want, got, "camera %s, image %d", camera, frame)
			}
		}
	}
	require.True(t, confirmedSome)
}
