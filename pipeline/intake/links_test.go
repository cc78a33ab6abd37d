package intake_test

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"hsi.home.arpa/internal/await"
	"hsi.home.arpa/internal/logtest"
)

func TestWatcher_TellsAboutLinksThatItDoesNotFollow(t *testing.T) {
	t.Parallel()
	bothModes(t, func(t *testing.T, f *fixture) {
		t.Helper()
		book := &logtest.Output{}
		f.options.Log = slog.New(slog.NewTextHandler(book, nil))
		f.options.ScanInterval = 100 * time.Millisecond
		elsewhere := t.TempDir()
		require.NoError(t, os.WriteFile(filepath.Join(elsewhere, "a.jpg"), picture(t, 1), 0o600))
		require.NoError(t, os.Symlink(elsewhere, filepath.Join(f.root, "front")))
		f.start()
		says := func(want string) {
			t.Helper()
			await.True(t, func() bool { return strings.Contains(f.alive.says(), want) })
		}
		says("front is a link to a folder and is not followed")
		require.NotContains(t, f.alive.says(), elsewhere)
		require.NotContains(t, f.alive.says(), f.root)

		f.write("back/b.jpg", picture(t, 2))
		require.NoError(t, os.Symlink(elsewhere, filepath.Join(f.root, "back", "day")))
		says("(and 1 more)")
		require.NoError(t, os.Symlink("/nowhere/at/all.jpg", filepath.Join(f.root, "back", "dangling.jpg")))
		await.True(t, func() bool { return book.Count("link to a file that is not there") > 0 })
		f.expect("back back/b.jpg seen")
		scans := f.ledger.scans.Load()
		await.True(t, func() bool { return f.ledger.scans.Load() > scans+5 })
		require.Equal(t, 2, book.Count("link to a folder is not followed"), "each is told once")
		require.Equal(t, 1, book.Count("link to a file that is not there"))

		require.NoError(t, os.Remove(filepath.Join(f.root, "front")))
		require.NoError(t, os.Remove(filepath.Join(f.root, "back", "day")))
		await.True(t, func() bool { return f.alive.says() == "" })
	})
}

// TestWatcher_TheRootMayBeALink: only what lies below it must be folders.
func TestWatcher_TheRootMayBeALink(t *testing.T) {
	t.Parallel()
	f := setup(t, false)
	link := f.root + ".link"
	require.NoError(t, os.Symlink(f.root, link))
	f.options.Root, f.root = link, link
	f.start()
	f.write("front/a.jpg", picture(t, 1))
	f.expect("front front/a.jpg seen")
	f.write("front/day/b.jpg", picture(t, 2))
	f.expect("front front/a.jpg seen", "front front/day/b.jpg seen")
}
