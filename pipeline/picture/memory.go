package picture

import (
	"context"
	"fmt"
	"image"
	"sync"

	"golang.org/x/sync/semaphore"
)

// Memory is a budget that decoded pictures share: whoever decodes waits until enough others are
// released. A nil Memory has no bound.
type Memory struct {
	free  *semaphore.Weighted
	bytes int64
}

// NewMemory makes a budget of so many bytes. A single picture that needs more gets all of it.
func NewMemory(bytes int64) *Memory {
	return &Memory{free: semaphore.NewWeighted(bytes), bytes: bytes}
}

// take waits until bytes are free. The only error is that of ctx.
func (m *Memory) take(ctx context.Context, bytes int64) (release func(), err error) {
	if m == nil {
		return func() {}, nil
	}
	bytes = min(bytes, m.bytes)
	if err := m.free.Acquire(ctx, bytes); err != nil {
		return nil, fmt.Errorf("wait for memory: %w", err)
	}
	return sync.OnceFunc(func() { m.free.Release(bytes) }), nil
}

// Decoded is a picture in memory.
type Decoded struct {
	Image image.Image
	Info  Info

	release func()
}

// Release gives the picture's memory back to the budget. The picture must not be used afterwards.
// It may be called again.
func (d *Decoded) Release() {
	d.Image = nil
	d.release()
}
