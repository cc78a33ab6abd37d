package intake

import (
	"context"
	"errors"
	"slices"
	"time"

	"hsi.home.arpa/store"
)

// wantScan asks for a scan of a folder; one of the whole includes all others.
func (s *session) wantScan(dir string) {
	root := s.w.options.Root
	if dir == root {
		s.scanWanted = append(s.scanWanted[:0], root)
		s.scanDueAt = time.Time{}
		return
	}
	for _, wanted := range s.scanWanted {
		if wanted == root || wanted == dir {
			return
		}
	}
	if len(s.scanWanted) >= 1000 {
		s.wantScan(root)
		return
	}
	s.scanWanted = append(s.scanWanted, dir)
}

// scanEnd says how a scan of a folder ended.
type scanEnd struct {
	dir   string
	err   error
	links []string // links to folders
	// unreadable folders were left out.
	unreadable []unreadableFolder
}

// scanEnded plans the next scan of the whole. A scan of one folder does not put it off.
func (s *session) scanEnded(ctx context.Context, end scanEnd) {
	s.scanning = false
	options := s.w.options
	if errors.Is(end.err, store.ErrUnavailable) {
		s.databaseLost(ctx, end.err)
		return
	}
	if end.err != nil && ctx.Err() == nil {
		s.w.log.WarnContext(ctx, "scan of the camera folders failed", "path", storablePath(end.dir), "error", end.err)
		s.scanWithin(options.CheckInterval)
		return
	}
	s.unreadableScanned(ctx, end.dir, end.unreadable)
	s.linksScanned(end.dir, end.links)
	if s.crowded {
		s.crowded = false
		s.scanWithin(crowdedPause)
	}
	switch {
	case end.dir != options.Root:
	case s.notifier != nil:
		s.scanWithin(options.ScanInterval)
	default:
		s.scanWithin(max(options.PollInterval, 9*time.Since(s.scanBegan)))
	}
}

// scanWithin makes the next scan of the whole due after pause, unless it is due sooner or asked for
// already.
func (s *session) scanWithin(pause time.Duration) {
	if slices.Contains(s.scanWanted, s.w.options.Root) {
		return
	}
	if dueAt := s.w.now().Add(pause); s.scanDueAt.IsZero() || dueAt.Before(s.scanDueAt) {
		s.scanDueAt = dueAt
	}
}
