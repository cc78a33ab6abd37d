package queue

import (
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"hsi.home.arpa/embedded/embeddedtest"
	"hsi.home.arpa/pipeline/redis"
)

// The dispatcher of the same process fills the stream again when consumers have taken enough, and
// not a poll later.
func TestConsumer_TellsWhatItTook(t *testing.T) {
	t.Parallel()
	client, err := redis.Open(redis.Config{URL: embeddedtest.NewRedis(t).URL()})
	require.NoError(t, err)
	t.Cleanup(client.Close)
	q := New(client.Conn, Detect, slog.New(slog.DiscardHandler))
	last, err := q.add(t.Context(), []int64{7, 8, 9})
	require.NoError(t, err)
	require.NoError(t, q.createGroup(t.Context()))
	require.NoError(t, q.createGroup(t.Context()), "that it exists is no error")
	at, err := q.position(t.Context())
	require.NoError(t, err)
	require.Equal(t, position{length: 3, last: last}, at)
	q.tellAfter(3)
	c := q.NewConsumer(ConsumerOptions{Name: "a", Lease: time.Minute, AtOnce: 2})
	taken := func() (ids []int64) {
		next, err := c.receive(t.Context())
		require.NoError(t, err)
		for _, one := range next {
			ids = append(ids, one.id)
		}
		return ids
	}
	require.Equal(t, []int64{7, 8}, taken())
	require.Empty(t, q.low)
	require.Equal(t, []int64{9}, taken())
	require.Len(t, q.low, 1)
	at, err = q.position(t.Context())
	require.NoError(t, err)
	require.Equal(t, position{length: 3, pending: 3, last: last}, at)
	require.Zero(t, at.waiting())
	ids, err := q.entries(t.Context())
	require.NoError(t, err)
	require.Equal(t, []int64{7, 8, 9}, ids, "held ones too")
}
