package gpu

import (
	"context"
	"errors"
)

// ErrNoDriver and ErrNoDevice are what a Source returns on a machine without a usable driver, and
// with a driver but no card. Any other error of Read means that the card or its driver failed to
// answer.
var (
	ErrNoDriver = errors.New("no usable NVIDIA driver")
	ErrNoDevice = errors.New("no GPU")
)

// Source is where samples come from. Its methods may hang as long as a broken driver does. Read and
// Close are called one at a time and never while an earlier call has not returned.
type Source interface {
	// Read takes a sample. It connects to the driver when that is necessary, also again after an
	// error. When ctx ends it returns as soon as the driver call that is running returns.
	Read(ctx context.Context) (Sample, error)
	// Close lets the driver go. A later Read connects again.
	Close() error
	// Calling names the driver call that is running, "" when none is. It may be called at any time.
	Calling() string
}
