package intake

import (
	"context"
	"os"
	"path/filepath"
	"time"
)

const (
	// maxReady bounds how many files wait to be examined, and maxPending how many are remembered
	// altogether. What does not fit is found by the scan that follows.
	maxReady, maxPending = 4_000, 20_000
	// crowdedPause is how soon that is.
	crowdedPause = 10 * time.Second
	// tick is how often files that are waited for are gone through.
	tick = 250 * time.Millisecond
	// idleTick is how often it is looked whether something else is due while no file is waited for.
	idleTick = time.Second
	// firstProbe and longestProbe bound the pause between two tries of a database that is away.
	firstProbe, longestProbe = 250 * time.Millisecond, 2 * time.Second
)

// pending is a file that is being examined or waited for.
type pending struct {
	size    int64
	modTime time.Time
	// seenAt is when it was first seen, since when it was first seen unchanged.
	seenAt, since time.Time
	// dueAt is when to examine it again; zero while it is queued or in work.
	dueAt  time.Time
	queued bool
	// again says that something happened to it while it was queued or in work.
	again   bool
	againAt time.Time
	// unclosed says that nobody has said that it is whole.
	unclosed bool
	// failures counts looks in a row that failed.
	failures int
}

// session watches one incarnation of the root folder. One goroutine, loop, owns all of its state
// but the channels.
type session struct {
	w        *Watcher
	alive    heartbeat
	rootID   fileID
	spawn    func(f func() error) // runs f within the session
	notifier *notifier            // nil when polling

	notices chan notice
	found   chan []candidate     // what scans found
	work    [examiners]chan look // each has room for one
	results chan finding
	scans   chan string // folders to scan
	scanned chan scanEnd

	files map[string]*pending
	// ready is queued for each examiner, and busy says that it has a file. A camera has one
	// examiner, so that its images are recorded in the order in which they came: what has moved is
	// told from one image to the next.
	ready [examiners][]look
	busy  [examiners]bool
	// waiting is how many are ready.
	waiting int

	scanning   bool
	scanWanted []string // folders that wait for a scan
	scanDueAt  time.Time
	scanBegan  time.Time // by the machine's clock
	checkDueAt time.Time
	// tickAt is when the next tick is due, by the machine's clock.
	tickAt time.Time

	links      []string           // links to folders, which are not followed
	unreadable []unreadableFolder // folders that are left out until they can be read

	checking  bool
	checked   chan folderCheck
	unchecked []string // folders whose turn has not come yet

	// crowded says that there were too many files to remember: another scan is due soon.
	crowded bool
	// passed remembers what polls found recorded; forgetAt is when that is looked up anew. Both
	// belong to scanAll.
	passed   *passedSet
	forgetAt time.Time

	databaseAway bool
	probeDueAt   time.Time
	probePause   time.Duration
	probing      bool
	probed       chan error
}

func newSession(w *Watcher, alive heartbeat, id fileID, spawn func(func() error)) *session {
	s := &session{
		w: w, alive: alive, rootID: id, spawn: spawn,
		notices: make(chan notice, 1024), found: make(chan []candidate),
		results: make(chan finding, examiners),
		scans:   make(chan string), scanned: make(chan scanEnd, 1), probed: make(chan error, 1), checked: make(chan folderCheck, 1),
		files: make(map[string]*pending), passed: newPassedSet(),
	}
	for lane := range s.work {
		s.work[lane] = make(chan look, 1)
	}
	return s
}

// listen starts to listen to the kernel. Where that does not work the folders are polled instead.
func (s *session) listen(ctx context.Context) error {
	if s.w.options.Polling {
		return nil
	}
	notifier, err := newNotifier(s.w.open, func(ctx context.Context, n notice) error {
		select {
		case <-ctx.Done():
			return nil
		case s.notices <- n:
			return nil
		}
	})
	if err == nil {
		if err = notifier.addTree(ctx, s.w.options.Root+string(filepath.Separator)); err != nil {
			notifier.close()
		}
	}
	if err != nil {
		s.w.log.WarnContext(ctx, "no notifications for the camera folders: looking for files instead",
			"interval", s.w.options.PollInterval, "error", err)
		return nil
	}
	s.notifier = notifier
	return nil
}

func (s *session) deafen() {
	if s.notifier != nil {
		s.notifier.close()
	}
}

// loop decides what to do next, until ctx ends or the folders change.
func (s *session) loop(ctx context.Context) error {
	s.wantScan(s.w.options.Root)
	s.tickAt = time.Now().Add(tick)
	timer := time.NewTimer(tick)
	defer timer.Stop()
	for {
		var (
			found <-chan []candidate
			scans chan<- string
			dir   string
		)
		s.handOut()
		timer.Reset(s.untilTick(time.Now()))
		if s.waiting < maxReady { // else the scan waits
			found = s.found
		}
		if len(s.scanWanted) > 0 && !s.scanning && !s.databaseAway {
			scans, dir = s.scans, s.scanWanted[0]
		}
		select {
		case <-ctx.Done():
			return nil
		case scans <- dir:
			s.scanWanted = s.scanWanted[1:]
			s.scanning, s.scanBegan = true, time.Now()
		case n := <-s.notices:
			if err := s.notice(ctx, n); err != nil {
				return err
			}
		case list := <-found:
			for _, c := range list {
				s.offer(c)
			}
		case f := <-s.results:
			s.busy[s.lane(f.path)] = false
			s.finish(ctx, f)
		case end := <-s.scanned:
			s.scanEnded(ctx, end)
		case check := <-s.checked:
			if err := s.foldersChecked(ctx, check); err != nil {
				return err
			}
		case err := <-s.probed:
			s.databaseProbed(ctx, err)
		case now := <-timer.C:
			s.tickAt = now.Add(s.tickInterval())
			if err := s.tick(ctx); err != nil {
				return err
			}
		}
	}
}

// notice handles what the kernel told.
func (s *session) notice(ctx context.Context, n notice) error {
	switch {
	case n.overflow:
		s.w.log.WarnContext(ctx, "the kernel dropped notices of new files: scanning", "path", s.w.options.Root)
		s.wantScan(s.w.options.Root)
	case n.folderGone && n.path == s.w.options.Root:
		return errFoldersChanged
	case n.folderGone:
	case n.folder:
		s.wantScan(n.path)
	case kindOf(filepath.Base(n.path)) == ignored:
	case n.unclosed:
		s.created(n.path)
	default:
		s.closed(n.path)
	}
	return nil
}

// closed handles a file that was closed after writing, moved in or linked: it is examined at once.
func (s *session) closed(path string) {
	if s.databaseAway {
		return // the scan that follows finds it
	}
	p := s.remember(path)
	if p == nil {
		return
	}
	if p.queued {
		if !p.again {
			p.again, p.againAt = true, s.w.now()
		}
		return
	}
	p.failures, p.unclosed = 0, false
	s.examine(path, p, false)
}

// created handles a file that has appeared. It is examined when it is closed; one that is never
// closed, because it got its name after it was written, is examined when it has been unchanged for
// a while.
func (s *session) created(path string) {
	if s.databaseAway {
		return
	}
	p := s.remember(path)
	if p == nil || p.queued {
		return
	}
	p.unclosed = true
	if p.dueAt.IsZero() {
		p.dueAt = s.w.now().Add(s.w.options.SettleTime)
	}
}

// offer handles a file that a scan found.
func (s *session) offer(c candidate) {
	now := s.w.now()
	p, known := s.files[c.path]
	if known {
		if p.size != c.size || !p.modTime.Equal(c.modTime) {
			p.size, p.modTime, p.since = c.size, c.modTime, now
			if !p.queued {
				p.dueAt = now.Add(s.w.options.PollInterval)
			}
		}
		return
	}
	if p = s.remember(c.path); p == nil {
		return
	}
	p.size, p.modTime = c.size, c.modTime
	age := now.Sub(c.modTime)
	switch {
	case age < 0 || age >= s.w.options.SettleTime: // also when the clocks disagree: the end marker tells
		s.examine(c.path, p, false)
	case s.notifier == nil:
		p.dueAt = now.Add(s.w.options.PollInterval)
	default:
		p.unclosed = true
		p.dueAt = now.Add(s.w.options.SettleTime - age)
	}
}

// remember returns the record of a file; nil when there are too many, and then a scan is due.
func (s *session) remember(path string) *pending {
	if p, known := s.files[path]; known {
		return p
	}
	if len(s.files) >= maxPending {
		s.crowded = true
		if !s.scanning {
			s.scanWithin(crowdedPause)
		}
		return nil
	}
	now := s.w.now()
	p := &pending{seenAt: now, since: now}
	s.files[path] = p
	return p
}

// finish handles what an examiner found.
func (s *session) finish(ctx context.Context, f finding) {
	p := s.files[f.path]
	if p == nil {
		return
	}
	p.queued = false
	now := s.w.now()
	switch f.outcome {
	case settled:
		if !p.again {
			delete(s.files, f.path)
			return
		}
		p.seenAt = p.againAt // what was recorded is done: this is another image
	case unfinished:
		if p.size != f.size || !p.modTime.Equal(f.modTime) {
			p.size, p.modTime, p.since = f.size, f.modTime, now
		}
		p.dueAt = now.Add(s.nextLook(now.Sub(p.since)))
	case failed:
		p.failures++
		s.w.log.WarnContext(ctx, "file cannot be looked at", "path", storablePath(f.path), "error", f.err)
		if p.failures >= 5 { // the hourly scan tries again
			delete(s.files, f.path)
			return
		}
		p.dueAt = now.Add(time.Duration(p.failures) * s.w.options.SettleTime)
	case databaseOut:
		s.databaseLost(ctx, f.err)
		return
	}
	if p.again {
		p.again = false
		s.examine(f.path, p, false)
	}
}

// nextLook is when to look again at a file that has been unchanged for a while: often at first, and
// last when it is given up.
func (s *session) nextLook(unchanged time.Duration) time.Duration {
	giveUp := s.w.options.GiveUpTime
	return max(tick, min(max(s.w.options.SettleTime, unchanged/4), giveUp-unchanged))
}

// untilTick is how long to wait for the next tick. A file that comes can bring the tick forward and
// never puts it off: else a steady stream of files, each recorded at once, would put it off for
// ever.
func (s *session) untilTick(now time.Time) time.Duration {
	if soon := now.Add(s.tickInterval()); soon.Before(s.tickAt) {
		s.tickAt = soon
	}
	return max(s.tickAt.Sub(now), 0)
}

func (s *session) tickInterval() time.Duration {
	if len(s.files) == 0 && !s.databaseAway {
		return idleTick
	}
	return tick
}

// tick does what is due.
func (s *session) tick(ctx context.Context) error {
	now := s.w.now()
	s.alive.Beat()
	s.examineDue(now)
	if !now.Before(s.scanDueAt) && !s.scanDueAt.IsZero() {
		s.wantScan(s.w.options.Root)
	}
	if !now.Before(s.checkDueAt) {
		s.checkDueAt = now.Add(s.w.options.CheckInterval)
		if root, err := os.Stat(s.w.options.Root); err != nil || folderID(root) != s.rootID {
			return errFoldersChanged
		}
		s.checkFolders(ctx)
		s.checkLinks()
	}
	if s.databaseAway && !s.probing && !now.Before(s.probeDueAt) {
		s.probing = true
		s.spawn(guarded(func() error { s.probe(ctx); return nil }))
	}
	return nil
}
