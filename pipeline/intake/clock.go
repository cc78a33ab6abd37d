package intake

import (
	"context"
	"sync"
	"time"
)

const (
	// clockFreshFor is how long a comparison of our clock with the database's is relied on.
	clockFreshFor = time.Minute
	// clockSlack is what two comparisons may differ because of the way to the database. Changing
	// over for less would disturb the order of the images.
	clockSlack = 10 * time.Millisecond
	// clockReadings are taken for one comparison; the best one counts.
	clockReadings = 3
)

// databaseClock turns times of this process into times of the database, by which all rows are
// dated.
type databaseClock struct {
	now  func() time.Time
	read func(ctx context.Context) (time.Time, error)

	mu sync.Mutex
	// ours and theirs are the same moment, but that theirs is early by the time that the answer
	// took. So nothing is ever dated later than it was.
	ours, theirs time.Time // guarded by mu
	comparedAt   time.Time // guarded by mu
}

// at returns what the database's clock showed when ours showed t.
func (c *databaseClock) at(ctx context.Context, t time.Time) (time.Time, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.fresh() {
		if err := c.compare(ctx); err != nil {
			return time.Time{}, err
		}
	}
	return c.theirs.Add(t.Sub(c.ours)), nil
}

// fresh tells whether the last comparison still holds: it is young, and our clock was neither set
// nor asleep since.
func (c *databaseClock) fresh() bool {
	if c.comparedAt.IsZero() {
		return false
	}
	now := c.now()
	age := now.Sub(c.comparedAt)
	set := now.Round(0).Sub(c.comparedAt.Round(0)) - age // Round takes the monotonic reading away
	return age < clockFreshFor && set.Abs() < clockSlack
}

func (c *databaseClock) compare(ctx context.Context) error {
	var ours, theirs time.Time
	for range clockReadings {
		reading, err := c.read(ctx)
		if err != nil {
			return err
		}
		now := c.now()
		if ours.IsZero() || reading.Sub(theirs) > now.Sub(ours) {
			ours, theirs = now, reading
		}
	}
	late := theirs.Sub(c.theirs) - ours.Sub(c.ours)
	if c.comparedAt.IsZero() || late < 0 || late > clockSlack {
		c.ours, c.theirs = ours, theirs
	}
	c.comparedAt = ours
	return nil
}
