package child

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// MinPostgresMajor is the oldest PostgreSQL that the rest of the program is written for.
const MinPostgresMajor = 14

// SystemDepsDir is where packages are unpacked by root when the project's own folder cannot be
// reached by the user that the servers run as.
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

// MissingError says that a program is not on this machine, and what to type.
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

// How to get the servers, and ffmpeg.
const (
	installServers = "sudo apt-get install postgresql redis-server (or, in the project's folder: make deps)"
	installFFmpeg  = "sudo apt-get install ffmpeg (or, in the project's folder: scripts/deps.sh ffmpeg)"
)

func missing(program, command string, refused []string) error {
	if os.Geteuid() == 0 {
		command = strings.TrimPrefix(command, "sudo ")
	}
	return &MissingError{Program: program, Command: command, Detail: strings.Join(refused, "; ")}
}

var versionPattern = regexp.MustCompile(`\(PostgreSQL\) (\d+)`)

// Finder looks for programs: on the search path, in the system's usual folders, then in Dirs.
type Finder struct {
	// Identity is the user that must be able to run a program for it to count.
	Identity Identity
	// Dirs are folders with programs in them, or folders with unpacked packages.
	Dirs []string
	// SearchPath is a PATH; SystemRoot is where the usual folders are looked for, normally "/".
	SearchPath, SystemRoot string
}

// NewFinder looks on this machine and in dirs.
func NewFinder(identity Identity, dirs []string) Finder {
	return Finder{Identity: identity, Dirs: append(slices.Clone(dirs), SystemDepsDir), SearchPath: os.Getenv("PATH"), SystemRoot: "/"}
}

// Postgres finds PostgreSQL: of several the one of major version want, or else the newest. It
// returns *MissingError when there is none.
func (f Finder) Postgres(want int) (Postgres, error) {
	var found []Postgres
	var refused []string
	for _, program := range f.candidates("postgres", "usr/lib/postgresql/*/bin") {
		if _, err := os.Stat(program.Sibling("initdb").Path); err != nil {
			continue
		}
		output, err := f.Identity.Probe(program, "/", "--version")
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
		return Postgres{}, missing("PostgreSQL", installServers, refused)
	}
	best := found[0]
	for _, other := range found[1:] {
		if best.Major != want && (other.Major == want || other.Major > best.Major) {
			best = other
		}
	}
	return best, nil
}

// Redis finds redis-server. It returns *MissingError when there is none.
func (f Finder) Redis() (Program, error) {
	return f.program("redis-server", "--version", installServers)
}

// FFmpeg finds ffmpeg. It returns *MissingError when there is none.
func (f Finder) FFmpeg() (Program, error) {
	return f.program("ffmpeg", "-version", installFFmpeg)
}

// program finds a program that runs when it is asked for its version.
func (f Finder) program(name, versionOption, install string) (Program, error) {
	var refused []string
	for _, program := range f.candidates(name, "usr/bin") {
		if _, err := f.Identity.Probe(program, "/", versionOption); err != nil {
			refused = append(refused, program.Path+": "+err.Error())
			continue
		}
		return program, nil
	}
	return Program{}, missing(name, install, refused)
}

// candidates lists the programs of a name: on the search path, in the system's usual folders
// (pattern, relative to the root), in Dirs, and in packages unpacked into folders of Dirs
// (scripts/deps.sh makes "postgres", "redis" and "ffmpeg" there).
func (f Finder) candidates(name, pattern string) []Program {
	var programs []Program
	add := func(path string, libraries []string) {
		path, ok := executable(path)
		if ok && !slices.ContainsFunc(programs, func(p Program) bool { return p.Path == path }) {
			programs = append(programs, Program{Path: path, LibraryDirs: libraries})
		}
	}
	for _, dir := range filepath.SplitList(f.SearchPath) {
		if filepath.IsAbs(dir) {
			add(filepath.Join(dir, name), nil)
		}
	}
	addAll(filepath.Join(f.SystemRoot, pattern, name), nil, add)
	for _, dir := range f.Dirs {
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

// executable resolves links: one to another folder leads to the installation that a program belongs
// to, which finds its other files from there. A link beside a target of another name is kept
// (redis-server is one).
func executable(path string) (string, bool) {
	dir, err := filepath.EvalSymlinks(filepath.Dir(path))
	if err != nil {
		return "", false
	}
	resolved := filepath.Join(dir, filepath.Base(path))
	target, err := filepath.EvalSymlinks(resolved)
	if err != nil {
		return "", false
	}
	if filepath.Base(target) == filepath.Base(path) {
		resolved = target
	}
	info, err := os.Stat(target)
	return resolved, err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
}

func addAll(pattern string, libraries []string, add func(string, []string)) {
	paths, _ := filepath.Glob(pattern)
	slices.Reverse(paths)
	for _, path := range paths {
		add(path, libraries)
	}
}

// libraryDirs lists the library folders below the root of unpacked packages, also those that
// installed packages reach by links.
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
	libraries, _ := filepath.Glob(filepath.Join(resolved, "usr/lib/*-linux-gnu*/*/lib*.so*"))
	for _, library := range libraries {
		dirs = append(dirs, filepath.Dir(library))
	}
	slices.Sort(dirs)
	return slices.Compact(dirs)
}
