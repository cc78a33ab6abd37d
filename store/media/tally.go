package media

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// restShard stands for all that does not lie in a folder of ours: files that were there before us.
const restShard = ""

const shardCount = 256

// Figure is how much of a kind there is, and when that was true.
type Figure struct {
	FileCount int64
	SizeBytes int64 // sum of the file sizes
	AsOf      time.Time
}

// tally keeps the exact figure of a folder that only we write. Each shard is counted under its lock
// and adjusted under the same lock whenever a file comes or goes, so that a count and a change
// never miss or double each other.
type tally struct {
	shards map[string]*shard // fixed

	mu       sync.Mutex
	files    int64     // guarded by mu; over the counted shards
	bytes    int64     // guarded by mu
	unknown  int       // guarded by mu; shards not counted yet
	baseline *Figure   // guarded by mu; what an earlier process knew, until all shards are counted
	since    time.Time // guarded by mu; when the folder was last seen in order; zero = it never was
	stale    bool      // guarded by mu; the folder was away and must be counted again
}

// shard is one folder of files. Its lock also covers the change on the disk.
type shard struct {
	lock  lock
	known bool  // guarded by lock
	files int64 // guarded by lock
	bytes int64 // guarded by lock
}

func newTally() *tally {
	t := &tally{shards: make(map[string]*shard, shardCount+1)}
	for i := range shardCount {
		t.shards[fmt.Sprintf("%02x", i)] = &shard{lock: newLock()}
	}
	t.shards[restShard] = &shard{lock: newLock()}
	t.unknown = len(t.shards)
	return t
}

// shardOf returns the name of the shard that a relative path belongs to.
func (t *tally) shardOf(rel string) string {
	for i := range len(rel) {
		if rel[i] == '/' {
			if _, known := t.shards[rel[:i]]; known {
				return rel[:i]
			}
			break
		}
	}
	return restShard
}

// change runs do, which adds or removes files of one shard, and adjusts the figure when it
// succeeds.
func (t *tally) change(ctx context.Context, name string, do func() error, files, bytes int64) error {
	sh := t.shards[name]
	if err := sh.lock.acquire(ctx); err != nil {
		return err
	}
	defer sh.lock.release()
	if err := do(); err != nil {
		return err
	}
	t.adjust(sh, files, bytes)
	return nil
}

// adjust needs the shard's lock.
func (t *tally) adjust(sh *shard, files, bytes int64) {
	sh.files += files
	sh.bytes += bytes
	t.mu.Lock()
	defer t.mu.Unlock()
	t.files += files
	t.bytes += bytes
}

// recount replaces a shard's figure by what count finds.
func (t *tally) recount(ctx context.Context, name string, count func() (files, bytes int64, err error)) error {
	sh := t.shards[name]
	if err := sh.lock.acquire(ctx); err != nil {
		return err
	}
	defer sh.lock.release()
	files, bytes, err := count()
	if err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.files += files - sh.files
	t.bytes += bytes - sh.bytes
	if !sh.known {
		sh.known = true
		t.unknown--
	}
	sh.files, sh.bytes = files, bytes
	return nil
}

// counted ends a count of all shards.
func (t *tally) counted(at time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.stale = false
	t.since = at
}

// seen notes whether the folder was in order at a time. After an absence the figure keeps the time
// at which it was last true until everything is counted again.
func (t *tally) seen(at time.Time, inOrder bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case !inOrder:
		t.stale = true
	case !t.stale:
		t.since = at
	}
}

// start sets what an earlier process knew.
func (t *tally) start(baseline Figure) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.baseline = &baseline
}

// needsCount tells whether the figure cannot be trusted as it is.
func (t *tally) needsCount() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.stale || t.unknown > 0
}

// figure returns the figure, and false as long as nobody ever counted.
func (t *tally) figure() (Figure, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.unknown == 0 && !t.since.IsZero():
		return Figure{FileCount: t.files, SizeBytes: t.bytes, AsOf: t.since}, true
	case t.baseline != nil:
		return *t.baseline, true
	default:
		return Figure{}, false
	}
}
