package queue

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"time"
)

// Backlog is how much work of a queue is not finished.
type Backlog struct {
	// Count is how much that is, the work in progress included.
	Count int64
	// Oldest is since when the oldest of it waits; nil when there is none.
	Oldest *time.Time
	// ReadAt is when all this was so, by the clock that Oldest is from.
	ReadAt time.Time
}

// age is for how long the oldest has waited.
func (b Backlog) age() time.Duration {
	if b.Oldest == nil {
		return 0
	}
	return b.ReadAt.Sub(*b.Oldest)
}

const (
	// backlogInterval is how often the backlog is looked at.
	backlogInterval = 2 * time.Second
	// tellAge is from what age of the oldest on people are told how much waits.
	tellAge = 15 * time.Second
	// warnAge is from what age on it is logged, once until it has been caught up with.
	warnAge = 5 * time.Minute
)

// backlogWatch looks at the backlog now and then and words it.
type backlogWatch struct {
	log  *slog.Logger
	what string // what waits, such as "images"

	lookedAt time.Time
	message  string // empty when there is nothing to tell
	warned   bool
}

// look words the backlog, now and then.
func (w *backlogWatch) look(ctx context.Context, now time.Time, source source) error {
	if age := now.Sub(w.lookedAt); age >= 0 && age < backlogInterval {
		return nil
	}
	_, err := w.empty(ctx, now, source)
	return err
}

// empty words the backlog and tells whether there is none.
func (w *backlogWatch) empty(ctx context.Context, now time.Time, source source) (bool, error) {
	backlog, err := source.Backlog(ctx)
	if err != nil {
		return false, err
	}
	w.lookedAt = now
	w.word(ctx, backlog)
	return backlog.Oldest == nil, nil
}

// word keeps what there is to tell of a backlog, and logs when it begins and ends to be old.
func (w *backlogWatch) word(ctx context.Context, backlog Backlog) {
	age := backlog.age()
	w.message = ""
	if age >= tellAge {
		layout := "15:04:05Z"
		if age >= 24*time.Hour {
			layout = time.RFC3339
		}
		w.message = fmt.Sprintf("%s %s waiting, oldest since %s", grouped(backlog.Count), w.what, backlog.Oldest.UTC().Format(layout))
	}
	switch {
	case age >= warnAge && !w.warned:
		w.warned = true
		w.log.WarnContext(ctx, "work waits long", "what", w.what, "waiting", backlog.Count, "oldest_since", backlog.Oldest.UTC(), "age", age.Round(time.Second))
	case age < tellAge && w.warned:
		w.warned = false
		w.log.InfoContext(ctx, "work no longer waits long", "what", w.what, "waiting", backlog.Count)
	}
}

// grouped writes a number as 1,204.
func grouped(n int64) string {
	text := strconv.FormatInt(n, 10)
	for i := len(text) - 3; i > 0 && text[i-1] != '-'; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}
