package child

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// MinPostgresMajor is the oldest PostgreSQL that the rest of the program is written for.
const MinPostgresMajor = 13

// SystemDepsDir is where packages are unpacked by root when the project's own folder cannot be reached by the user that
// the servers run as.
const SystemDepsDir = "/var/lib/hsi/deps"

// Program is an executable and the folders of the libraries that it needs beyond the system's.
type Program struct {
	Path        string
	LibraryDirs []string
}

// Sibling is another program of the same folder.
func (p Program) Sibling(name string) Program {
	return Program{Path: filepath.Join(filepath.Dir(p.Path), name), LibraryDirs: p.LibraryDirs}
}

// Postgres is a PostgreSQL installation.
type Postgres struct {
	Server Program
	Major  int
}

// MissingError says that a server's program is not on this machine, and what to type.
type MissingError struct {
	// Program is what is missing.
	Program string
	// Command is the exact command that brings it.
	Command string
	// Detail names programs that were found but cannot be used, and why. May be empty.
	Detail string
}

func (e *MissingError) Error() string {
	text := fmt.Sprintf("%s not found; type: %s", e.Program, e.Command)
	if e.Detail != "" {
		text += " (" + e.Detail + ")"
	}
	return text
}

func missing(program string, refused []string) error {
	command := "sudo apt-get install postgresql redis-server (or, in the project's folder: make deps)"
	if os.Geteuid() == 0 {
		command = strings.TrimPrefix(command, "sudo ")
	}
	return &MissingError{Program: program, Command: command, Detail: strings.Join(refused, "; ")}
}

var versionPattern = regexp.MustCompile(`\(PostgreSQL\) (\d+)`)

// FindPostgres looks in dirs (folders with programs, or roots of unpacked packages), then on PATH, then where
// distributions put PostgreSQL. A program counts only if it runs as the given user. Of several the one of major version
// want is taken, or, for want = 0, the newest. It returns *MissingError when there is none.
func FindPostgres(ctx context.Context, identity Identity, dirs []string, want int) (Postgres, error) {
	var found []Postgres
	var refused []string
	for _, program := range candidates("postgres", dirs, "usr/lib/postgresql/*/bin") {
		if _, err := os.Stat(program.Sibling("initdb").Path); err != nil {
			continue
		}
		output, err := identity.Run(ctx, program, "/", "", nil, "--version")
		if err != nil {
			refused = append(refused, program.Path+": "+err.Error())
			continue
		}
		match := versionPattern.FindStringSubmatch(output)
		if match == nil {
			continue
		}
		major, _ := strconv.Atoi(match[1])
		if major < MinPostgresMajor {
			refused = append(refused, fmt.Sprintf("%s is version %d, needed is %d or newer", program.Path, major, MinPostgresMajor))
			continue
		}
		found = append(found, Postgres{Server: program, Major: major})
	}
	if len(found) == 0 {
		return Postgres{}, missing("PostgreSQL", refused)
	}
	best := found[0]
	for _, other := range found[1:] {
		if best.Major != want && (other.Major == want || other.Major > best.Major) {
			best = other
		}
	}
	return best, nil
}

// FindRedis looks for redis-server like FindPostgres.
func FindRedis(ctx context.Context, identity Identity, dirs []string) (Program, error) {
	var refused []string
	for _, program := range candidates("redis-server", dirs, "usr/bin") {
		if _, err := identity.Run(ctx, program, "/", "", nil, "--version"); err != nil {
			refused = append(refused, program.Path+": "+err.Error())
			continue
		}
		return program, nil
	}
	return Program{}, missing("redis-server", refused)
}

// candidates lists the programs of a name: on PATH, in the system's usual folders (pattern, relative to /), in dirs, and
// in packages unpacked into folders of dirs and of SystemDepsDir (scripts/deps.sh makes "postgres" and "redis" there).
func candidates(name string, dirs []string, pattern string) []Program {
	var programs []Program
	add := func(path string, libraries []string) {
		resolved, err := filepath.EvalSymlinks(filepath.Dir(path))
		if err != nil {
			return
		}
		path = filepath.Join(resolved, filepath.Base(path))
		// A link to another folder leads to the installation it belongs to, but a program may also be a link beside its
		// target (redis-server is one) and must keep its name.
		if target, err := filepath.EvalSymlinks(path); err != nil {
			return
		} else if filepath.Base(target) == name {
			path = target
		}
		info, err := os.Stat(path)
		if err != nil || info.IsDir() || info.Mode()&0o111 == 0 {
			return
		}
		if !slices.ContainsFunc(programs, func(p Program) bool { return p.Path == path }) {
			programs = append(programs, Program{Path: path, LibraryDirs: libraries})
		}
	}
	for _, dir := range filepath.SplitList(os.Getenv("PATH")) {
		if filepath.IsAbs(dir) {
			add(filepath.Join(dir, name), nil)
		}
	}
	addAll(filepath.Join("/", pattern, name), nil, add)
	for _, dir := range append(slices.Clone(dirs), SystemDepsDir) {
		if dir == "" {
			continue
		}
		add(filepath.Join(dir, name), nil)
		roots, _ := filepath.Glob(filepath.Join(dir, "*"))
		for _, root := range append(roots, dir) {
			addAll(filepath.Join(root, pattern, name), libraryDirs(root), add)
		}
	}
	return programs
}

func addAll(pattern string, libraries []string, add func(string, []string)) {
	paths, _ := filepath.Glob(pattern)
	slices.Reverse(paths)
	for _, path := range paths {
		add(path, libraries)
	}
}

// libraryDirs lists the library folders below the root of unpacked packages.
func libraryDirs(root string) []string {
	resolved, err := filepath.EvalSymlinks(root)
	if err != nil {
		return nil
	}
	var dirs []string
	for _, pattern := range []string{"usr/lib/*-linux-gnu*", "lib/*-linux-gnu*", "usr/lib64", "usr/lib"} {
		found, _ := filepath.Glob(filepath.Join(resolved, pattern))
		dirs = append(dirs, found...)
	}
	return dirs
}
