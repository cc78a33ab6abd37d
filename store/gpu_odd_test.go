package store_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"hsi.home.arpa/store/storetest"
)

// History of other programs may hold rows that no card can have measured: they must neither be
// shown nor break the list.
func TestListGPUSamples_OddRows(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	storetest.Exec(t, db, `INSERT INTO gpu_stats (recorded_at, gpu_utilization, memory_used, memory_total, temperature, power_usage, inference_fps) VALUES
		('2026-01-01 00:00:01Z', 'NaN', -5, 24000, 'Infinity', '-Infinity', -1),
		('2026-01-01 00:00:02Z', 150, 1, -1, 'NaN', -0.5, 'Infinity'),
		('2026-01-01 00:00:03Z', 100, 0, 0, -40, 0, 0),
		('infinity', 1, 1, 1, 1, 1, 1), ('-infinity', 1, 1, 1, 1, 1, 1), ('20000-01-01 00:00:00Z', 1, 1, 1, 1, 1, 1)`)
	samples, err := db.ListGPUSamples(t.Context(), nil, 10)
	require.NoError(t, err)
	require.Len(t, samples, 3)
	for _, s := range samples[:2] {
		require.Nil(t, s.UtilizationPercent)
		require.Nil(t, s.TemperatureCelsius)
		require.Nil(t, s.PowerWatts)
		require.Nil(t, s.InferenceFPS)
	}
	require.Nil(t, samples[0].MemoryUsedMiB)
	require.EqualValues(t, 24000, *samples[0].MemoryTotalMiB)
	require.Nil(t, samples[1].MemoryTotalMiB)
	require.InDelta(t, 100, *samples[2].UtilizationPercent, 0)
	require.InDelta(t, -40, *samples[2].TemperatureCelsius, 0)
	require.NotNil(t, samples[2].InferenceFPS, "0 is a value")
}
