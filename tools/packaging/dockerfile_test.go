package packaging

import (
	"debug/elf"
	"encoding/json"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/patternmatcher"
	"github.com/moby/patternmatcher/ignorefile"
	"github.com/stretchr/testify/require"
)

// try runs a command and returns what it printed and its exit code.
func try(name string, args ...string) (output string, exit int) {
	cmd := exec.Command(name, args...)
	printed, _ := cmd.CombinedOutput() // the exit code says it
	return string(printed), cmd.ProcessState.ExitCode()
}

// The command of the build stage makes the program, with the version that Compose passes and nothing but glibc to load.
func TestDockerfile_BuildsTheProgram(t *testing.T) {
	t.Parallel()
	path := program(t)
	output, exit := try(path, "version")
	require.Zero(t, exit, output)
	require.Equal(t, testVersion+"\n", output)
	binary, err := elf.Open(path)
	require.NoError(t, err)
	defer binary.Close()
	libraries, err := binary.ImportedLibraries()
	require.NoError(t, err)
	for _, library := range libraries {
		require.Contains(t, []string{"libc.so.6", "libdl.so.2", "libpthread.so.0", "libresolv.so.2", "ld-linux-x86-64.so.2", "ld-linux-aarch64.so.1"}, library,
			"debian:bookworm-slim has no other library that a Go program asks for")
	}
	require.Nil(t, binary.Section(".debug_info"), "debugging information makes the image larger and helps nobody in it")
}

// The program is made with the Go of go.mod, with the C flags of the Makefile, and runs on the Debian that it was made on.
func TestDockerfile_Bases(t *testing.T) {
	t.Parallel()
	all := stages(t)
	last := all[len(all)-1]
	golang := regexp.MustCompile(`^golang:(1\.[0-9]+)-([a-z]+)$`).FindStringSubmatch(stage(t, "build").BaseName)
	require.NotNil(t, golang)
	goLine := regexp.MustCompile(`(?m)^go (1\.[0-9]+)`).FindStringSubmatch(projectFile(t, "go.mod"))
	require.Equal(t, goLine[1], golang[1])
	require.Equal(t, "debian:"+golang[2]+"-slim", last.BaseName)
	makefile := projectFile(t, "Makefile")
	for _, command := range stage(t, "build").Commands {
		if env, ok := command.(*instructions.EnvCommand); ok {
			pairs, err := unquoted(env)
			require.NoError(t, err)
			for _, pair := range pairs {
				require.Contains(t, makefile, "export "+strings.Replace(pair, "=", " := ", 1)+"\n")
			}
		}
	}
}

// The dashboard is built with the commands of `make web`, from files that are there, to where the program looks for it.
func TestDockerfile_BuildsTheDashboard(t *testing.T) {
	t.Parallel()
	matcher := ignored(t)
	makefile := projectFile(t, "Makefile")
	var scripts struct {
		Scripts map[string]string
		Engines struct{ Node string }
	}
	require.NoError(t, json.Unmarshal([]byte(projectFile(t, "web/package.json")), &scripts))
	var runs []string
	web := stage(t, "web")
	for _, command := range web.Commands {
		switch c := command.(type) {
		case *instructions.CopyCommand:
			for _, source := range c.SourcePaths {
				require.FileExists(t, filepath.Join(project, source, map[bool]string{true: "package.json"}[source == "web"]))
				excluded, err := matcher.MatchesOrParentMatches(source)
				require.NoError(t, err)
				require.False(t, excluded, source)
			}
		case *instructions.RunCommand:
			runs = append(runs, strings.Join(c.CmdLine, " "))
		}
	}
	require.Equal(t, []string{"npm ci --ignore-scripts", "npm run build"}, runs)
	require.Contains(t, makefile, "npm ci --ignore-scripts\n")
	require.Equal(t, "vite build", scripts.Scripts["build"])
	require.Contains(t, makefile, "node_modules/.bin/vite build")
	node := regexp.MustCompile(`^node:([0-9]+)-([a-z]+)-slim$`).FindStringSubmatch(web.BaseName)
	require.NotNil(t, node)
	open := regexp.MustCompile(`>=([0-9]+)\.`).FindStringSubmatch(scripts.Engines.Node) // whatever is not older
	require.NotNil(t, open, scripts.Engines.Node)
	require.GreaterOrEqual(t, node[1], open[1])

	// From the web stage, to where go:embed takes it.
	var from, to string
	for _, command := range stage(t, "build").Commands {
		if c, ok := command.(*instructions.CopyCommand); ok && c.From == "web" {
			from, to = c.SourcePaths[0], c.DestPath
		}
	}
	require.Equal(t, "/src/web/dist/app", from)
	require.Equal(t, "web/dist/app", to)
	require.Contains(t, projectFile(t, "web/vite.config.ts"), "outDir: 'dist/app'")
	require.Contains(t, projectFile(t, "web/web.go"), `"dist/app/index.html"`)
}

// ignored reads .dockerignore as the engine does.
func ignored(tb testing.TB) *patternmatcher.PatternMatcher {
	tb.Helper()
	file, err := os.Open(filepath.Join(project, ".dockerignore"))
	require.NoError(tb, err)
	defer file.Close()
	patterns, err := ignorefile.ReadAll(file)
	require.NoError(tb, err)
	matcher, err := patternmatcher.New(patterns)
	require.NoError(tb, err)
	return matcher
}

// What the build reads is sent to the engine, and what is secret, large or made on this machine is not.
func TestDockerignore(t *testing.T) {
	t.Parallel()
	matcher := ignored(t)
	excluded := func(path string) bool {
		matches, err := matcher.MatchesOrParentMatches(path)
		require.NoError(t, err)
		return matches
	}
	cmd := exec.CommandContext(t.Context(), "go", "list", "-deps", "-json=Dir,GoFiles,CgoFiles,HFiles,EmbedFiles,Module", "./cmd/hsi")
	cmd.Dir = project
	listed, err := cmd.Output()
	require.NoError(t, err)
	root, err := filepath.Abs(project)
	require.NoError(t, err)
	needed := []string{"go.mod", "go.sum"}
	for decoder := json.NewDecoder(strings.NewReader(string(listed))); decoder.More(); {
		var found struct {
			Dir                                   string
			GoFiles, CgoFiles, HFiles, EmbedFiles []string
			Module                                *struct{ Main bool }
		}
		require.NoError(t, decoder.Decode(&found))
		if found.Module == nil || !found.Module.Main {
			continue
		}
		for _, name := range slices.Concat(found.GoFiles, found.CgoFiles, found.HFiles, found.EmbedFiles) {
			path, err := filepath.Rel(root, filepath.Join(found.Dir, name))
			require.NoError(t, err)
			needed = append(needed, path)
		}
	}
	require.Greater(t, len(needed), 100)
	for _, path := range needed {
		if !strings.HasPrefix(path, "web/dist/app/") { // the web stage makes it
			require.False(t, excluded(path), "the build needs %s", path)
		}
	}
	for _, path := range []string{
		".git/config", ".env", ".env.local", "production.env", "deploy/.env", ".deps/redis/usr/bin/redis-server", ".tools/golangci-lint", "bin/hsi",
		"data/postgres/PG_VERSION", "data/cameras/garden/a.jpg", "web/node_modules/preact/package.json", "web/dist/app/index.html", "server.test", "cpu.out",
	} {
		require.True(t, excluded(path), "%s has no business in the image", path)
	}
}

// Everything in the file tree that the program writes to belongs to its user; nothing else does.
func TestImage_Tree(t *testing.T) {
	t.Parallel()
	img := layOut(t)
	require.Equal(t, []string{"ca-certificates", "ffmpeg", "tzdata"}, img.packages)
	require.Equal(t, []string{"ca-certificates"}, layOut(t, "PACKAGES=ca-certificates").packages)
	require.NoFileExists(t, img.path("/var/lib/apt/lists/list"))
	require.NotZero(t, img.uid)
	require.NotZero(t, img.gid)
	require.Equal(t, []string{img.variable("API_PORT")}, img.ports)
	require.DirExists(t, img.path(img.dir))
	for _, name := range []string{"DATA_DIR", "VIDEO_THUMBNAILS_DIR", "CLIPS_DIRECTORY"} {
		dir := img.variable(name)
		require.DirExists(t, img.path(dir), name)
		require.True(t, slices.ContainsFunc(img.volumes, func(v string) bool { return dir == v || strings.HasPrefix(dir, v+"/") }), "%s is on no volume", name)
		requireOwner(t, img, dir, true)
	}
	requireOwner(t, img, img.variable("FOSCAM_BASE_PATH"), false)
	requireOwner(t, img, "/usr/local/bin/hsi", false)
	require.NoError(t, filepath.WalkDir(img.root, func(path string, entry fs.DirEntry, err error) error {
		require.NoError(t, err)
		info, err := entry.Info()
		require.NoError(t, err)
		require.Zero(t, info.Mode()&(os.ModeSetuid|os.ModeSetgid), path)
		inside := strings.TrimPrefix(path, img.root)
		if !slices.ContainsFunc(img.volumes, func(v string) bool { return strings.HasPrefix(inside, v) }) {
			requireOwner(t, img, "/"+strings.TrimPrefix(inside, "/"), false)
		}
		return nil
	}))
}
