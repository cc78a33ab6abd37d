package detect

import (
	"image"
	"testing"

	"github.com/stretchr/testify/require"
)

func FuzzParseReply(f *testing.F) {
	for _, reply := range []string{
		`{"detections":[{"class":"person","confidence":0.9,"bbox":{"x":1,"y":2,"width":3,"height":4}}],"inference_time_ms":1,"image_width":320,"image_height":180}`,
		`{"detections":[{"class":"car","confidence":1,"bbox":[1,2,3,4]}]}`,
		`{"detections":[]}`, `{}`, `null`, `<html>`,
		`{"detections":[{"class":"person","confidence":0.9,"bbox":[1e308,-1e308,1e308,1e308]}]}`,
		`{"detections":[{"class":"person","confidence":NaN,"bbox":[1,2,3,4]}]}`,
	} {
		f.Add([]byte(reply))
	}
	bounds := image.Rect(0, 0, 320, 180)
	f.Fuzz(func(t *testing.T, data []byte) {
		found, err := parseReply(data, bounds)
		if err != nil {
			require.Empty(t, found)
			return
		}
		for _, d := range found {
			require.NotEmpty(t, d.ObjectType)
			require.GreaterOrEqual(t, d.Confidence, 0.0)
			require.LessOrEqual(t, d.Confidence, 1.0)
			require.False(t, d.Box.Empty())
			require.True(t, d.Box.In(bounds))
		}
	})
}

func TestRetryDelay(t *testing.T) {
	t.Parallel()
	require.Equal(t, firstRetry, retryDelay(0))
	require.Equal(t, firstRetry, retryDelay(1))
	require.Equal(t, 4*firstRetry, retryDelay(3))
	require.Equal(t, longestRetry, retryDelay(9))
	require.Equal(t, longestRetry, retryDelay(1000))
}

func TestSelectDetections(t *testing.T) {
	t.Parallel()
	list := []Detection{{ObjectType: "a", Confidence: 0.5}, {ObjectType: "b", Confidence: 0.9}, {ObjectType: "c", Confidence: 0.49}}
	kept := selectDetections(list, 0.5)
	require.Equal(t, []Detection{{ObjectType: "b", Confidence: 0.9}, {ObjectType: "a", Confidence: 0.5}}, kept, "at the threshold is kept")
	require.Equal(t, "a", list[0].ObjectType, "the detector's list is left alone")
	require.Len(t, selectDetections(make([]Detection, 500), 0), maxDetections)
}
