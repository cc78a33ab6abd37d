package intake

import (
	"context"

	"hsi.home.arpa/store"
)

// databaseLost forgets what was to be recorded: the scan that follows when the database is back
// finds it again.
func (s *session) databaseLost(ctx context.Context, err error) {
	if s.databaseAway {
		return
	}
	s.w.log.WarnContext(ctx, "images cannot be recorded, waiting for the database", "error", err)
	s.databaseAway = true
	s.say()
	s.probePause = firstProbe
	s.probeDueAt = s.w.now().Add(s.probePause)
	s.files = make(map[string]*pending)
	s.ready, s.waiting = [examiners][]look{}, 0
}

// databaseProbed handles the end of a probe.
func (s *session) databaseProbed(ctx context.Context, err error) {
	s.probing = false
	if err != nil {
		s.probePause = min(longestProbe, 2*s.probePause)
		s.probeDueAt = s.w.now().Add(s.probePause)
		return
	}
	s.w.log.InfoContext(ctx, "database is back, scanning the camera folders")
	s.databaseAway = false
	s.say()
	s.wantScan(s.w.options.Root)
}

// probe tries whether the database is back.
func (s *session) probe(ctx context.Context) {
	probeCtx, cancel := context.WithTimeout(ctx, longestProbe)
	defer cancel()
	_, err := s.w.options.Ledger.KnownImages(probeCtx, []store.ImageKey{{CameraID: "-", FilePath: "-"}})
	s.probed <- err
}
