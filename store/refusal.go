package store

import (
	"errors"
	"sync/atomic"
	"time"
)

// refusalFresh is how long a refused write is held against the database. Whatever waits to be
// stored is tried again more often.
const refusalFresh = 5 * time.Second

// refusals remembers when a write was last refused because the disk is full. No question shows it,
// only the attempt to store something.
type refusals struct {
	now  func() time.Time
	last atomic.Pointer[time.Time]
}

// note looks whether an error is such a refusal.
func (r *refusals) note(err error) {
	if errors.Is(err, ErrDiskFull) {
		at := r.now()
		r.last.Store(&at)
	}
}

// err is ErrDiskFull while the last refusal is fresh.
func (r *refusals) err() error {
	if at := r.last.Load(); at != nil && r.now().Sub(*at) < refusalFresh {
		return ErrDiskFull
	}
	return nil
}
