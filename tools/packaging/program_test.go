package packaging

import (
	"debug/elf"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/stretchr/testify/require"
)

// testVersion is what the program is built as.
const testVersion = "9.8.7-test"

// buildProgram runs the command of the Dockerfile's build stage in the project's folder, which
// stands for WORKDIR, and returns the path of the program.
func buildProgram(tb testing.TB) string {
	tb.Helper()
	out, build := tb.TempDir(), stage(tb, "build")
	require.Equal(tb, "VERSION", only[*instructions.ArgCommand](tb, build).Args[0].Key)
	require.Len(tb, scripts(build), 1)
	script := strings.ReplaceAll(scripts(build)[0], " /out/", " "+out+"/")
	cmd := exec.CommandContext(tb.Context(), "/bin/sh", "-c", script)
	cmd.Dir = project
	cmd.Env = slices.Concat(os.Environ(), environmentOf(tb, build), []string{"VERSION=" + testVersion})
	output, err := cmd.CombinedOutput()
	require.NoError(tb, err, "%s: %s", script, output)
	return filepath.Join(out, "hsi")
}

// try runs a command in a given environment and returns what it printed and its exit code.
func try(env []string, name string, args ...string) (output string, exit int) {
	cmd := exec.Command(name, args...)
	cmd.Env = env
	printed, _ := cmd.CombinedOutput() // the exit code tells
	return string(printed), cmd.ProcessState.ExitCode()
}

// The program is built once, as the image has it, and asked about what the files say of it.
func TestImage_Program(t *testing.T) {
	t.Parallel()
	program, image := buildProgram(t), stage(t, "")
	env := environmentOf(t, image)

	t.Run("carries its version and needs only glibc", func(t *testing.T) {
		t.Parallel()
		output, exit := try(env, program, "version")
		require.Zero(t, exit, output)
		require.Equal(t, testVersion+"\n", output)
		binary, err := elf.Open(program)
		require.NoError(t, err)
		defer binary.Close()
		libraries, err := binary.ImportedLibraries()
		require.NoError(t, err)
		require.Subset(t, []string{
			"libc.so.6", "libdl.so.2", "libpthread.so.0", "libresolv.so.2",
			"ld-linux-x86-64.so.2", "ld-linux-aarch64.so.1",
		}, libraries, "debian:bookworm-slim has no other library that a Go program asks for")
		require.Nil(t, binary.Section(".debug_info"), "it makes the image larger and helps nobody in it")
	})

	t.Run("has the commands that are named", func(t *testing.T) {
		t.Parallel()
		entrypoint := only[*instructions.EntrypointCommand](t, image)
		require.Equal(t, []string{"hsi"}, entrypoint.CmdLine)
		require.False(t, entrypoint.PrependShell, "a shell would keep SIGTERM to itself")
		command := only[*instructions.CmdCommand](t, image)
		require.Equal(t, []string{"serve"}, command.CmdLine)
		require.False(t, command.PrependShell)
		health := only[*instructions.HealthCheckCommand](t, image).Health
		require.Equal(t, []string{"CMD", "hsi", "probe"}, health.Test)
		commands := []string{"serve", "probe"}
		guide := projectFile(t, "docs/OPERATIONS.md")
		named := regexp.MustCompile(`exec hsi hsi ([a-z][a-z -]*)`).FindAllStringSubmatch(guide, -1)
		require.Greater(t, len(named), 5)
		for _, found := range named {
			commands = append(commands, found[1])
		}
		for _, command := range commands {
			output, exit := try(env, program, append(strings.Fields(command), "--help")...)
			require.Zero(t, exit, "hsi %s: %s", command, output)
		}
	})

	// The image alone is closed: it listens to the network, so it wants a key first.
	t.Run("wants a key", func(t *testing.T) {
		t.Parallel()
		output, exit := try(env, program, "config")
		require.Equal(t, 2, exit, output)
		require.Contains(t, output, "API_KEYS")
		require.Contains(t, output, "hsi key new")
	})

	t.Run("gets every setting and nothing that is none", func(t *testing.T) {
		t.Parallel()
		envFile, _ := makeEnvFile(t, "--ai")
		loaded := load(t, envFile)
		var passed []string
		for name, value := range loaded.Services["hsi"].Environment {
			passed = append(passed, name+"="+*value)
		}
		output, exit := try(slices.Concat(env, passed), program, "config")
		require.Zero(t, exit, output)
		given := map[string]bool{
			"EMBEDDED_DEPS_DIR":    true, // nothing is embedded in the image
			"PICTURES_WITHOUT_KEY": true, // refused where there are keys
		}
		for _, entry := range slices.Concat(env, passed) {
			name, _, _ := strings.Cut(entry, "=")
			given[name] = true
		}
		var known []string
		for line := range strings.Lines(output) {
			known = append(known, strings.Fields(line)[0])
		}
		require.ElementsMatch(t, known, slices.Collect(maps.Keys(given)))
		for _, name := range secretNames {
			require.NotEmpty(t, loaded.Environment[name], name)
			require.NotContains(t, output, loaded.Environment[name], name)
		}
	})
}
