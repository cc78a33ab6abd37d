package detect_test

import (
	"errors"
	"image"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"hsi.home.arpa/internal/await"
	"hsi.home.arpa/pipeline/aitest"
	"hsi.home.arpa/pipeline/detect"
	"hsi.home.arpa/pipeline/picture"
)

// newRTDETR makes a client that is patient with a busy machine.
func newRTDETR(t *testing.T, url string, change ...func(*detect.RTDETROptions)) *detect.RTDETR {
	t.Helper()
	options := detect.RTDETROptions{
		URL: url, APIKey: "secret", ConnectTimeout: time.Minute, ReadTimeout: time.Minute, OpenFor: 10 * time.Millisecond,
	}
	for _, alter := range change {
		alter(&options)
	}
	d, err := detect.NewRTDETR(options)
	require.NoError(t, err)
	t.Cleanup(d.CloseIdle)
	return d
}

// person is an object of 30 × 60 pixels.
func person(x int) aitest.Detection {
	return aitest.Detection{Class: "person", Confidence: 0.9, Box: aitest.Box{X: x, Y: 20, Width: 30, Height: 60}}
}

func imageOf(t *testing.T, name string, data []byte) *detect.Image {
	t.Helper()
	img, err := detect.NewImage("front", name, time.Now(), data, picture.Limits{}, nil)
	require.NoError(t, err)
	return img
}

func TestRTDETR_SendsTheFileAndReadsTheReply(t *testing.T) {
	t.Parallel()
	server := aitest.NewRTDETR(t)
	d := newRTDETR(t, server.URL())
	data := aitest.Picture(1, person(10), aitest.Detection{Class: "car", Confidence: 0.5125, Box: aitest.Box{X: 100, Y: 90, Width: 120, Height: 80}})
	for name, sent := range map[string]string{
		"snap-01_a.JPG": "snap-01_a.JPG", "a b.jpg": "image.jpeg", "a\"\r\nX: y.jpg": "image.jpeg", "ä.jpg": "image.jpeg", "photo": "image.jpeg",
	} {
		found, err := d.Detect(t.Context(), imageOf(t, name, data))
		require.NoError(t, err)
		require.Equal(t, []detect.Detection{
			{ObjectType: "person", Confidence: 0.9, Box: image.Rect(10, 20, 40, 80)},
			{ObjectType: "car", Confidence: 0.5125, Box: image.Rect(100, 90, 220, 170)},
		}, found)
		calls := server.Calls()
		call := calls[len(calls)-1]
		require.Equal(t, sent, call.FileName)
		require.Equal(t, "image/jpeg", call.ContentType)
		require.Equal(t, "secret", call.APIKey)
		require.Len(t, data, call.Size)
	}
	found, err := d.Detect(t.Context(), imageOf(t, "a.jpg", aitest.Picture(2)))
	require.NoError(t, err)
	require.Empty(t, found)
	_, busy := d.BusySince()
	require.False(t, busy)
}

func TestRTDETR_SaysWhatWentWrong(t *testing.T) {
	t.Parallel()
	const away, bad, unusable = "away", "bad", "unusable"
	box := func(list string) aitest.Behaviour {
		return aitest.RawDetections("box", `[{"class":"person","confidence":0.9,"bbox":`+list+`}]`)
	}
	for name, test := range map[string]struct {
		behaviour aitest.Behaviour
		want      string
	}{
		"503": {aitest.Status(503), away}, "502": {aitest.Status(502), away}, "429": {aitest.Status(429), away}, "401": {aitest.Status(401), away},
		"404": {aitest.Status(404), away}, "405": {aitest.Status(405), away}, "307": {aitest.Status(307), away}, "loading": {aitest.Loading(), away},
		"400": {aitest.Status(400), unusable}, "413": {aitest.Status(413), unusable}, "415": {aitest.Status(415), unusable}, "422": {aitest.Status(422), unusable},
		"500": {aitest.Status(500), bad}, "html": {aitest.HTML(), bad}, "empty": {aitest.Empty(), bad}, "truncated": {aitest.Truncated(), bad},
		"cut": {aitest.Cut(), bad}, "hang": {aitest.Hang(), bad}, "drip": {aitest.Drip(time.Second), bad}, "huge": {aitest.Huge(100 << 20), bad},
		"endless": {aitest.Endless(), bad}, "NaN": {aitest.NaNConfidence(), bad}, "too sure": {aitest.Confidence(1.01), bad},
		"negative confidence": {aitest.Confidence(-0.1), bad}, "no list": {aitest.WithoutDetections(), bad},
		"list is null": {aitest.RawDetections("null", "null"), bad}, "list is a word": {aitest.RawDetections("word", `"none"`), bad},
		"object is null":   {aitest.RawDetections("null object", "[null]"), bad},
		"box outside":      {aitest.BoxAt(aitest.Box{X: 400, Y: 10, Width: 20, Height: 20}), bad},
		"box far outside":  {aitest.BoxAt(aitest.Box{X: -1 << 40, Y: 10, Width: 20, Height: 20}), bad},
		"box without size": {aitest.BoxAt(aitest.Box{X: 10, Y: 10}), bad}, "box inside out": {aitest.BoxAt(aitest.Box{X: 50, Y: 50, Width: -20, Height: -20}), bad},
		"box of three": {box("[1,2,3]"), bad}, "box of words": {box(`["a","b","c","d"]`), bad}, "box is null": {box("null"), bad}, "half a box": {box(`{"x":1,"y":2}`), bad},
		"no class":    {aitest.RawDetections("class", `[{"confidence":0.9,"bbox":[1,2,3,4]}]`), bad},
		"blank class": {aitest.RawDetections("class", `[{"class":" ","confidence":0.9,"bbox":[1,2,3,4]}]`), bad},
		"odd class":   {aitest.RawDetections("class", `[{"class":"per\u0000son","confidence":0.9,"bbox":[1,2,3,4]}]`), bad},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := aitest.NewRTDETR(t)
			server.Script(test.behaviour)
			d := newRTDETR(t, server.URL(), func(o *detect.RTDETROptions) {
				if name == "hang" || name == "drip" { // only a time-out ends these
					o.ConnectTimeout, o.ReadTimeout = time.Second, 100*time.Millisecond
				}
			})
			img := imageOf(t, "a.jpg", aitest.Picture(1, person(10)))
			found, err := d.Detect(t.Context(), img)
			require.Empty(t, found)
			_, isAway := errors.AsType[*detect.Unavailable](err)
			_, isBad := errors.AsType[*detect.BadReply](err)
			_, isUnusable := errors.AsType[*detect.Unusable](err)
			require.Equal(t, test.want == away, isAway, "%v", err)
			require.Equal(t, test.want == bad, isBad, "%v", err)
			require.Equal(t, test.want == unusable, isUnusable, "%v", err)

			await.True(t, func() bool {
				found, err = d.Detect(t.Context(), img)
				return err == nil
			})
			require.Len(t, found, 1)
		})
	}
}

func TestRTDETR_AcceptsTheFormsThatServersSend(t *testing.T) {
	t.Parallel()
	server := aitest.NewRTDETR(t)
	d := newRTDETR(t, server.URL())
	for _, test := range []struct {
		behaviour aitest.Behaviour
		want      image.Rectangle
	}{
		{aitest.BoxAsList(), image.Rect(10, 20, 40, 80)},
		{aitest.BoxAt(aitest.Box{X: -3, Y: -2, Width: 20, Height: 20}), image.Rect(0, 0, 17, 18)},
		{aitest.BoxAt(aitest.Box{X: 310, Y: 170, Width: 50, Height: 50}), image.Rect(310, 170, 320, 180)},
		{aitest.RawDetections("fractions", `[{"class":"Person ","confidence":1,"bbox":[10.4,20.6,0.2,0.1],"track":7}]`), image.Rect(10, 21, 11, 22)},
	} {
		server.SetBehaviour(test.behaviour)
		found, err := d.Detect(t.Context(), imageOf(t, "a.jpg", aitest.Picture(1, person(10))))
		require.NoError(t, err, test.behaviour.Name)
		require.Len(t, found, 1)
		require.Equal(t, "person", found[0].ObjectType)
		require.Equal(t, test.want, found[0].Box, test.behaviour.Name)
	}
}

func TestRTDETR_IsAway(t *testing.T) {
	t.Parallel()
	server := aitest.NewRTDETR(t)
	server.Stop()
	d := newRTDETR(t, server.URL())
	img := imageOf(t, "a.jpg", aitest.Picture(1))
	_, err := d.Detect(t.Context(), img)
	_, isAway := errors.AsType[*detect.Unavailable](err)
	require.True(t, isAway, "%v", err)
	server.Start()
	_, err = d.Detect(t.Context(), img)
	require.NoError(t, err)
}

// Nonsense that goes on and on is the service's fault: it is left alone, and images wait for it.
func TestRTDETR_AfterSeveralBadRepliesTheServiceIsToBlame(t *testing.T) {
	t.Parallel()
	for name, behaviour := range map[string]aitest.Behaviour{
		"html": aitest.HTML(), "500": aitest.Status(500), "loading": aitest.Loading(), "truncated": aitest.Truncated(), "hang": aitest.Hang(),
		"NaN": aitest.NaNConfidence(), "box outside": aitest.BoxAt(aitest.Box{X: 400, Y: 10, Width: 20, Height: 20}),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := aitest.NewRTDETR(t)
			server.SetBehaviour(behaviour)
			client := func(openFor time.Duration) *detect.RTDETR {
				return newRTDETR(t, server.URL(), func(o *detect.RTDETROptions) {
					o.OpenFor = openFor
					if name == "hang" { // only a time-out ends this
						o.ReadTimeout = 50 * time.Millisecond
					}
				})
			}
			d := client(time.Hour)
			img := imageOf(t, "a.jpg", aitest.Picture(1, person(10)))
			for call := range 10 {
				_, err := d.Detect(t.Context(), img)
				_, isAway := errors.AsType[*detect.Unavailable](err)
				require.Equal(t, call >= 3 || name == "loading", isAway, "call %d: %v", call, err)
			}
			require.Len(t, server.Calls(), 4)

			d = client(10 * time.Millisecond)
			for d.Trouble() == "" {
				_, err := d.Detect(t.Context(), img)
				require.Error(t, err)
			}
			server.SetBehaviour(aitest.Behaviour{})
			await.True(t, func() bool {
				found, err := d.Detect(t.Context(), img)
				return err == nil && len(found) == 1
			})
			require.Empty(t, d.Trouble())
		})
	}
}

// An image that the service refuses says nothing against the service.
func TestRTDETR_RefusedImagesDoNotOpenTheBreaker(t *testing.T) {
	t.Parallel()
	server := aitest.NewRTDETR(t)
	server.SetBehaviour(aitest.Status(413))
	d := newRTDETR(t, server.URL())
	for range 10 {
		_, err := d.Detect(t.Context(), imageOf(t, "a.jpg", aitest.Picture(1)))
		_, isUnusable := errors.AsType[*detect.Unusable](err)
		require.True(t, isUnusable, "%v", err)
	}
	require.Len(t, server.Calls(), 10)
	require.Empty(t, d.Trouble())
}
