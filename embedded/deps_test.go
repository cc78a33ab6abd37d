package embedded_test

import (
	"os"
	osexec "os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// runDepsScript runs scripts/deps.sh and returns what it printed.
func runDepsScript(t *testing.T, names []string, env ...string) (string, error) {
	t.Helper()
	cmd := osexec.CommandContext(t.Context(), "/bin/bash", append([]string{filepath.Join("..", "scripts", "deps.sh")}, names...)...)
	cmd.Env = append(os.Environ(), env...)
	output, err := cmd.CombinedOutput()
	return string(output), err
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
	output, err := runDepsScript(t, nil, "PATH="+tools, "DEPS_DIR="+t.TempDir(), "HSI_DEPS_FORCE=postgres,redis")
	if _, statErr := os.Stat("/var/lib/hsi/deps/postgres"); statErr == nil {
		require.NoError(t, err, "fetched before by root, for all")
		return
	}
	require.Error(t, err)
	require.Equal(t, 1, strings.Count(output, "\n"), output)
	require.Contains(t, output, "install PostgreSQL (14 or newer) and redis-server with")

	output, err = runDepsScript(t, []string{"ffmpeg"}, "PATH="+tools, "DEPS_DIR="+t.TempDir(), "HSI_DEPS_FORCE=ffmpeg")
	if _, statErr := os.Stat("/var/lib/hsi/deps/ffmpeg"); statErr == nil {
		require.NoError(t, err, "fetched before by root, for all")
		return
	}
	require.Error(t, err)
	require.Equal(t, 1, strings.Count(output, "\n"), output)
	require.Contains(t, output, "install ffmpeg with")
}
