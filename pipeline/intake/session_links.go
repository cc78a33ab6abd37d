package intake

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// linkFound tells about a link to a folder, once. Links are not followed: the kernel does not tell
// what happens behind them, and they may lead in circles or to files that are nobody's business.
func (w *Watcher) linkFound(ctx context.Context, path string) {
	if w.links.first(path) {
		w.log.WarnContext(ctx, "link to a folder is not followed: bind-mount the folder there instead", "path", storablePath(path))
	}
}

// linksScanned takes over which links to folders a scan of dir has found.
func (s *session) linksScanned(dir string, links []string) {
	s.links = slices.DeleteFunc(s.links, func(path string) bool { return inside(dir, path) })
	s.links = append(s.links, links...)
	s.say()
}

// checkLinks forgets links that are gone.
func (s *session) checkLinks() {
	before := len(s.links)
	s.links = slices.DeleteFunc(s.links, func(path string) bool {
		info, err := os.Lstat(path)
		return err != nil || info.Mode()&fs.ModeSymlink == 0
	})
	if len(s.links) != before {
		s.say()
	}
}

// say shows what the watcher waits for, or which folders it leaves out. The message is public: it
// names no path outside the root.
func (s *session) say() {
	switch {
	case s.databaseAway:
		s.alive.Say("waiting for the database")
	case len(s.unreadable) > 0:
		s.alive.Say(s.about(s.unreadable[0].path, "cannot be read and is left out until it can", len(s.unreadable)))
	case len(s.links) > 0:
		s.alive.Say(s.about(s.links[0], "is a link to a folder and is not followed: bind-mount the folder there instead", len(s.links)))
	default:
		s.alive.Say("")
	}
}

// about says something of the first of a number of folders.
func (s *session) about(path, what string, count int) string {
	name, err := filepath.Rel(s.w.options.Root, path)
	switch {
	case err != nil:
		name = filepath.Base(path)
	case name == ".":
		name = "the camera folder"
	}
	if count > 1 {
		what += fmt.Sprintf(" (and %d more)", count-1)
	}
	return storablePath(name) + " " + what
}
