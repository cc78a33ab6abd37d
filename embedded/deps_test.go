package embedded_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	osexec "os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"hsi.home.arpa/embedded/internal/child"
	"hsi.home.arpa/internal/program"
)

// runDepsScript runs scripts/deps.sh and returns what it printed.
func runDepsScript(t *testing.T, names []string, env ...string) (string, error) {
	t.Helper()
	args := append([]string{filepath.Join("..", "scripts", "deps.sh")}, names...)
	cmd := osexec.CommandContext(t.Context(), "/bin/bash", args...)
	cmd.Env = append(os.Environ(), env...)
	output, err := cmd.CombinedOutput()
	return string(output), err
}

// newDepsDir is a folder in which the servers' user can start programs, unlike t.TempDir for root
// and often /dev/shm.
func newDepsDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "hsi-deps-") //nolint:usetesting // see above
	require.NoError(t, err)
	require.NoError(t, os.Chmod(dir, 0o755))
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	return dir
}

func TestDepsScript_IsSilentWhenNothingIsMissing(t *testing.T) {
	t.Parallel()
	for _, names := range [][]string{nil, {"postgres", "redis", "ffmpeg"}} {
		output, err := runDepsScript(t, names, "DEPS_DIR="+depsDir())
		require.NoError(t, err, output)
		require.Empty(t, output)
	}
}

func TestDepsScript_KnowsWhatItCanFetch(t *testing.T) {
	t.Parallel()
	output, err := runDepsScript(t, []string{"emacs"})
	require.Error(t, err)
	require.Contains(t, output, "no such program: emacs")
}

func TestDepsScript_SaysWhatToDoWhereItCannotFetch(t *testing.T) {
	t.Parallel()
	tools := t.TempDir() // a system without apt
	for _, tool := range []string{"bash", "dirname", "basename", "id", "readlink", "sed", "setpriv"} {
		path, err := osexec.LookPath(tool)
		require.NoError(t, err)
		require.NoError(t, os.Symlink(path, filepath.Join(tools, tool)))
	}
	for force, install := range map[string]string{
		"postgres,redis": "install PostgreSQL (14 or newer) and redis-server with",
		"ffmpeg":         "install ffmpeg with",
	} {
		output, err := runDepsScript(t, strings.Split(force, ","), "HSI_DEPS_FORCE="+force,
			"PATH="+tools, "DEPS_DIR="+t.TempDir(), "SYSTEM_DEPS_DIR="+t.TempDir())
		require.Error(t, err)
		require.Equal(t, 1, strings.Count(output, "\n"), output)
		require.Contains(t, output, install)
	}
}

func TestDepsScript_SaysThatItCannotWrite(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	output, err := runDepsScript(t, []string{"wrk"},
		"HSI_DEPS_FORCE=wrk", "DEPS_DIR="+file, "SYSTEM_DEPS_DIR="+t.TempDir())
	require.Error(t, err)
	require.Equal(t, 1, strings.Count(output, "\n"), output)
	require.Regexp(t, `wrk missing and \S+ cannot be written; .*wrk`, output)
}

// packageSource is a search path whose apt-get and dpkg know two packages of the test: wrk, with a
// program that needs a library, and libproof1, which has that library.
type packageSource struct {
	t    *testing.T
	dir  string
	deps string
}

func newPackageSource(t *testing.T) packageSource {
	t.Helper()
	s := packageSource{t: t, dir: newDepsDir(t), deps: newDepsDir(t)}
	for name, script := range map[string]string{
		"apt-get": `
			for name; do
				case $name in update) ls packages ;; wrk | lib*) cp "packages/$name.deb" "$OLDPWD" ;; esac ||
					{ echo 'E: The mirror is away' >&2; exit 100; }
			done`,
		"apt-cache": `
			case "$*" in
				*" show wrk") echo 'Package: wrk' ;;
				*" depends "*) printf '%s\n' wrk '  Depends: libc6' \
					' |Depends: libproof1' '  Depends: libproof2' \
					' |Depends: libother1' '  Depends: libother2' ;;
			esac`,
		"dpkg":       `exec tar -xf "$OLDPWD/$2" -C "$3"`,
		"dpkg-query": `printf '%s\n' 'installed libc6' 'installed libother2' 'config-files libproof2'`,
		"sleep":      ``,
	} {
		text := "#!/bin/sh\ncd \"$(dirname \"$0\")/..\" || exit\n" + script + "\n"
		require.NoError(t, os.MkdirAll(filepath.Join(s.dir, "bin"), 0o755))
		program.Write(t, filepath.Join(s.dir, "bin", name), []byte(text), 0o755)
	}
	s.shell(`
		mkdir -p packages wrk/usr/bin library/usr/lib/proof-linux-gnu/sub
		library=library/usr/lib/proof-linux-gnu/sub/libproof.so.1
		echo 'int proof(void) { return 1; }' >library.c
		echo '#include <stdio.h>
			int proof(void);
			int main(void) { puts("unable to connect"); return proof(); }' >program.c
		cc -shared -fPIC -Wl,-soname,libproof.so.1 -o $library library.c
		cc -o wrk/usr/bin/wrk program.c $library
		tar -cf packages/wrk.deb -C wrk .
		tar -cf packages/libproof1.deb -C library .`)
	return s
}

// copy is another source with the same packages.
func (s packageSource) copy(t *testing.T) packageSource {
	t.Helper()
	other := packageSource{t: t, dir: newDepsDir(t), deps: newDepsDir(t)}
	other.shell("cp -a '" + s.dir + "/.' .")
	return other
}

// shell runs commands in the folder of the source.
func (s packageSource) shell(commands string) {
	s.t.Helper()
	cmd := osexec.CommandContext(s.t.Context(), "/bin/sh", "-ec", commands)
	cmd.Dir = s.dir
	output, err := cmd.CombinedOutput()
	require.NoError(s.t, err, string(output))
}

// fetch lets scripts/deps.sh fetch wrk. Nothing but what works is left in the folder for it.
func (s packageSource) fetch() (string, error) {
	s.t.Helper()
	output, err := runDepsScript(s.t, []string{"wrk"}, "HSI_DEPS_FORCE=wrk", "DEPS_DIR="+s.deps,
		"SYSTEM_DEPS_DIR="+filepath.Join(s.dir, "none"),
		"PATH="+filepath.Join(s.dir, "bin")+":"+os.Getenv("PATH"))
	entries, readErr := os.ReadDir(s.deps)
	require.NoError(s.t, readErr)
	var left []string
	for _, entry := range entries {
		left = append(left, entry.Name())
	}
	if err == nil {
		require.Equal(s.t, []string{".lock", "wrk"}, left)
	} else {
		require.Equal(s.t, []string{".lock"}, left, output)
	}
	return output, err
}

func TestDepsScript_PutsInPlaceWhatStarts(t *testing.T) {
	t.Parallel()
	t.Run("packages of the test", func(t *testing.T) {
		t.Parallel()
		source := newPackageSource(t)
		output, err := source.fetch()
		require.NoError(t, err, output)
		require.Contains(t, output, "fetching wrk (2 packages)")
		output, err = source.fetch()
		require.NoError(t, err, output)
		require.Empty(t, output)

		require.NoError(t, os.RemoveAll(filepath.Join(source.deps, "wrk/usr/lib")))
		output, err = source.fetch()
		require.NoError(t, err, output)
		require.Contains(t, output, "wrk lacks libproof.so.1\n", "says why it is fetched again")
		require.DirExists(t, filepath.Join(source.deps, "wrk/usr/lib"))
	})
	if os.Getenv("HSI_NIGHTLY") == "" {
		return // the long form asks the distribution's mirrors
	}
	t.Run("packages of the distribution", func(t *testing.T) {
		t.Parallel()
		deps, names := newDepsDir(t), []string{"postgres", "redis", "ffmpeg", "wrk"}
		output, err := runDepsScript(t, names, "HSI_DEPS_FORCE="+strings.Join(names, ","),
			"DEPS_DIR="+deps, "SYSTEM_DEPS_DIR="+t.TempDir())
		require.NoError(t, err, output)
		startUnpacked(t, deps)
	})
}

func TestDepsScript_SaysWhatIsWrongWithPackages(t *testing.T) {
	t.Parallel()
	sound := newPackageSource(t)
	for fault, test := range map[string]struct{ commands, says string }{
		"no library": {
			`tar -cf packages/libproof1.deb -C packages wrk.deb`,
			`wrk lacks libproof\.so\.1`,
		},
		"no program": {
			`tar -cf packages/wrk.deb -C library .`,
			`wrk does not start: .*No such file or directory`,
		},
		"broken program": {
			`head -c 100 wrk/usr/bin/wrk >cut; chmod +x cut; mv cut wrk/usr/bin/wrk
			tar -cf packages/wrk.deb -C wrk .`,
			`wrk does not start: .+`,
		},
		"broken package": {
			`cd packages; head -c 8000 wrk.deb >cut; mv cut wrk.deb`,
			`wrk\.deb cannot be unpacked: .+`,
		},
		"no mirror": {`rm -r packages`, `E: The mirror is away`},
	} {
		t.Run(fault, func(t *testing.T) {
			t.Parallel()
			source := sound.copy(t)
			source.shell(test.commands)
			output, err := source.fetch()
			require.Error(t, err, output)
			lines := strings.Split(strings.TrimSpace(output), "\n")
			require.Len(t, lines, 2, "what is fetched, and what is wrong: %s", output)
			require.Regexp(t, `cannot provide wrk \(`+test.says+`\); type: (sudo )?apt-get .* install wrk$`, lines[1])
		})
	}
}

// startUnpacked really starts each program that scripts/deps.sh has unpacked into a folder.
func startUnpacked(t *testing.T, deps string) {
	t.Helper()
	identity := child.ChooseIdentity()
	finder := child.Finder{Identity: identity, Dirs: []string{deps}, SystemRoot: t.TempDir()}
	home := filepath.Join(newDataDir(t), "home")
	require.NoError(t, identity.MakeDir(home, 0o700))

	postgres, err := finder.Postgres(0)
	require.NoError(t, err)
	cluster := child.Cluster{User: "hsi", Database: "proof", Scratch: true}
	require.NoError(t, postgres.Init(t.Context(), identity, home, cluster)) // initdb and then postgres

	program, err := finder.Redis()
	require.NoError(t, err)
	redis, err := child.Start(t.Context(), child.Spec{
		Program: program, Args: child.RedisArgs(home, home, nil),
		Home: home, DataDir: home, Identity: identity, DeathSignal: syscall.SIGKILL,
	})
	require.NoError(t, err)
	defer redis.Stop()
	ping := func(ctx context.Context) error { return child.PingRedis(ctx, child.RedisSocket(home)) }
	require.NoError(t, redis.AwaitReady(t.Context(), ping))

	ffmpeg, err := finder.FFmpeg()
	require.NoError(t, err)
	_, err = identity.Probe(ffmpeg, "/", "-f", "lavfi", "-i", "testsrc", "-frames:v", "1", "-f", "null", "-")
	require.NoError(t, err)

	var requests atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { requests.Add(1) }))
	defer server.Close()
	libraries, err := filepath.Glob(filepath.Join(deps, "wrk/usr/lib/*-linux-gnu*"))
	require.NoError(t, err)
	wrk := child.Program{Path: filepath.Join(deps, "wrk/usr/bin/wrk"), LibraryDirs: libraries}
	_, err = identity.Probe(wrk, "/", "-t1", "-c1", "-d1", server.URL)
	require.NoError(t, err)
	require.Positive(t, requests.Load())
}
