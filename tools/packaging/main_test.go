// Package packaging proves Dockerfile, docker-compose.yml and scripts/env.sh without a container engine: the image's file tree is laid
// out in a folder, and the program is run in it as the image's user, with the environment, volumes and limits that Compose would give.
package packaging

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"hsi.home.arpa/embedded/embeddedtest"
)

// patience bounds every wait for something that must happen; a test that waits so long has failed.
const patience = 60 * time.Second

// project is the root of the project, as seen from this package's tests.
const project = ".."

func TestMain(m *testing.M) {
	if role := os.Getenv(roleVariable); role != "" {
		os.Exit(playRole(role)) // a part of the stand-in for a container engine
	}
	embeddedtest.Main(m)
}

func projectFile(tb testing.TB, name string) string {
	tb.Helper()
	content, err := os.ReadFile(filepath.Join(project, name))
	require.NoError(tb, err)
	return string(content)
}

// openDir is a folder that every user can enter.
func openDir(tb testing.TB) string {
	tb.Helper()
	dir, err := os.MkdirTemp("/tmp", "hsi-image-") //nolint:usetesting // that of t.TempDir is closed to other users, and long for sockets
	require.NoError(tb, err)
	require.NoError(tb, os.Chmod(dir, 0o755))
	tb.Cleanup(func() { require.NoError(tb, os.RemoveAll(dir)) })
	return dir
}

// run runs a command and wants that it succeeds.
func run(tb testing.TB, dir string, env []string, name string, args ...string) string {
	tb.Helper()
	cmd := exec.CommandContext(tb.Context(), name, args...)
	cmd.Dir, cmd.Env = dir, env
	output, err := cmd.CombinedOutput()
	require.NoError(tb, err, "%s %q: %s", name, args, output)
	return string(output)
}

// eventually polls a condition of the outside world, where there is no signal to wait on.
func eventually(tb testing.TB, what string, condition func() bool) {
	tb.Helper()
	deadline := time.Now().Add(patience)
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	for !condition() {
		require.True(tb, time.Now().Before(deadline), "waited in vain: %s", what)
		<-ticker.C
	}
}

// findTool looks a program of PostgreSQL or Redis up where the servers of the tests come from.
func findTool(tb testing.TB, name string) (path string, env []string) {
	tb.Helper()
	if path, err := exec.LookPath(name); err == nil {
		return path, nil
	}
	deps := os.Getenv("EMBEDDED_DEPS_DIR")
	if deps == "" {
		deps = filepath.Join(project, ".deps")
	}
	deps, err := filepath.Abs(deps)
	require.NoError(tb, err)
	for _, pattern := range []string{"/usr/lib/postgresql/*/bin/", deps + "/*/usr/lib/postgresql/*/bin/", deps + "/*/usr/bin/"} {
		if found, _ := filepath.Glob(pattern + name); len(found) > 0 {
			libraries, _ := filepath.Glob(deps + "/*/usr/lib/*-linux-gnu*")
			return found[0], []string{"LD_LIBRARY_PATH=" + strings.Join(libraries, ":")}
		}
	}
	require.Fail(tb, "not found: "+name, "make deps fetches it")
	return "", nil
}
