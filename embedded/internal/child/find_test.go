package child

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"hsi.home.arpa/internal/program"
)

// newDir is a folder that the servers' user can enter, unlike t.TempDir for root.
func newDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "hsi-child-") //nolint:usetesting // the servers of root cannot enter a t.TempDir
	require.NoError(t, err)
	require.NoError(t, os.Chmod(dir, 0o755))
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	return dir
}

// fakeProgram writes a program that answers --version, or one that fails for an empty answer.
func fakeProgram(t *testing.T, path, answer string) {
	t.Helper()
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
	script := fmt.Sprintf("#!/bin/sh\necho '%s'\n", answer)
	if answer == "" {
		script = "#!/bin/sh\necho 'libfoo.so.1: cannot open shared object file' >&2\nexit 127\n"
	}
	program.Write(t, path, []byte(script), 0o755)
}

func fakePostgres(t *testing.T, root string, major int) string {
	t.Helper()
	bin := filepath.Join(root, "usr/lib/postgresql", fmt.Sprint(major), "bin")
	fakeProgram(t, filepath.Join(bin, "postgres"), fmt.Sprintf("postgres (PostgreSQL) %d.3 (Debian)", major))
	fakeProgram(t, filepath.Join(bin, "initdb"), "initdb")
	return filepath.Join(bin, "postgres")
}

func TestFinder_Postgres(t *testing.T) {
	t.Parallel()
	root, deps := newDir(t), newDir(t)
	fourteen, fifteen := fakePostgres(t, root, 14), fakePostgres(t, root, 15)
	seventeen := fakePostgres(t, filepath.Join(deps, "postgres"), 17)
	fakePostgres(t, root, 12)
	libraries := filepath.Join(deps, "postgres/usr/lib/x86_64-linux-gnu")
	require.NoError(t, os.MkdirAll(libraries, 0o755))
	finder := Finder{Identity: ChooseIdentity(), SystemRoot: root, Dirs: []string{deps}}

	newest, err := finder.Postgres(0)
	require.NoError(t, err)
	require.Equal(t, seventeen, newest.Server.Path)
	require.Contains(t, newest.Server.LibraryDirs, libraries)
	for want, path := range map[int]string{14: fourteen, 15: fifteen, 17: seventeen, 12: seventeen, 16: seventeen} {
		found, err := finder.Postgres(want)
		require.NoError(t, err)
		require.Equal(t, path, found.Server.Path, "for data of version %d", want)
	}
	finder.Dirs = nil
	found, err := finder.Postgres(0)
	require.NoError(t, err)
	require.Equal(t, Postgres{Server: Program{Path: fifteen}, Major: 15}, found)
}

func TestFinder_PostgresThroughALinkOnThePath(t *testing.T) {
	t.Parallel()
	root, links := newDir(t), newDir(t)
	path := fakePostgres(t, root, 16)
	require.NoError(t, os.Symlink(path, filepath.Join(links, "postgres")))
	found, err := Finder{Identity: ChooseIdentity(), SearchPath: "relative:" + links, SystemRoot: links}.Postgres(0)
	require.NoError(t, err)
	require.Equal(t, path, found.Server.Path, "initdb and the rest are found beside the real program")
}

func TestFinder_MissingSaysWhatToType(t *testing.T) {
	t.Parallel()
	root := newDir(t)
	finder := Finder{Identity: ChooseIdentity(), SystemRoot: root}
	var missing *MissingError
	_, err := finder.Postgres(0)
	require.ErrorAs(t, err, &missing)
	require.Contains(t, err.Error(), "apt-get install postgresql redis-server")
	require.Contains(t, err.Error(), "make deps")
	require.Empty(t, missing.Detail)
	_, err = finder.Redis()
	require.ErrorAs(t, err, &missing)
	require.Equal(t, "redis-server", missing.Program)

	fakePostgres(t, root, 11)
	fakeProgram(t, filepath.Join(root, "usr/bin/redis-server"), "")
	_, err = finder.Postgres(0)
	require.ErrorContains(t, err, "is version 11, needed is 14 or newer")
	_, err = finder.Redis()
	require.ErrorContains(t, err, "libfoo.so.1")
}

func TestFinder_RedisKeepsItsName(t *testing.T) {
	t.Parallel()
	root := newDir(t)
	fakeProgram(t, filepath.Join(root, "usr/bin/redis-check-rdb"), "Redis server v=7")
	link := filepath.Join(root, "usr/bin/redis-server")
	require.NoError(t, os.Symlink("redis-check-rdb", link))
	found, err := Finder{Identity: ChooseIdentity(), SystemRoot: root}.Redis()
	require.NoError(t, err)
	require.Equal(t, link, found.Path, "the program looks at its name to know what it is")
}

func TestFinder_FFmpeg(t *testing.T) {
	t.Parallel()
	deps := newDir(t)
	finder := Finder{Identity: ChooseIdentity(), SystemRoot: newDir(t), Dirs: []string{deps}}
	var missing *MissingError
	_, err := finder.FFmpeg()
	require.ErrorAs(t, err, &missing)
	require.Contains(t, err.Error(), "apt-get install ffmpeg")
	require.Contains(t, err.Error(), "scripts/deps.sh ffmpeg")

	libraries := filepath.Join(deps, "ffmpeg/usr/lib/x86_64-linux-gnu")
	fakeProgram(t, filepath.Join(libraries, "blas/libblas.so.3"), "a library that installed packages reach by a link")
	fakeProgram(t, filepath.Join(libraries, "docs/readme"), "none")
	fakeProgram(t, filepath.Join(deps, "ffmpeg/usr/bin/ffmpeg"), "ffmpeg version 5")
	found, err := finder.FFmpeg()
	require.NoError(t, err)
	require.Equal(t, filepath.Join(deps, "ffmpeg/usr/bin/ffmpeg"), found.Path)
	require.Contains(t, found.LibraryDirs, libraries)
	require.Contains(t, found.LibraryDirs, filepath.Join(libraries, "blas"))
	require.NotContains(t, found.LibraryDirs, filepath.Join(libraries, "docs"))
}
