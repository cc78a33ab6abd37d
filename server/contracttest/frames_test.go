package contracttest

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestCheckFrames(t *testing.T) {
	t.Parallel()
	check := func(text string) error { return CheckFrames("streamEvents", text) }
	require.NoError(t, check("retry: 5\nid: a-1\n\n: still here\n\nevent: events_removed\nid: a-2\ndata: {\"ids\":[1]}\n\n"))
	for text, want := range map[string]string{
		"event: events_removed\ndata: {\"ids\":[1]}\n\n":                "has the id",
		"event: lagged\nid: a-1\ndata: {\"behind\":1}\n\n":              "has the id",
		"event: lagged\ndata: {\"behind\":0}\n\n":                       "at least 1",
		"event: lagged\ndata: {\"behind\":1,\"x\":1}\n\n":               "unsupported",
		"event: lagged\ndata: {\n\n":                                    "unexpected end",
		"event: other\ndata: {}\n\n":                                    `kind "other"`,
		"data: {}\n\n":                                                  `kind ""`,
		"event: lagged\ndata: {\"behind\":1}":                           "cut off",
		"event: lagged\ndata: {\"behind\":1}\ndata: {\"behind\":1}\n\n": "twice",
		"nonsense\n\n": "without colon",
	} {
		require.ErrorContains(t, check(text), want, text)
	}
	require.Error(t, CheckFrames("nothing", ""))
}
