package queue

import (
	"math"
	"time"
)

const (
	// leastWindow and mostWindow bound how many entries wait in the stream.
	leastWindow, mostWindow = 32, 1000
	// horizon is the time for which the waiting entries shall last.
	horizon = 250 * time.Millisecond
	// measureFor is how long one measurement takes at least: consumers take several at once.
	measureFor = 200 * time.Millisecond
	// slowing is how much of the pace is kept from one measurement to the next when work has become
	// slower.
	slowing = 0.8
)

// pace measures how fast entries are taken from a stream, by whatever process, and says how many
// should wait in it.
type pace struct {
	since     time.Time // when the measurement began
	waiting   int       // how many would wait if none had been taken since
	perSecond float64
}

// window tells how many entries should wait, seeing how many still do.
func (p *pace) window(now time.Time, waiting int) int {
	elapsed := now.Sub(p.since)
	if p.since.IsZero() || elapsed < 0 {
		p.since, p.waiting = now, waiting
	} else if elapsed >= measureFor {
		p.perSecond = max(float64(max(0, p.waiting-waiting))/elapsed.Seconds(), slowing*p.perSecond)
		p.since, p.waiting = now, waiting
	}
	return max(leastWindow, int(min(mostWindow, math.Ceil(p.perSecond*horizon.Seconds()))))
}

// add notes that entries were added.
func (p *pace) add(added int) { p.waiting += added }
