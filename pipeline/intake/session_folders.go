package intake

import (
	"context"
	"path/filepath"
)

// checkedAtOnce is how many folders below those of the cameras are looked at in one check. The others have their turn later.
const checkedAtOnce = 1000

// folderCheck is what a look at the watched folders found.
type folderCheck struct{ exchanged []string }

// checkFolders looks whether the watched folders are still those that are watched: a file system that is mounted on one hides
// it without a word from the kernel. It looks aside from the loop, because a file system that does not answer holds up
// whoever asks.
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

	s.checking = true
	s.spawn(guarded(func() error {
		var check folderCheck
		for _, dir := range dirs {
			if ctx.Err() == nil && dir != s.w.options.Root && s.notifier.exchanged(dir) {
				check.exchanged = append(check.exchanged, dir)
			}
		}
		s.checked <- check // has room: there is one check at a time
		return nil
	}))
}

// foldersChecked watches and scans the folders that were exchanged.
func (s *session) foldersChecked(ctx context.Context, check folderCheck) error {
	s.checking = false
	for _, dir := range check.exchanged {
		s.w.log.InfoContext(ctx, "folder was exchanged, watching it anew", "path", storablePath(dir))
		if err := s.notifier.addTree(ctx, dir); err != nil {
			return err
		}
		s.wantScan(dir)
	}
	return nil
}
