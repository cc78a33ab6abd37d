package main

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"hsi.home.arpa/internal/e2e"
)

// patience bounds every wait for something that must happen; a test that waits so long has failed.
const patience = 5 * time.Minute

// hsi is the command with settings of its own. The test binary plays it.
func hsi(tb testing.TB, env ...string) *e2e.Server {
	tb.Helper()
	exe, err := os.Executable()
	require.NoError(tb, err)
	root, err := filepath.Abs("../..")
	require.NoError(tb, err)
	own := []string{asCommand + "=1", "EMBEDDED_DEPS_DIR=" + filepath.Join(root, ".deps")}
	return &e2e.Server{Program: exe, Dir: tb.TempDir(), Env: append(own, env...)}
}

// runCommand runs a command to its end and returns its output and exit code.
func runCommand(tb testing.TB, env []string, args ...string) (string, int) {
	tb.Helper()
	return execute(tb, hsi(tb, env...), args...)
}

// execute is runCommand with the settings of a server.
func execute(tb testing.TB, s *e2e.Server, args ...string) (string, int) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), patience)
	defer cancel()
	output, err := s.Run(ctx, args...)
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return output, exit.ExitCode()
	}
	require.NoError(tb, err)
	return output, 0
}

func lastLine(output string) string {
	lines := strings.Split(strings.TrimSpace(output), "\n")
	return lines[len(lines)-1]
}

// reachableDir is a folder that the unprivileged user of the databases can enter, so that the data
// stays in it.
func reachableDir(tb testing.TB) string {
	tb.Helper()
	dir, err := os.MkdirTemp("/tmp", "hsi-test-") //nolint:usetesting // that of t.TempDir is closed to other users
	require.NoError(tb, err)
	require.NoError(tb, os.Chmod(dir, 0o755))
	tb.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func freePort(tb testing.TB) int {
	tb.Helper()
	port, err := e2e.FreePort(tb.Context())
	require.NoError(tb, err)
	return port
}
