//go:build !linux || !cgo

package gpu

import (
	"context"
	"fmt"
)

// NewNVML returns a source that says that this build cannot read a card: NVML needs Linux and cgo.
func NewNVML() Source { return noNVML{} }

type noNVML struct{}

func (noNVML) Read(context.Context) (Sample, error) {
	return Sample{}, fmt.Errorf("%w: this program was built without NVML", ErrNoDriver)
}

func (noNVML) Close() error    { return nil }
func (noNVML) Calling() string { return "" }
