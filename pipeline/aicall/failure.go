package aicall

import (
	"fmt"
	"time"
)

// Kind says what a failure means for the work that was sent.
type Kind int

const (
	// Away means that the service cannot answer now, whatever it is sent: wait, however long.
	Away Kind = iota
	// Suspect means that something went wrong with this call, and it may be the work: try it again
	// a bounded number of times. When several calls in a row go wrong the service is to blame, and
	// the failure is Away.
	Suspect
	// Refused means that the service says that the work is bad.
	Refused
)

// Failure is a call that brought no usable reply.
type Failure struct {
	Kind Kind
	Err  error
	// RetryAt is when the service is called again, for a call that was not made; zero when that is
	// not known.
	RetryAt time.Time
}

func (f *Failure) Error() string { return fmt.Sprintf("AI service: %v", f.Err) }

// Unwrap returns the cause.
func (f *Failure) Unwrap() error { return f.Err }
