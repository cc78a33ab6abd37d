package analyze

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// What is wrong with a verdict is told wherever it stands; none of these may become a score that
// nobody gave.
func TestParseVerdict_WrongOneInsideAnother(t *testing.T) {
	t.Parallel()
	for _, inner := range []string{
		`{"risk_score": 101, "summary": "s"}`, `{"risk_score": -1, "summary": "s"}`, `{"risk_score": null, "summary": "s"}`,
		`{"risk_score": "high", "summary": "s"}`, `{"risk_score": 40}`, `{"risk_score": 40, "summary": " "}`,
	} {
		for _, reply := range []string{inner, `{"assessment": ` + inner + `}`, `{"a": {"b": ` + inner + `}}`, `{"a": {"x": 1}, "b": ` + inner + `}`} {
			_, err := parseVerdict(reply)
			require.Error(t, err, reply)
		}
	}
	verdict, err := parseVerdict(`{"a": {"x": 1}, "b": {"risk_score": 100, "summary": "s"}}`)
	require.NoError(t, err)
	require.Equal(t, 100, verdict.RiskScore)
}

func TestNewNemotron_Limit(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ read, limit time.Duration }{{0, 130 * time.Second}, {time.Second, 11 * time.Second}} {
		n, err := NewNemotron(NemotronOptions{URL: "http://nemotron", ReadTimeout: test.read})
		require.NoError(t, err)
		require.Equal(t, test.limit, n.Limit())
	}
}
