package health

import (
	"context"
	"log/slog"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// What may take longer to answer is believed for longer.
func TestMonitor_HowLongAResultIsBelieved(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.stop() // the probers are gone, their last results were good
		pass(ProbeTimeout + 3*interval + time.Millisecond)
		services := b.Health().Services
		require.Equal(t, Unhealthy, services.Database.State)
		require.Equal(t, "healthy", services.AI.Details["rtdetr"])
		pass(DefaultAITimeout - ProbeTimeout - time.Millisecond)
		require.Equal(t, "healthy", b.Health().Services.AI.Details["rtdetr"])
		pass(time.Millisecond)
		require.Equal(t, "no recent check", b.Health().Services.AI.Details["rtdetr"])
	})
}

// A version that was learned before is not shown as the one of now.
func TestMonitor_RedisVersion(t *testing.T) {
	t.Parallel()
	inBubble(t, "until it is gone", func(b *bench) {
		t := b.t
		require.Equal(t, map[string]string{"redis_version": "7.0.15"}, b.Health().Services.Redis.Details)
		b.redis.set(refuses)
		until(t, 3*time.Second, func() bool { return b.Health().Services.Redis.State == Unhealthy })
		require.Nil(t, b.Health().Services.Redis.Details)
	})
}

// A client that gives up by itself, before the health check's time is over, has met silence too.
func TestMonitor_ATimeoutOfTheClientIsSilence(t *testing.T) {
	t.Parallel()
	inBubble(t, "while our own call runs", func(b *bench) {
		t := b.t
		began := time.Now()
		b.busy.since.Store(&began)
		b.ai.set(func(context.Context) error { return &net.OpError{Op: "dial", Err: os.ErrDeadlineExceeded} })
		pass(10 * time.Second)
		require.Equal(t, "busy", b.Health().Services.AI.Details["rtdetr"])
		require.Equal(t, Healthy, b.Health().State)
	})
}

func TestNew_NeedsAllThatItProbes(t *testing.T) {
	t.Parallel()
	whole := Options{Database: &dependency{}, Redis: &dependency{}, Workers: workerList{}, Log: slog.New(slog.DiscardHandler)}
	_, err := New(whole)
	require.NoError(t, err)
	for name, drop := range map[string]func(o *Options){
		"database": func(o *Options) { o.Database = nil },
		"redis":    func(o *Options) { o.Redis = nil },
		"workers":  func(o *Options) { o.Workers = nil },
		"log":      func(o *Options) { o.Log = nil },
	} {
		options := whole
		drop(&options)
		_, err := New(options)
		require.ErrorContains(t, err, "required", name)
	}
}
