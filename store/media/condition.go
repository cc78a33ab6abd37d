package media

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"hsi.home.arpa/internal/beat"
)

// condition is an immutable picture of the folders at one moment.
type condition struct {
	at       time.Time
	problems []error // empty when all is well
	disk     *disk   // nil when it could not be read
}

// disk is the file system of the thumbnail folder, in bytes.
type disk struct {
	used, total, free int64
}

// writeState remembers whether the last write of a kind failed for a reason that lies with the
// disk.
type writeState struct {
	mu     sync.Mutex
	failed map[Kind]string // guarded by mu
}

// note records how a write ended.
func (w *writeState) note(kind Kind, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case err == nil:
		delete(w.failed, kind)
	case diskFull(err):
		if w.failed == nil {
			w.failed = make(map[Kind]string)
		}
		w.failed[kind] = rootCause(err)
	}
}

func (w *writeState) problem(kind Kind) (string, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	why, failed := w.failed[kind]
	return why, failed
}

func rootCause(err error) string {
	for _, errno := range diskErrors {
		if errors.Is(err, errno) {
			return errno.Error()
		}
	}
	return err.Error()
}

// watchCondition looks at the folders at each interval. A file system that hangs, such as a lost
// network mount, holds up one look and no more: the next one starts when that is over, and Health
// says meanwhile that the folders do not answer.
func (s *Store) watchCondition(ctx context.Context) error {
	results := make(chan *condition, 1)
	looking := false
	var last []error
	for {
		if !looking {
			looking = true
			go func() { results <- s.look(ctx) }()
		}
		select {
		case <-ctx.Done():
			if looking {
				select { // a look takes microseconds unless the disk hangs, and then it is left alone
				case <-results:
				case <-time.After(lookGrace):
				}
			}
			return nil
		case found := <-results:
			looking = false
			s.condition.Store(found)
			s.logChange(ctx, last, found.problems)
			last = found.problems
		}
		if !sleep(ctx, beat.Until(time.Now(), s.options.CheckInterval)) {
			return nil
		}
	}
}

// lookGrace is how long the end waits for a look.
const lookGrace = 250 * time.Millisecond

// patience is how old the last look may be.
func (s *Store) patience() time.Duration {
	return 3*s.options.CheckInterval + 3*time.Second
}

func (s *Store) logChange(ctx context.Context, before, after []error) {
	for _, problem := range after {
		known := slices.ContainsFunc(before, func(b error) bool { return b.Error() == problem.Error() })
		if !known && !strings.HasSuffix(problem.Error(), waitsForDatabase) {
			s.log.WarnContext(ctx, "media storage has a problem", "problem", problem)
		}
	}
	if len(before) > 0 && len(after) == 0 && !strings.HasSuffix(before[0].Error(), waitsForDatabase) {
		s.log.InfoContext(ctx, "media storage is in order again")
	}
}

// look examines every folder once.
func (s *Store) look(ctx context.Context) *condition {
	for _, r := range s.markedRoots() {
		s.prepareSoon(ctx, r)
	}
	found := &condition{at: s.now()}
	for _, r := range s.markedRoots() {
		reachable, problem := s.lookAtMarked(r)
		s.tallies[r.kind].seen(found.at, reachable)
		if problem != nil {
			found.problems = append(found.problems, problem)
		}
		if r == s.thumbnails && reachable { // else it would be the size of whatever is below the mount point
			if usage, err := statDisk(r.path); err == nil {
				found.disk = &usage
			}
		}
	}
	if info, err := os.Stat(s.cameras.path); err != nil {
		found.problems = append(found.problems, s.cameras.unavailable(describe(err)))
	} else if !info.IsDir() {
		found.problems = append(found.problems, s.cameras.unavailable("is not a folder"))
	}
	if err := s.images.problem(); err != nil {
		found.problems = append(found.problems, err)
	}
	return found
}

// prepareSoon takes a folder into use as soon as the database is there. What goes wrong is kept
// with the folder.
func (s *Store) prepareSoon(ctx context.Context, r *root) {
	if r.expectedID() != "" || s.options.DB.Ready() != nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, figuresTimeout)
	defer cancel()
	_ = s.prepare(ctx, r) // remembered by prepare itself
}

// lookAtMarked examines a folder that we write. A reachable folder is there and the right one, full
// or not.
func (s *Store) lookAtMarked(r *root) (reachable bool, problem error) {
	dir, err := r.open()
	if err != nil {
		return false, err
	}
	defer func() { _ = dir.Close() }() // only read
	var stat unix.Statfs_t
	if err := unix.Statfs(r.path, &stat); err != nil {
		return false, r.unavailable(describe(err))
	}
	switch {
	case stat.Flags&unix.ST_RDONLY != 0:
		return true, r.unavailable("is on a read-only file system")
	case blocks(stat.Bavail, stat.Frsize) < s.options.MinFreeBytes:
		return true, r.unavailable(fmt.Sprintf("is on a full disk: less than %d MiB free", s.options.MinFreeBytes>>20))
	case stat.Files > 0 && stat.Ffree == 0:
		return true, r.unavailable("is on a full disk: no free inodes")
	}
	if why, failed := s.writes.problem(r.kind); failed {
		// Nobody may try again for a long time: find out ourselves whether the disk takes writes.
		if err := tryWrite(dir); err != nil {
			return true, r.unavailable("cannot be written: " + why)
		}
		s.writes.note(r.kind, nil)
	}
	return true, nil
}

// tryWrite writes and removes a small file.
func tryWrite(dir *os.Root) error {
	const name = ownPrefix + "write-test"
	_ = dir.Remove(name) // left by a crash
	err := writeFileDurably(dir, name, make([]byte, 4096))
	if removeErr := dir.Remove(name); err == nil {
		err = removeErr
	}
	return err
}

// statDisk reads the size of the file system that a folder is on. Free is what an ordinary user may
// still write, so used and free do not add up to the total where blocks are reserved.
func statDisk(path string) (disk, error) {
	var stat unix.Statfs_t
	if err := unix.Statfs(path, &stat); err != nil {
		return disk{}, fmt.Errorf("read the size of the file system of %s: %w", path, err)
	}
	return disk{
		total: blocks(stat.Blocks, stat.Frsize),
		free:  blocks(stat.Bavail, stat.Frsize),
		used:  blocks(stat.Blocks-stat.Bfree, stat.Frsize),
	}, nil
}

// blocks turns a number of blocks into bytes.
func blocks(count uint64, size int64) int64 {
	return int64(count) * size //nolint:gosec // a file system of 2^63 bytes does not exist
}

// Health tells whether the media folders can be used, and if not why. It answers from the last look
// and never touches the disk. The message is for everybody who may ask how the system is: where the
// folders lie is in the log only.
func (s *Store) Health() (ok bool, message string) {
	found := s.condition.Load()
	switch {
	case found == nil:
		return false, "the media folders were not looked at yet"
	case s.now().Sub(found.at) > s.patience():
		return false, fmt.Sprintf("the media folders do not answer since %s", found.at.UTC().Format(time.RFC3339))
	case len(found.problems) > 0:
		return false, s.outward(found.problems)
	}
	return true, "media folders in order"
}

// outward words problems for everybody: without hints, and without the folders' paths. What is
// below a folder stays, as a path in it.
func (s *Store) outward(problems []error) string {
	said := make([]string, len(problems))
	for i, problem := range problems {
		said[i] = problem.Error()
		if known, ok := errors.AsType[*UnavailableError](problem); ok {
			said[i] = known.outward()
		}
	}
	message := strings.Join(said, "; ")
	for _, folder := range []string{s.options.Thumbnails, s.options.Clips, s.options.Cameras} {
		message = strings.ReplaceAll(message, " "+folder+" ", " ")
		message = strings.ReplaceAll(message, folder+"/", "")
	}
	return message
}
