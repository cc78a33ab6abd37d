package intake

import (
	"hash/fnv"
	"slices"
	"time"
)

// examine queues a file for an examiner.
func (s *session) examine(path string, p *pending, final bool) {
	p.queued, p.dueAt = true, time.Time{}
	lane := s.lane(path)
	s.ready[lane] = append(s.ready[lane], look{
		path: path, final: final, unclosed: p.unclosed, seenAt: p.seenAt, size: p.size, modTime: p.modTime, since: p.since,
	})
	s.waiting++
}

// lane is the examiner of a file's camera.
func (s *session) lane(path string) int {
	folder, _ := cameraFolder(s.w.options.Root, path)
	hash := fnv.New32a()
	_, _ = hash.Write([]byte(CameraID(folder))) // never fails
	return int(hash.Sum32() % examiners)
}

// handOut gives each examiner that has none its next file.
func (s *session) handOut() {
	for lane, ready := range s.ready {
		if len(ready) > 0 && !s.busy[lane] && !s.databaseAway {
			s.work[lane] <- ready[0] // has room
			s.ready[lane], s.busy[lane] = ready[1:], true
			s.waiting--
		}
	}
}

// examineDue queues the files that were waited for long enough, in the order in which they were
// seen.
func (s *session) examineDue(now time.Time) {
	var due []string
	for path, p := range s.files {
		if !p.queued && !p.dueAt.IsZero() && !now.Before(p.dueAt) {
			due = append(due, path)
		}
	}
	slices.SortFunc(due, func(a, b string) int { return s.files[a].seenAt.Compare(s.files[b].seenAt) })
	for _, path := range due[:min(len(due), max(0, maxReady-s.waiting))] {
		p := s.files[path]
		s.examine(path, p, now.Sub(p.since) >= s.w.options.GiveUpTime)
	}
}
