package store_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"hsi.home.arpa/store"
)

func TestSeverityThresholds_Level(t *testing.T) {
	t.Parallel()
	thresholds := store.DefaultSeverityThresholds()
	for score, want := range map[int]store.Severity{
		-1: store.SeverityLow, 0: store.SeverityLow, 29: store.SeverityLow,
		30: store.SeverityMedium, 59: store.SeverityMedium,
		60: store.SeverityHigh, 84: store.SeverityHigh,
		85: store.SeverityCritical, 100: store.SeverityCritical, 101: store.SeverityCritical,
	} {
		require.Equal(t, want, thresholds.Level(score), "score %d", score)
	}
}

func TestSeverityThresholds_DefinitionsAgreeWithLevel(t *testing.T) {
	t.Parallel()
	for _, thresholds := range []store.SeverityThresholds{
		store.DefaultSeverityThresholds(),
		{LowMax: 0, MediumMax: 1, HighMax: 2},
		{LowMax: 97, MediumMax: 98, HighMax: 99},
	} {
		require.NoError(t, thresholds.Validate())
		next := 0
		for _, definition := range thresholds.Definitions() {
			require.Equal(t, next, definition.MinScore)
			require.LessOrEqual(t, definition.MinScore, definition.MaxScore)
			for score := definition.MinScore; score <= definition.MaxScore; score++ {
				require.Equal(t, definition.Severity, thresholds.Level(score))
			}
			next = definition.MaxScore + 1
		}
		require.Equal(t, 101, next)
	}
}

func TestSeverityThresholds_Validate(t *testing.T) {
	t.Parallel()
	for name, bad := range map[string]store.SeverityThresholds{
		"negative":      {LowMax: -1, MediumMax: 59, HighMax: 84},
		"equal":         {LowMax: 29, MediumMax: 29, HighMax: 84},
		"falling":       {LowMax: 29, MediumMax: 90, HighMax: 84},
		"no critical":   {LowMax: 29, MediumMax: 59, HighMax: 100},
		"out of bounds": {LowMax: 29, MediumMax: 59, HighMax: 101},
	} {
		require.Error(t, bad.Validate(), name)
	}
	// Every problem is named, not only the first.
	err := store.SeverityThresholds{LowMax: -1, MediumMax: -1, HighMax: 100}.Validate()
	require.ErrorContains(t, err, "SEVERITY_LOW_MAX")
	require.ErrorContains(t, err, "SEVERITY_MEDIUM_MAX")
	require.ErrorContains(t, err, "SEVERITY_HIGH_MAX")
}
