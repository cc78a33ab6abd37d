package detect

import (
	"cmp"
	"fmt"
	"time"
)

// Unavailable says that the detector cannot answer now: it is gone, overloaded, loading, or not
// what it should be. The image is not at fault and stays waiting, however long it takes.
type Unavailable struct {
	Err error

	what    string    // what is waited for, when it is not the detector
	retryAt time.Time // when it is known that there is no use in trying earlier
}

func (e *Unavailable) Error() string {
	return fmt.Sprintf("%s unavailable: %v", cmp.Or(e.what, "detector"), e.Err)
}

// waiting tells people what is waited for.
func (e *Unavailable) waiting(detector string) string {
	if e.what != "" {
		return "waiting for the " + e.what
	}
	return "waiting for the detector " + detector
}

// Unwrap returns the cause.
func (e *Unavailable) Unwrap() error { return e.Err }

// BadReply says that the detector answered with something that is no valid reply. It may be the
// image or the detector, so the image is tried again a bounded number of times.
type BadReply struct{ Err error }

func (e *BadReply) Error() string { return fmt.Sprintf("bad reply of the detector: %v", e.Err) }

// Unwrap returns the cause.
func (e *BadReply) Unwrap() error { return e.Err }

// Unusable says that this image can never be detected, whoever tries.
type Unusable struct{ Err error }

func (e *Unusable) Error() string { return fmt.Sprintf("unusable image: %v", e.Err) }

// Unwrap returns the cause.
func (e *Unusable) Unwrap() error { return e.Err }
