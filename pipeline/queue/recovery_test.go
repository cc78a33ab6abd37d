package queue_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"hsi.home.arpa/pipeline/queue"
)

// What a dead worker of ours held comes to a living one at once, long before the lease ends; others
// keep theirs.
func TestQueue_RemoveConsumers(t *testing.T) {
	t.Parallel()
	f, l := setup(t), newLedger(1, 2)
	f.dispatch(t, l)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	held := make(chan int64, 2)
	for _, name := range []string{"home/1/motion-a", "away/1/motion-b"} {
		consumer := f.queue.NewConsumer(queue.ConsumerOptions{Name: name, Lease: time.Hour})
		go func() {
			_ = consumer.Run(ctx, &alive{}, func(ctx context.Context, ids []int64) error {
				held <- ids[0]
				<-ctx.Done()
				return ctx.Err()
			})
		}()
	}
	<-held
	<-held
	require.NoError(t, f.queue.RemoveConsumers(t.Context(), "home/", "home/2/"))
	again := make(chan int64, 2)
	consumer := f.queue.NewConsumer(queue.ConsumerOptions{Name: "home/2/motion-c", Lease: time.Hour})
	run(t, func(ctx context.Context) error {
		return consumer.Run(ctx, &alive{}, func(_ context.Context, ids []int64) error {
			again <- ids[0]
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
