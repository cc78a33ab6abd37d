package analyze_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"hsi.home.arpa/pipeline/analyze"
)

func TestRules_Table(t *testing.T) {
	t.Parallel()
	noon := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	at := func(hour, minute int) time.Time { return time.Date(2026, 11, 23, hour, minute, 0, 0, time.UTC) }
	objects := func(start time.Time, lasted time.Duration, perImage int, types ...string) []analyze.Object {
		var list []analyze.Object
		for image, when := range []time.Time{start, start.Add(lasted)} {
			for n := range perImage {
				list = append(list, analyze.Object{At: when, Image: int64(image), Type: types[n%len(types)], Confidence: 0.8})
			}
		}
		return list
	}
	tests := map[string]struct {
		objects []analyze.Object
		want    int
	}{
		"motion for a moment":      {objects(noon, 0, 1, "motion"), 15},
		"person for a moment":      {objects(noon, 0, 1, "person"), 35},
		"car":                      {objects(noon, 0, 1, "car"), 20},
		"truck":                    {objects(noon, 0, 1, "truck"), 25},
		"bicycle":                  {objects(noon, 0, 1, "bicycle"), 18},
		"dog":                      {objects(noon, 0, 1, "dog"), 10},
		"cat":                      {objects(noon, 0, 1, "cat"), 5},
		"something unheard of":     {objects(noon, 0, 1, "drone"), 15},
		"cat and person":           {objects(noon, 0, 2, "cat", "person"), 40},
		"two":                      {objects(noon, 0, 2, "person"), 40},
		"three":                    {objects(noon, 0, 3, "person"), 45},
		"four":                     {objects(noon, 0, 4, "person"), 50},
		"crowd":                    {objects(noon, 0, 9, "person"), 50},
		"just under ten seconds":   {objects(noon, 10*time.Second-1, 1, "person"), 35},
		"ten seconds":              {objects(noon, 10*time.Second, 1, "person"), 40},
		"half a minute":            {objects(noon, 30*time.Second, 1, "person"), 45},
		"a minute":                 {objects(noon, time.Minute, 1, "person"), 50},
		"before the night":         {objects(at(21, 59), 0, 1, "person"), 35},
		"night begins":             {objects(at(22, 0), 0, 1, "person"), 55},
		"deep night":               {objects(at(3, 0), 0, 1, "person"), 55},
		"last minute of the night": {objects(at(5, 59), 0, 1, "person"), 55},
		"night is over":            {objects(at(6, 0), 0, 1, "person"), 35},
		"the worst":                {objects(at(2, 0), time.Hour, 5, "person"), 85},
	}
	for name, test := range tests {
		rules := analyze.NewRules(time.UTC)
		scene := analyze.Scene{
			CameraName: "front", StartedAt: test.objects[0].At, EndedAt: test.objects[len(test.objects)-1].At, Objects: test.objects,
		}
		verdict, err := rules.Analyze(t.Context(), scene)
		require.NoError(t, err)
		require.Equal(t, test.want, verdict.RiskScore, name)
		require.Contains(t, verdict.Summary, "front")
		require.Contains(t, verdict.Reasoning, "Built-in rules, no AI model")
		again, err := rules.Analyze(t.Context(), scene)
		require.NoError(t, err)
		require.Equal(t, verdict, again)
	}
}

func TestRules_HourIsThatOfTheCameras(t *testing.T) {
	t.Parallel()
	noon := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	scene := analyze.Scene{CameraName: "front", StartedAt: noon, EndedAt: noon, Objects: []analyze.Object{{At: noon, Type: "person"}}}
	verdict, err := analyze.NewRules(time.FixedZone("far east", 11*3600)).Analyze(t.Context(), scene)
	require.NoError(t, err)
	require.Equal(t, 55, verdict.RiskScore)
	require.Equal(t, "Person on camera front: up to 1 object at once over a moment, at 23:00", verdict.Summary)
}
