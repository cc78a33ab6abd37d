// Package packaging checks the files that the server is packed and started with: Dockerfile,
// .dockerignore, docker-compose.yml, scripts/env.sh and docs/OPERATIONS.md. They are read with the
// parsers of BuildKit and Compose, and the program is built and asked; no container is started.
package packaging

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/linter"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/moby/buildkit/frontend/dockerfile/shell"
	"github.com/moby/patternmatcher"
	"github.com/moby/patternmatcher/ignorefile"
	"github.com/stretchr/testify/require"
)

// project is the root of the project, as seen from this package's tests.
const project = "../.."

func projectFile(tb testing.TB, name string) string {
	tb.Helper()
	content, err := os.ReadFile(filepath.Join(project, name))
	require.NoError(tb, err)
	return string(content)
}

// stage is a stage of the Dockerfile by its name; the last one, which becomes the image, has none.
// What BuildKit's own linter has to say about the file fails the test.
func stage(tb testing.TB, name string) instructions.Stage {
	tb.Helper()
	result, err := parser.Parse(strings.NewReader(projectFile(tb, "Dockerfile")))
	require.NoError(tb, err)
	require.Empty(tb, result.Warnings)
	var warnings []string
	warn := func(rule, _, _, message string, _ []parser.Range) {
		warnings = append(warnings, rule+": "+message)
	}
	all, global, err := instructions.Parse(result.AST, linter.New(&linter.Config{Warn: warn}))
	require.NoError(tb, err)
	require.Empty(tb, warnings)
	require.Empty(tb, global)
	require.Empty(tb, all[len(all)-1].Name)
	i := slices.IndexFunc(all, func(s instructions.Stage) bool { return s.Name == name })
	require.GreaterOrEqual(tb, i, 0, "no stage %q", name)
	return all[i]
}

// all are the instructions of one kind in a stage.
func all[T instructions.Command](s instructions.Stage) (found []T) {
	for _, command := range s.Commands {
		if c, ok := command.(T); ok {
			found = append(found, c)
		}
	}
	return found
}

// only is the one instruction of its kind in a stage.
func only[T instructions.Command](tb testing.TB, s instructions.Stage) T {
	tb.Helper()
	found := all[T](s)
	require.Len(tb, found, 1)
	return found[0]
}

// scripts are the RUN lines of a stage.
func scripts(s instructions.Stage) (lines []string) {
	for _, command := range all[*instructions.RunCommand](s) {
		lines = append(lines, strings.Join(command.CmdLine, " "))
	}
	return lines
}

// unquoted reads a value as the engine does.
func unquoted(tb testing.TB, value string) string {
	tb.Helper()
	word, unknown, err := shell.NewLex('\\').ProcessWord(value, shell.EnvsFromSlice(nil))
	require.NoError(tb, err)
	require.Empty(tb, unknown, "variables are not expanded here")
	return word
}

// environmentOf is what the ENV lines of a stage set.
func environmentOf(tb testing.TB, s instructions.Stage) (env []string) {
	tb.Helper()
	for _, command := range all[*instructions.EnvCommand](s) {
		for _, pair := range command.Env {
			env = append(env, pair.Key+"="+unquoted(tb, pair.Value))
		}
	}
	return env
}

// lastValue is the value of a variable in an environment, in which the last entry wins.
func lastValue(env []string, name string) (value string) {
	for _, entry := range env {
		if rest, ok := strings.CutPrefix(entry, name+"="); ok {
			value = rest
		}
	}
	return value
}

// foldersOf are the folders that the image makes, with the options of install that make them.
func foldersOf(image instructions.Stage) map[string]string {
	made := map[string]string{}
	for line := range strings.SplitSeq(strings.Join(scripts(image), "&&"), "&&") {
		words := strings.Fields(line)
		if words[0] != "install" {
			continue
		}
		first := slices.IndexFunc(words, func(word string) bool { return word[0] == '/' })
		for _, folder := range words[first:] {
			made[folder] = strings.Join(words[1:first], " ")
		}
	}
	return made
}

// What the program writes to belongs to its user, is closed to others, and lies on a volume; the
// program itself may only be changed by root.
func TestDockerfile_Files(t *testing.T) {
	t.Parallel()
	image := stage(t, "")
	user := only[*instructions.UserCommand](t, image).User
	numbers := regexp.MustCompile(`^([1-9][0-9]*):([1-9][0-9]*)$`).FindStringSubmatch(user)
	require.NotNil(t, numbers, "%s: an orchestrator sees from numbers that it is not root", user)
	own := "-d -m 0750 -o " + numbers[1] + " -g " + numbers[2]
	made, env := foldersOf(image), environmentOf(t, image)
	volumes := only[*instructions.VolumeCommand](t, image).Volumes
	for _, name := range []string{"DATA_DIR", "VIDEO_THUMBNAILS_DIR", "CLIPS_DIRECTORY"} {
		folder := lastValue(env, name)
		require.Equal(t, own, made[folder], name)
		require.True(t, slices.ContainsFunc(volumes, func(volume string) bool {
			return folder == volume || strings.HasPrefix(folder, volume+"/")
		}), "%s is on no volume", name)
	}
	for _, folder := range append(volumes, only[*instructions.WorkdirCommand](t, image).Path) {
		require.Equal(t, own, made[folder], "a new volume takes owner and mode from the image")
	}
	require.Equal(t, "-d -m 0755", made[lastValue(env, "FOSCAM_BASE_PATH")])
	program := only[*instructions.CopyCommand](t, image)
	require.Equal(t, "build", program.From)
	require.Equal(t, []string{"/out/hsi"}, program.SourcePaths)
	require.Equal(t, "/usr/local/bin/hsi", program.DestPath)
	require.Empty(t, program.Chown+program.Chmod)

	port := only[*instructions.ExposeCommand](t, image).Ports
	require.Equal(t, []string{lastValue(env, "API_PORT")}, port)
	packages := only[*instructions.ArgCommand](t, image).Args[0]
	require.Equal(t, "PACKAGES", packages.Key)
	require.Equal(t, "ca-certificates ffmpeg tzdata", unquoted(t, packages.ValueString()))
	lines := strings.Join(scripts(image), "\n")
	require.Contains(t, lines, "apt-get install --yes --no-install-recommends $PACKAGES &&")
	require.Contains(t, lines, "rm -rf /var/lib/apt/lists/*")
	require.NotContains(t, lines, ";", "behind it a shell goes on after a failure")
}

// The program is made with the Go of go.mod, with the C flags of the Makefile, and runs on the
// Debian that it was made on.
func TestDockerfile_Bases(t *testing.T) {
	t.Parallel()
	build := stage(t, "build")
	golang := regexp.MustCompile(`^golang:(1\.[0-9]+)-([a-z]+)$`).FindStringSubmatch(build.BaseName)
	require.NotNil(t, golang)
	require.Contains(t, projectFile(t, "go.mod"), "\ngo "+golang[1]+".")
	require.Equal(t, "debian:"+golang[2]+"-slim", stage(t, "").BaseName)
	for _, pair := range environmentOf(t, build) {
		line := "export " + strings.Replace(pair, "=", " := ", 1) + "\n"
		require.Contains(t, projectFile(t, "Makefile"), line)
	}
}

// The dashboard is built with the commands of `make web`, from files that are there, to where the
// program looks for it.
func TestDockerfile_BuildsTheDashboard(t *testing.T) {
	t.Parallel()
	ignored, makefile, web := dockerignore(t), projectFile(t, "Makefile"), stage(t, "web")
	for _, command := range all[*instructions.CopyCommand](web) {
		for _, source := range command.SourcePaths {
			_, err := os.Stat(filepath.Join(project, source))
			require.NoError(t, err)
			require.False(t, ignored(source), source)
		}
	}
	require.Equal(t, []string{"npm ci --ignore-scripts", "npm run build"}, scripts(web))
	manifest := projectFile(t, "web/package.json")
	require.Contains(t, manifest, `"build": "vite build"`)
	require.Contains(t, makefile, "npm ci --ignore-scripts\n")
	require.Contains(t, makefile, "node_modules/.bin/vite build")
	node := regexp.MustCompile(`^node:([0-9]+)-[a-z]+-slim$`).FindStringSubmatch(web.BaseName)
	require.NotNil(t, node)
	require.Contains(t, manifest, ">="+node[1]+".")

	// From the web stage, to where go:embed takes it.
	copies := all[*instructions.CopyCommand](stage(t, "build"))
	last := copies[len(copies)-1]
	require.Equal(t, "web", last.From)
	require.Equal(t, []string{"/src/web/dist/app"}, last.SourcePaths)
	require.Equal(t, "web/dist/app", last.DestPath)
	require.Contains(t, projectFile(t, "web/vite.config.ts"), "outDir: 'dist/app'")
	require.Contains(t, projectFile(t, "web/web.go"), `"dist/app/index.html"`)
}

// dockerignore reads .dockerignore as the engine does and returns what it says of a path.
func dockerignore(tb testing.TB) func(path string) bool {
	tb.Helper()
	patterns, err := ignorefile.ReadAll(strings.NewReader(projectFile(tb, ".dockerignore")))
	require.NoError(tb, err)
	matcher, err := patternmatcher.New(patterns)
	require.NoError(tb, err)
	return func(path string) bool {
		matches, err := matcher.MatchesOrParentMatches(path)
		require.NoError(tb, err)
		return matches
	}
}

// What the build reads is sent to the engine, and what is secret, large, made on this machine or no
// part of the server is not.
func TestDockerignore(t *testing.T) {
	t.Parallel()
	ignored := dockerignore(t)
	cmd := exec.CommandContext(t.Context(), "go", "list", "-deps", "-f", `{{with .Module}}{{if .Main}}`+
		`{{range $.GoFiles}}{{$.Dir}}/{{.}}{{"\n"}}{{end}}{{range $.CgoFiles}}{{$.Dir}}/{{.}}{{"\n"}}{{end}}`+
		`{{range $.HFiles}}{{$.Dir}}/{{.}}{{"\n"}}{{end}}{{range $.EmbedFiles}}{{$.Dir}}/{{.}}{{"\n"}}{{end}}`+
		`{{end}}{{end}}`, "./cmd/hsi")
	cmd.Dir = project
	listed, err := cmd.Output()
	require.NoError(t, err)
	root, err := filepath.Abs(project)
	require.NoError(t, err)
	needed := []string{"go.mod", "go.sum"}
	for path := range strings.FieldsSeq(string(listed)) {
		needed = append(needed, strings.TrimPrefix(path, root+"/"))
	}
	require.Greater(t, len(needed), 100)
	for _, path := range needed {
		if !strings.HasPrefix(path, "web/dist/app/") { // the web stage makes it
			require.False(t, ignored(path), "the build needs %s", path)
		}
	}
	for _, path := range []string{
		".git/config", ".env", ".env.local", "production.env", "deploy/.env", "data/cameras/garden/a.jpg",
		".deps/redis/usr/bin/redis-server", ".tools/golangci-lint", "bin/hsi", "data/postgres/PG_VERSION",
		"web/node_modules/preact/package.json", "web/dist/app/index.html", "server.test", "cpu.out",
		"tools/go.mod", "tools/bench/main.go",
	} {
		require.True(t, ignored(path), "%s has no business in the image", path)
	}
}
