package storetest_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"hsi.home.arpa/embedded/embeddedtest"
	"hsi.home.arpa/store"
	"hsi.home.arpa/store/storetest"
)

func TestMain(m *testing.M) { embeddedtest.Main(m) }

func TestNew_EachTestHasItsOwn(t *testing.T) {
	t.Parallel()
	first, second := storetest.New(t), storetest.New(t)
	require.NoError(t, first.EnsureCamera(t.Context(), store.Camera{ID: "a", Name: "A", FolderPath: "/a"}))
	counts, err := second.Counts(t.Context())
	require.NoError(t, err)
	require.Zero(t, counts)
	require.Equal(t, 1, storetest.QueryOne[int](t, first, `SELECT count(*) FROM cameras`))
	require.NotEqual(t, "UTC", storetest.QueryOne[string](t, first, `SELECT current_setting('TimeZone')`))
}

func BenchmarkNew(b *testing.B) {
	for b.Loop() {
		storetest.NewURL(b)
	}
}
