package intake

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// checkedAtOnce is how many folders below those of the cameras are looked at in one check. The
// others have their turn later.
const checkedAtOnce = 1000

// maxUnreadable is how many folders that cannot be read are remembered. The others have to wait for
// the scan of the whole.
const maxUnreadable = 1000

// unreadableFolder is a folder that is left out: it is not watched, and its files are not found.
type unreadableFolder struct {
	path string
	err  error
}

// leaveOutUnreadable passes over that a folder cannot be read: the scan that follows says so, and
// all others go on.
func leaveOutUnreadable(err error) error {
	if _, unreadable := errors.AsType[*folderError](err); unreadable {
		return nil
	}
	return err
}

// unreadableScanned takes over which folders a scan of dir has left out.
func (s *session) unreadableScanned(ctx context.Context, dir string, found []unreadableFolder) {
	is := func(path string) func(unreadableFolder) bool {
		return func(f unreadableFolder) bool { return f.path == path }
	}
	var others []unreadableFolder
	for _, known := range s.unreadable {
		switch {
		case !inside(dir, known.path):
			others = append(others, known)
		case !slices.ContainsFunc(found, is(known.path)):
			s.w.log.InfoContext(ctx, "folder is no longer left out", "path", storablePath(known.path))
		}
	}
	for _, folder := range found {
		if !slices.ContainsFunc(s.unreadable, is(folder.path)) {
			s.w.log.WarnContext(ctx, "folder cannot be read and is left out", "path", storablePath(folder.path), "error", folder.err)
		}
	}
	s.unreadable = slices.Concat(others, found)
}

// folderCheck is what a look at the watched folders found, and at those that could not be read:
// which are others, and which can be.
type folderCheck struct{ exchanged, readable []string }

// checkFolders looks whether the watched folders are still those that are watched: a file system
// that is mounted on one hides it without a word from the kernel. It looks aside from the loop,
// because a file system that does not answer holds up whoever asks.
func (s *session) checkFolders(ctx context.Context) {
	if s.notifier == nil || s.checking {
		return
	}
	var dirs []string
	watched := s.notifier.watched()
	for _, dir := range watched {
		if filepath.Dir(dir) == s.w.options.Root {
			dirs = append(dirs, dir)
		}
	}
	if len(s.unchecked) == 0 {
		s.unchecked = watched
	}
	turn := min(checkedAtOnce, len(s.unchecked))
	dirs = append(dirs, s.unchecked[:turn]...)
	s.unchecked = s.unchecked[turn:]

	leftOut := s.notifier.missedFolders()
	for _, folder := range s.unreadable {
		leftOut = append(leftOut, filepath.Clean(folder.path))
	}
	slices.Sort(leftOut)
	leftOut = slices.Compact(leftOut)
	leftOut = leftOut[:min(maxUnreadable, len(leftOut))]

	s.checking = true
	s.spawn(guarded(func() error {
		var check folderCheck
		for _, dir := range leftOut {
			opened, err := s.w.open(dir, os.O_RDONLY, 0)
			if err == nil {
				_ = opened.Close() // nothing was read
			}
			if err == nil || errors.Is(err, fs.ErrNotExist) {
				check.readable = append(check.readable, dir)
			}
		}
		for _, dir := range dirs {
			if ctx.Err() == nil && dir != s.w.options.Root && s.notifier.exchanged(dir) {
				check.exchanged = append(check.exchanged, dir)
			}
		}
		s.checked <- check // has room: there is one check at a time
		return nil
	}))
}

// foldersChecked watches and scans the folders that were exchanged, and those that can be read now.
func (s *session) foldersChecked(ctx context.Context, check folderCheck) error {
	s.checking = false
	for _, dir := range check.exchanged {
		s.w.log.InfoContext(ctx, "folder was exchanged, watching it anew", "path", storablePath(dir))
	}
	for _, dir := range slices.Concat(check.exchanged, check.readable) {
		if err := leaveOutUnreadable(s.notifier.addTree(ctx, dir)); err != nil {
			return err
		}
		s.wantScan(dir)
	}
	return nil
}
