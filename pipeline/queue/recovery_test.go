package queue_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// What a dead worker of ours held comes to a living one at once, long before the lease ends; others keep theirs.
func TestQueue_RemoveConsumers(t *testing.T) {
	t.Parallel()
	f, l := setup(t), newLedger(1, 2)
	f.dispatch(t, l)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	held := make(chan int64, 2)
	for _, name := range []string{"home/1/motion-a", "away/1/motion-b"} {
		consumer := f.queue.NewConsumer(name, time.Hour)
		go func() {
			_ = consumer.Run(ctx, &alive{}, func(ctx context.Context, id int64) error {
				held <- id
				<-ctx.Done()
				return ctx.Err()
			})
		}()
	}
	<-held
	<-held
	require.NoError(t, f.queue.RemoveConsumers(t.Context(), "home/", "home/2/"))
	again := make(chan int64, 2)
	consumer := f.queue.NewConsumer("home/2/motion-c", time.Hour)
	run(t, func(ctx context.Context) error {
		return consumer.Run(ctx, &alive{}, func(_ context.Context, id int64) error {
			again <- id
			return nil
		})
	})
	require.Contains(t, []int64{1, 2}, <-again)
	require.NoError(t, f.queue.RemoveConsumers(t.Context(), "home/", "home/2/"), "nothing left to remove")
	select {
	case id := <-again:
		require.Failf(t, "taken from a worker that is not ours", "id %d", id)
	default:
	}
}
