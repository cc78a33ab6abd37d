package detect

import (
	"sync"
	"time"
)

// activitySeconds is the span over which InferenceFPS counts.
const activitySeconds = 60

// Activity counts images that went through a detector. The zero value is not usable, see
// NewActivity.
type Activity struct {
	now   func() time.Time
	since time.Time // what ran before is unknown

	mu      sync.Mutex
	counts  [activitySeconds]int64 // guarded by mu; images of one second, by second modulo the span
	seconds [activitySeconds]int64 // guarded by mu; the Unix second that a count belongs to
}

// NewActivity makes a counter that has counted nothing. now is the clock, time.Now when nil.
func NewActivity(now func() time.Time) *Activity {
	if now == nil {
		now = time.Now
	}
	return &Activity{now: now, since: now()}
}

// add counts one image.
func (a *Activity) add() {
	second := a.now().Unix()
	slot := second % activitySeconds
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.seconds[slot] != second {
		a.seconds[slot], a.counts[slot] = second, 0
	}
	a.counts[slot]++
}

// InferenceFPS is how many images per second went through the detector, over the last 60 seconds; 0
// when idle, nil in the first 60 seconds, of which only a part is known.
func (a *Activity) InferenceFPS() *float64 {
	at := a.now()
	if age := at.Sub(a.since); age >= 0 && age < activitySeconds*time.Second {
		return nil
	}
	now := at.Unix()
	a.mu.Lock()
	defer a.mu.Unlock()
	var sum int64
	for slot, second := range a.seconds {
		if age := now - second; age >= 0 && age < activitySeconds {
			sum += a.counts[slot]
		}
	}
	return new(float64(sum) / activitySeconds)
}
