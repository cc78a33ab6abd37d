package main

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// What is wrong with a command line is said in the last line, with exit code 2, before anything is
// looked at.
func TestCommandLine_SaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	for line, wants := range map[string][]string{
		"":                                    {"dead-letters", "hsi: say which: check, config, dead-letters,"}, // the list of commands comes before it
		"evnts":                               {"dead-letters", `hsi: there is no command "evnts", did you mean "events"?`},
		"dead-letters":                        {"Let them be tried again", "hsi: say which: list, requeue"},
		"events --limit 0":                    {"--limit: must be from 1 to 10000"},
		"events --limit 10001":                {"--limit: must be from 1 to 10000"},
		"events --nope":                       {"hsi: unknown flag: --nope"},
		"events now":                          {`hsi: unexpected argument "now"`},
		"--env-file /nowhere/e events":        {"hsi: --env-file: open /nowhere/e: no such file or directory"},
		"dead-letters requeue all":            {`hsi: "all" is not the id of an image`},
		"dead-letters requeue":                {"image ids, --cause, --all"},
		"dead-letters requeue 3 --all":        {"image ids, --cause, --all"},
		"dead-letters requeue 3 --cause gone": {"image ids, --cause, --all"},
	} {
		output, code := runCommand(t, []string{"DATA_DIR=" + filepath.Join(reachableDir(t), "data")}, strings.Fields(line)...)
		require.Equal(t, exitUsage, code, output)
		for _, want := range wants {
			require.Contains(t, output, want, line)
		}
		require.Contains(t, lastLine(output), wants[len(wants)-1], line)
	}
	// The help of a command that was chosen is not put before what is wrong with its flags.
	output, _ := runCommand(t, nil, "events", "--nope")
	require.Equal(t, 1, strings.Count(output, "\n"), output)
}

// A command that only reads names the folder that is missing, and does not make it.
func TestCommandLine_MakesNoDataDir(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(reachableDir(t), "data")
	for _, line := range []string{"events", "dead-letters list", "dead-letters requeue --all", "check"} {
		output, code := runCommand(t, []string{"DATA_DIR=" + dir}, strings.Fields(line)...)
		require.Equal(t, exitUsage, code, output)
		require.Contains(t, output, "DATA_DIR: there is no folder "+dir, line)
		require.NoDirExists(t, dir, line)
	}
}

func TestCommandLine_ProbeNamesTheAddressOnce(t *testing.T) {
	t.Parallel()
	port := strconv.Itoa(freePort(t))
	output, code := runCommand(t, []string{"DATA_DIR=" + reachableDir(t), "API_PORT=" + port}, "probe")
	require.Equal(t, 1, code, output)
	require.Contains(t, output, "is the server running with these settings?")
	require.Equal(t, 1, strings.Count(output, "http://127.0.0.1:"+port), output)
}

func TestConfig_NumbersAreRefusedInPlainWords(t *testing.T) {
	t.Parallel()
	for setting, want := range map[string]string{
		"RETENTION_DAYS=abc":                  "RETENTION_DAYS: must be a whole number",
		"API_PORT=99999":                      "API_PORT: is too large or too small a number",
		"DETECTION_CONFIDENCE_THRESHOLD=half": "DETECTION_CONFIDENCE_THRESHOLD: must be a number",
	} {
		_, err := loadConfig([]string{setting})
		require.ErrorContains(t, err, want)
	}
}

// `hsi config` shows what is in force: the folder of the packages also when it is not set.
func TestConfig_ShowsWherePackagesLie(t *testing.T) {
	t.Parallel()
	self, err := os.Executable()
	require.NoError(t, err)
	dir, err := os.MkdirTemp(filepath.Dir(self), "program-") //nolint:usetesting // a link stays on its file system
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	require.NoError(t, os.Mkdir(filepath.Join(dir, "bin"), 0o755))
	program := filepath.Join(dir, "bin", "hsi")
	require.NoError(t, os.Link(self, program))
	shown := func() string {
		s := hsi(t, "DATA_DIR="+dir, "EMBEDDED_DEPS_DIR=")
		s.Program = program
		output, code := execute(t, s, "config")
		require.Zero(t, code, output)
		return output
	}
	require.Regexp(t, `(?m)^EMBEDDED_DEPS_DIR +\(no \.deps beside the program's folder\)$`, shown())
	require.NoError(t, os.Mkdir(filepath.Join(dir, ".deps"), 0o755))
	require.Contains(t, shown(), filepath.Join(dir, ".deps")+"\n")
}
