package web_test

import (
	"io/fs"
	"testing"

	"github.com/stretchr/testify/require"

	"hsi.home.arpa/web"
)

func TestFiles_AlwaysHasAPage(t *testing.T) {
	t.Parallel()
	files, built := web.Files()
	page, err := fs.ReadFile(files, "index.html")
	require.NoError(t, err)
	if built {
		require.Contains(t, string(page), "assets/")
		return
	}
	require.Contains(t, string(page), "make web", "without the dashboard the page says how to get it")
}
