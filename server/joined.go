package server

import (
	"context"
	"sync"
	"time"
)

// joined lets requests that ask the same at the same time share one read. A request never gets the
// result of a read that began before it came: what it answers is as fresh as a read of its own, and
// the load on the database is at most one read at a time.
type joined[T any] struct {
	read    func(ctx context.Context) (T, error)
	timeout time.Duration // of one read

	mu      sync.Mutex
	running bool           // guarded by mu; a read is under way
	next    *joinedRead[T] // guarded by mu; begins when that one ends
}

type joinedRead[T any] struct {
	done  chan struct{} // closed when value and err are set
	value T
	err   error
}

// get waits for a read that begins now or later, and no longer than ctx.
func (j *joined[T]) get(ctx context.Context) (T, error) {
	j.mu.Lock()
	if j.next == nil {
		j.next = &joinedRead[T]{done: make(chan struct{})}
	}
	mine := j.next
	if !j.running {
		j.running = true
		go j.run(context.WithoutCancel(ctx)) // others wait for it too; it ends when nobody waits any more
	}
	j.mu.Unlock()
	select {
	case <-mine.done:
		return mine.value, mine.err
	case <-ctx.Done():
		var none T
		return none, context.Cause(ctx)
	}
}

// run reads as long as somebody waits.
func (j *joined[T]) run(ctx context.Context) {
	for {
		j.mu.Lock()
		current := j.next
		j.next = nil
		if current == nil {
			j.running = false
			j.mu.Unlock()
			return
		}
		j.mu.Unlock()
		j.once(ctx, current)
	}
}

// once reads within the timeout, also when the read does not heed it: then it is left behind.
func (j *joined[T]) once(ctx context.Context, current *joinedRead[T]) {
	defer close(current.done)
	defer func() {
		if value := recover(); value != nil {
			current.err = newPanicError(value)
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, j.timeout)
	defer cancel()
	current.value, current.err = j.read(ctx)
}
