package store_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"hsi.home.arpa/store"
	"hsi.home.arpa/store/storetest"
)

func TestGPUSamples(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	samples, err := db.ListGPUSamples(t.Context(), nil, 10)
	require.NoError(t, err)
	require.NotNil(t, samples)
	require.Empty(t, samples)

	full := store.GPUSample{
		RecordedAt: base(), GPUName: new("card"), UtilizationPercent: new(75.5), MemoryUsedMiB: new(int64(12000)),
		MemoryTotalMiB: new(int64(24000)), TemperatureCelsius: new(65.0), PowerWatts: new(150.25), InferenceFPS: new(0.1),
		Host: new("box"), GPUUUID: new("GPU-1"),
	}
	require.NoError(t, db.InsertGPUSample(t.Context(), full))
	unknown := store.GPUSample{RecordedAt: base().Add(time.Second)}
	require.NoError(t, db.InsertGPUSample(t.Context(), unknown))
	same := store.GPUSample{RecordedAt: base().Add(time.Second), GPUName: new("second in the same microsecond")}
	require.NoError(t, db.InsertGPUSample(t.Context(), same))

	samples, err = db.ListGPUSamples(t.Context(), nil, 10)
	require.NoError(t, err)
	require.Equal(t, []store.GPUSample{full, unknown, same}, samples, "oldest first, unknown stays unknown, in UTC")
	samples, err = db.ListGPUSamples(t.Context(), nil, 1)
	require.NoError(t, err)
	require.Equal(t, []store.GPUSample{same}, samples, "the newest ones")

	for name, test := range map[string]struct {
		since time.Time
		want  int
	}{
		"inclusive":           {base(), 3},
		"in another zone":     {base().In(time.FixedZone("x", -12600)), 3},
		"a nanosecond later":  {base().Add(1), 2},
		"a microsecond later": {base().Add(time.Microsecond), 2},
		"future":              {base().Add(time.Hour), 0},
		"very long ago":       {time.Unix(-1<<60, 0), 3},
		"very far ahead":      {time.Unix(1<<60, 0), 0},
	} {
		samples, err := db.ListGPUSamples(t.Context(), &test.since, 10)
		require.NoError(t, err, name)
		require.Len(t, samples, test.want, name)
	}
}
