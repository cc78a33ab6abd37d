package redis_test

import (
	"context"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"hsi.home.arpa/embedded/embeddedtest"
	"hsi.home.arpa/internal/await"
	"hsi.home.arpa/pipeline/redis"
)

// TestSignal: others hear it, the sender does not, and it comes back with Redis.
func TestSignal(t *testing.T) {
	t.Parallel()
	server := embeddedtest.NewRedis(t)
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	var heard [2]atomic.Int64
	var signals [2]*redis.Signal
	done := make(chan error, 2)
	for i := range signals {
		signals[i] = redis.NewSignal(open(t, server.URL()), "test", func() { heard[i].Add(1) })
		go func() { done <- signals[i].Run(ctx) }()
	}
	sent := func() bool { // until it listens
		signals[0].Send()
		return heard[1].Load() > 0
	}
	await.True(t, sent, "it is not heard")
	require.Zero(t, heard[0].Load(), "nobody wakes itself")

	server.Kill(t)
	signals[0].Send()
	server.Start(t)
	heard[1].Store(0)
	await.True(t, sent, "it is not heard after Redis came back")
	stop()
	for range signals {
		require.NoError(t, await.Value(t, done))
	}
}
