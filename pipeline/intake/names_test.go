package intake_test

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"hsi.home.arpa/pipeline/intake"
)

func TestCameraID(t *testing.T) {
	t.Parallel()
	tests := map[string]string{
		"front":             "front",
		"Front Door":        "front_door",
		"front-door":        "front_door",
		"  Front -- Door  ": "front_door",
		"__Garage__":        "garage",
		"Cam#1 (west)":      "cam1_west",
		"Küche":             "küche",
		"a.b.c":             "abc",
		"2nd floor":         "2nd_floor",
		"front\xffdoor":     "frontdoor",
		"Tür\tzum\u00a0Hof": "tür_zum_hof",
	}
	for folder, want := range tests {
		require.Equal(t, want, intake.CameraID(folder), folder)
	}
	require.Regexp(t, "^camera_[0-9a-f]{8}$", intake.CameraID("!!!"))
	require.NotEqual(t, intake.CameraID("!!!"), intake.CameraID("???"))
}

func FuzzCameraID(f *testing.F) {
	f.Add("Front Door")
	f.Add("\xff")
	f.Fuzz(func(t *testing.T, folder string) {
		id := intake.CameraID(folder)
		require.NotEmpty(t, id)
		require.True(t, utf8.ValidString(id))
		require.Equal(t, id, intake.CameraID(folder))
		require.Equal(t, id, intake.CameraID(id), "an id is its own")
		require.Equal(t, -1, strings.IndexFunc(id, func(r rune) bool { return r != '_' && !unicode.IsLetter(r) && !unicode.IsDigit(r) }))
	})
}
