package intake

import "context"

// examineAll examines files of its cameras until ctx ends.
func (s *session) examineAll(ctx context.Context, work <-chan look) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case l := <-work:
			found := s.w.examine(ctx, l)
			s.w.examined(found)
			select {
			case <-ctx.Done():
				return nil
			case s.results <- found:
			}
		}
	}
}

// scanAll scans folders until ctx ends.
func (s *session) scanAll(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case dir := <-s.scans:
			s.scanned <- s.scan(ctx, dir) // has room: the loop asks for one scan at a time
		}
	}
}

func (s *session) scan(ctx context.Context, dir string) scanEnd {
	startedAt := s.w.now()
	fresh := 0
	var (
		links      []string
		unreadable []unreadableFolder
	)
	scan := scanner{
		root: s.w.options.Root, open: s.w.open, known: s.w.known, folder: s.w.ensureCamera,
		emit: func(ctx context.Context, found []candidate) error {
			fresh += len(found)
			select {
			case <-ctx.Done():
				return ctx.Err()
			case s.found <- found:
				return nil
			}
		},
		link: func(ctx context.Context, path string) {
			links = append(links, path)
			s.w.linkFound(ctx, path)
		},
		trouble: func(_ context.Context, path string, err error) {
			if len(unreadable) < maxUnreadable {
				unreadable = append(unreadable, unreadableFolder{path: path, err: err})
			}
		},
	}
	if s.notifier == nil {
		scan.passed = s.passed
		if !startedAt.Before(s.forgetAt) {
			s.forgetAt = startedAt.Add(s.w.options.ScanInterval)
			s.passed = newPassedSet()
			scan.passed = s.passed
		}
	}
	err := scan.scan(ctx, dir)
	if err == nil && (s.notifier != nil || fresh > 0) {
		s.w.log.DebugContext(ctx, "camera folders scanned", "path", storablePath(dir), "files", scan.count, "new", fresh,
			"took", s.w.now().Sub(startedAt))
	}
	return scanEnd{dir: dir, err: err, links: links, unreadable: unreadable}
}
