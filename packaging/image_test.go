package packaging

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/linter"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/moby/buildkit/frontend/dockerfile/shell"
	"github.com/stretchr/testify/require"
)

// testVersion is what the image is built as.
const testVersion = "9.8.7-test"

// image is what a stage of the Dockerfile leaves behind.
type image struct {
	root          string // the laid out file tree; empty for a stage whose tree is not laid out
	env           []string
	uid, gid      int
	dir           string
	volumes       []string
	ports         []string
	health        []string
	command       []string // entrypoint and command together
	arguments     []string // of the build
	packages      []string // what apt-get was asked to install
	ownershipKept bool     // false for an ordinary user, who cannot give files away
}

// stages parses the Dockerfile. What BuildKit's own linter has to say about it fails the test.
func stages(tb testing.TB) []instructions.Stage {
	tb.Helper()
	file, err := os.Open(filepath.Join(project, "Dockerfile"))
	require.NoError(tb, err)
	defer file.Close()
	result, err := parser.Parse(file)
	require.NoError(tb, err)
	require.Empty(tb, result.Warnings)
	var warnings []string
	lint := linter.New(&linter.Config{Warn: func(rule, _, _, message string, _ []parser.Range) {
		warnings = append(warnings, rule+": "+message)
	}})
	found, global, err := instructions.Parse(result.AST, lint)
	require.NoError(tb, err)
	require.Empty(tb, warnings)
	require.Empty(tb, global)
	return found
}

func stage(tb testing.TB, name string) instructions.Stage {
	tb.Helper()
	all := stages(tb)
	i := slices.IndexFunc(all, func(s instructions.Stage) bool { return s.Name == name })
	require.GreaterOrEqual(tb, i, 0, "no stage %q", name)
	return all[i]
}

// built is the program as the Dockerfile's own command builds it, once for all tests.
var built struct {
	once    sync.Once
	content []byte
	err     error
}

// program returns the path of a copy of the built program.
func program(tb testing.TB) string {
	tb.Helper()
	dir := openDir(tb)
	built.once.Do(func() {
		path, err := buildProgram(stage(tb, "build"), dir)
		if err != nil {
			built.err = err
			return
		}
		built.content, built.err = os.ReadFile(path)
	})
	require.NoError(tb, built.err)
	path := filepath.Join(dir, "hsi")
	require.NoError(tb, os.WriteFile(path, built.content, 0o755))
	return path
}

// buildProgram runs the commands of the build stage in the project's folder, which stands for WORKDIR.
func buildProgram(build instructions.Stage, out string) (string, error) {
	env := os.Environ()
	for _, command := range build.Commands {
		switch c := command.(type) {
		case *instructions.WorkdirCommand, *instructions.CopyCommand: // what the context holds has a test of its own
		case *instructions.EnvCommand:
			pairs, err := unquoted(c)
			if err != nil {
				return "", err
			}
			env = append(env, pairs...)
		case *instructions.ArgCommand:
			env = append(env, "VERSION="+testVersion)
		case *instructions.RunCommand:
			script := strings.ReplaceAll(strings.Join(c.CmdLine, " "), " /out/", " "+out+"/")
			cmd := exec.Command("/bin/sh", "-c", script)
			cmd.Dir, cmd.Env = project, env
			if output, err := cmd.CombinedOutput(); err != nil {
				return "", fmt.Errorf("%s: %w: %s", script, err, output)
			}
		default:
			return "", fmt.Errorf("the build stage has an instruction that this test does not know: %s", command.Name())
		}
	}
	return filepath.Join(out, "hsi"), nil
}

// unquoted reads the values of an ENV line as the engine does.
func unquoted(c *instructions.EnvCommand) (pairs []string, err error) {
	lex := shell.NewLex('\\')
	for _, pair := range c.Env {
		value, unknown, err := lex.ProcessWord(pair.Value, shell.EnvsFromSlice(nil))
		if err != nil || len(unknown) > 0 {
			return nil, fmt.Errorf("ENV %s: variables are not expanded here: %v %w", pair.Key, unknown, err)
		}
		pairs = append(pairs, pair.Key+"="+value)
	}
	return pairs, nil
}

// layOut carries out the last stage of the Dockerfile in a new folder, with arguments of the build ("NAME=value") that win.
func layOut(tb testing.TB, arguments ...string) *image {
	tb.Helper()
	all := stages(tb)
	img := &image{root: filepath.Join(openDir(tb), "root"), dir: "/", ownershipKept: os.Geteuid() == 0}
	baseTree(tb, img.root)
	for _, command := range all[len(all)-1].Commands {
		switch c := command.(type) {
		case *instructions.ArgCommand:
			for _, argument := range c.Args {
				value, _, err := shell.NewLex('\\').ProcessWord(argument.ValueString(), shell.EnvsFromSlice(nil))
				require.NoError(tb, err)
				img.arguments = append(img.arguments, argument.Key+"="+value)
			}
			img.arguments = append(img.arguments, arguments...)
		case *instructions.RunCommand:
			img.runScript(tb, c)
		case *instructions.CopyCommand:
			require.Equal(tb, "build", c.From)
			require.Equal(tb, []string{"/out/hsi"}, c.SourcePaths)
			require.Empty(tb, c.Chown)
			content, err := os.ReadFile(program(tb))
			require.NoError(tb, err)
			require.NoError(tb, os.WriteFile(img.path(c.DestPath), content, 0o755))
			img.addLibraries(tb, c.DestPath)
		case *instructions.EnvCommand:
			pairs, err := unquoted(c)
			require.NoError(tb, err)
			img.env = append(img.env, pairs...)
		case *instructions.UserCommand:
			user := regexp.MustCompile(`^([0-9]+):([0-9]+)$`).FindStringSubmatch(c.User)
			require.NotNil(tb, user, "USER must be numbers: %s", c.User)
			img.uid, _ = strconv.Atoi(user[1])
			img.gid, _ = strconv.Atoi(user[2])
		case *instructions.WorkdirCommand:
			img.dir = c.Path
		case *instructions.VolumeCommand:
			img.volumes = append(img.volumes, c.Volumes...)
		case *instructions.ExposeCommand:
			img.ports = append(img.ports, c.Ports...)
		case *instructions.HealthCheckCommand:
			require.Equal(tb, "CMD", c.Health.Test[0])
			img.health = c.Health.Test[1:]
		case *instructions.EntrypointCommand:
			require.False(tb, c.PrependShell)
			img.command = slices.Clone(c.CmdLine)
		case *instructions.CmdCommand:
			require.False(tb, c.PrependShell)
			img.command = append(img.command, c.CmdLine...)
		default:
			require.Fail(tb, "an instruction that this test does not know: "+command.Name())
		}
	}
	return img
}

// path is where a file of the image lies.
func (i *image) path(inside string) string { return filepath.Join(i.root, inside) }

// variable is the value that the image itself gives an environment variable.
func (i *image) variable(name string) string { return lastValue(i.env, name) }

func lastValue(env []string, name string) (value string) {
	for _, entry := range env {
		if rest, ok := strings.CutPrefix(entry, name+"="); ok {
			value = rest
		}
	}
	return value
}

// baseTree makes what every image has before the first instruction.
func baseTree(tb testing.TB, root string) {
	tb.Helper()
	for _, dir := range []string{"bin", "dev", "etc", "proc", "tmp", "usr/local/bin", "var/lib/apt/lists", "lib", "lib64"} {
		require.NoError(tb, os.MkdirAll(filepath.Join(root, dir), 0o755))
	}
	require.NoError(tb, os.Chmod(filepath.Join(root, "tmp"), 0o777|os.ModeSticky))
	require.NoError(tb, os.WriteFile(filepath.Join(root, "var/lib/apt/lists/list"), []byte("x"), 0o644))
}

// addLibraries puts the C library where the base image has it: under the names that the dynamic linker looks for.
func (i *image) addLibraries(tb testing.TB, inside string) {
	tb.Helper()
	printed := run(tb, "/", nil, "/usr/bin/ldd", i.path(inside))
	for _, found := range regexp.MustCompile(`(?m)(/\S+) \(0x`).FindAllStringSubmatch(printed, -1) {
		content, err := os.ReadFile(found[1])
		require.NoError(tb, err)
		require.NoError(tb, os.MkdirAll(filepath.Dir(i.path(found[1])), 0o755))
		require.NoError(tb, os.WriteFile(i.path(found[1]), content, 0o755))
	}
}

// The tools that the image's RUN lines may use. Paths are moved into the tree; an ordinary user cannot change owners.
const (
	installTool = `#!/bin/sh
set -eu
for argument; do
  shift
  case $argument in
    /*) set -- "$@" "$ROOT$argument" ;;
    *) set -- "$@" "$argument" ;;
  esac
done
if [ "$(/usr/bin/id -u)" -ne 0 ]; then
  all=$*
  set -- $(printf '%s ' "$all" | /usr/bin/sed -E 's/-[og] [0-9]+//g')
fi
exec /usr/bin/install "$@"
`
	rmTool = `#!/bin/sh
set -eu
[ "$1" = -rf ] || exit 64
shift
for argument; do
  case $argument in
    /*) /bin/rm -rf "$ROOT"$argument ;; # patterns are for the tree, not for this machine
    *) exit 64 ;;
  esac
done
`
	aptTool = `#!/bin/sh
set -eu
case $1 in
  update) [ $# -eq 1 ] ;;
  install)
    shift
    [ "$1 $2" = '--yes --no-install-recommends' ] || exit 64
    shift 2
    for package; do printf '%s\n' "$package"; done >>"$INSTALLED"
    ;;
  *) exit 64 ;;
esac
`
)

// runScript runs a RUN line of the image with tools that work on the laid out tree. A tool that the base image has and this test
// does not know is not found, and the line fails.
func (i *image) runScript(tb testing.TB, c *instructions.RunCommand) {
	tb.Helper()
	require.True(tb, c.PrependShell)
	require.Len(tb, c.CmdLine, 1)
	tools, packages := tb.TempDir(), filepath.Join(tb.TempDir(), "packages")
	for name, script := range map[string]string{"install": installTool, "rm": rmTool, "apt-get": aptTool} {
		require.NoError(tb, os.WriteFile(filepath.Join(tools, name), []byte(script), 0o755))
	}
	// An engine's shell does not stop at a failing command, hence the && in the lines. Nor may it see this machine's files: hence -f.
	run(tb, tools, append([]string{"PATH=" + tools, "ROOT=" + i.root, "INSTALLED=" + packages}, i.arguments...), "/bin/sh", "-eufc", c.CmdLine[0])
	if installed, err := os.ReadFile(packages); err == nil {
		i.packages = append(i.packages, strings.Fields(string(installed))...)
	}
}

// requireOwner wants that a path of the image belongs to the program's user, or to root.
func requireOwner(tb testing.TB, img *image, inside string, own bool) {
	tb.Helper()
	if !img.ownershipKept {
		return // this user owns everything that it made
	}
	info, err := os.Stat(img.path(inside))
	require.NoError(tb, err)
	owner := info.Sys().(*syscall.Stat_t)
	if own {
		require.Equal(tb, []int{img.uid, img.gid}, []int{int(owner.Uid), int(owner.Gid)}, inside)
		require.Zero(tb, info.Mode().Perm()&0o007, "%s: pictures of a home are not for everybody", inside)
		return
	}
	require.Zero(tb, owner.Uid, inside)
	if inside != "/tmp" {
		require.Zero(tb, info.Mode().Perm()&0o022, "%s may only be changed by root", inside)
	}
}
