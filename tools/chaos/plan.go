package main

import (
	"math/rand/v2"
	"time"
)

// kind is a kind of fault, in the words of the report.
type kind string

// The faults of the processes and their connections.
const (
	killServer     kind = "kill -9 of the server"
	killPostgres   kind = "kill -9 of PostgreSQL"
	killRedis      kind = "kill -9 of Redis"
	staleRedis     kind = "kill -9 of Redis, back with a stale file"
	flushRedis     kind = "FLUSHALL"
	killSession    kind = "a session of PostgreSQL killed"
	cutSessions    kind = "PostgreSQL cuts all connections"
	readOnly       kind = "PostgreSQL read-only"
	holdLock       kind = "a lock held on a table"
	freezeServer   kind = "server frozen"
	freezeRedis    kind = "Redis frozen"
	freezePostgres kind = "PostgreSQL frozen"
	takeOver       kind = "server frozen past its leases, a second one takes over"
)

// faultKinds says how often each fault is drawn, and how long it lasts: for a kill the time until
// the process is started again.
var faultKinds = []struct { //nolint:gochecknoglobals // a constant
	kind          kind
	weight        int
	least, utmost time.Duration
	isKill        bool
}{
	{killServer, 8, 0, 1200 * time.Millisecond, true},
	{killPostgres, 6, 0, 1200 * time.Millisecond, true},
	{killRedis, 6, 0, 1200 * time.Millisecond, true},
	{staleRedis, 2, 300 * time.Millisecond, 1500 * time.Millisecond, true},
	{flushRedis, 3, 0, 0, false},
	{killSession, 1, 0, 0, false},
	{cutSessions, 2, 0, 0, false},
	{readOnly, 2, 300 * time.Millisecond, 2 * time.Second, false},
	{holdLock, 2, 300 * time.Millisecond, 3 * time.Second, false},
	{freezeServer, 2, 300 * time.Millisecond, 3 * time.Second, false},
	{freezeRedis, 1, 300 * time.Millisecond, 2500 * time.Millisecond, false},
	{freezePostgres, 1, 300 * time.Millisecond, 2500 * time.Millisecond, false},
	{takeOver, 4, 200 * time.Millisecond, 1200 * time.Millisecond, false},
}

func (k kind) isKill() bool {
	for _, f := range faultKinds {
		if f.kind == k {
			return f.isKill
		}
	}
	return false
}

// fault is one fault of a burst.
type fault struct {
	kind kind
	// after is when it begins, from the beginning of the burst; hold how long it lasts.
	after, hold time.Duration
	// pick chooses among several objects of the fault.
	pick int
}

// burst is some faults that overlap, and the calm after readiness is back.
type burst struct {
	faults []fault
	calm   time.Duration
}

// drawBurst draws the next burst of a run.
func drawBurst(r *rand.Rand) burst {
	var b burst
	for range 1 + r.IntN(4) {
		b.faults = append(b.faults, drawFault(r))
	}
	b.calm = time.Duration(r.IntN(1500)) * time.Millisecond
	return b
}

func drawFault(r *rand.Rand) fault {
	total := 0
	for _, f := range faultKinds {
		total += f.weight
	}
	chosen := r.IntN(total)
	for _, f := range faultKinds {
		if chosen -= f.weight; chosen < 0 {
			hold := f.least + time.Duration(r.Int64N(int64(f.utmost-f.least)+1))
			if f.isKill && r.IntN(3) == 0 {
				hold = 0 // started again at once
			}
			return fault{
				kind: f.kind, after: time.Duration(r.IntN(1000)) * time.Millisecond,
				hold: hold, pick: r.IntN(1 << 20),
			}
		}
	}
	return fault{} // not reached
}
