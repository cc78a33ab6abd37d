package redis_test

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/rueidis"
	"github.com/stretchr/testify/require"

	"hsi.home.arpa/embedded/embeddedtest"
	"hsi.home.arpa/internal/await"
	"hsi.home.arpa/pipeline/redis"
)

// infoCalls returns how often INFO was called on the server before, and is one such call itself.
func infoCalls(t *testing.T, conn rueidis.Client) int {
	t.Helper()
	stats, err := conn.Do(t.Context(), conn.B().Info().Section("commandstats").Build()).ToString()
	require.NoError(t, err)
	found := regexp.MustCompile(`cmdstat_info:calls=(\d+)`).FindStringSubmatch(stats)
	if found == nil {
		return 0
	}
	calls, err := strconv.Atoi(found[1])
	require.NoError(t, err)
	return calls
}

func TestClient_AsksForTheVersionOnceAMinute(t *testing.T) {
	t.Parallel()
	server := embeddedtest.NewRedis(t)
	observer, err := open(t, server.URL()).Conn(t.Context())
	require.NoError(t, err)
	var clock atomic.Int64
	client, err := redis.Open(redis.Config{URL: server.URL(), Now: func() time.Time { return time.Unix(0, clock.Load()) }})
	require.NoError(t, err)
	t.Cleanup(client.Close)
	at := time.Duration(0)
	for _, step := range []struct {
		after time.Duration
		asked int
	}{{0, 1}, {0, 0}, {time.Minute - 1, 0}, {1, 1}, {time.Minute, 1}, {-time.Second, 1}, {time.Second, 0}} {
		at += step.after
		clock.Store(int64(at))
		before := infoCalls(t, observer)
		version, err := client.Version(t.Context())
		require.NoError(t, err)
		require.Regexp(t, `^\d+\.\d+`, version)
		require.Equal(t, step.asked, infoCalls(t, observer)-before-1, "at %v", at)
	}
	server.Kill(t)
	_, err = client.Version(t.Context())
	require.ErrorIs(t, err, redis.ErrUnavailable)
	server.Start(t)
	await.True(t, func() bool { return observer.Do(t.Context(), observer.B().Ping().Build()).Error() == nil })
	before := infoCalls(t, observer)
	await.True(t, func() bool {
		_, err := client.Version(t.Context())
		return err == nil
	})
	require.Equal(t, 1, infoCalls(t, observer)-before-1, "a server that came back may be another one")
}

func TestClassify_RepliesThatPass(t *testing.T) {
	t.Parallel()
	client := open(t, embeddedtest.NewRedis(t).URL())
	conn, err := client.Conn(t.Context())
	require.NoError(t, err)
	reply := func(text string) error {
		return conn.Do(t.Context(), conn.B().Eval().Script(fmt.Sprintf("return redis.error_reply('%s')", text)).Numkeys(0).Build()).Error()
	}
	for _, text := range []string{
		"LOADING x", "READONLY x", "MASTERDOWN x", "BUSY x", "OOM x", "MISCONF x", "CLUSTERDOWN x", "TRYAGAIN x",
	} {
		require.ErrorIs(t, redis.Classify(reply(text)), redis.ErrUnavailable, text)
	}
	for _, text := range []string{"BUSYGROUP x", "WRONGTYPE x", "ERR x", "NOGROUP x"} {
		require.Error(t, reply(text))
		require.NotErrorIs(t, redis.Classify(reply(text)), redis.ErrUnavailable, text)
	}
	require.True(t, redis.IsNoGroup(reply("NOGROUP x")))
	require.False(t, redis.IsNoGroup(reply("ERR x")))
	require.False(t, redis.IsNoGroup(errors.New("NOGROUP x")))
	for _, known := range []error{redis.ErrUnavailable, redis.ErrClosed} {
		require.Equal(t, known, redis.Classify(known), "not wrapped twice")
	}
}

// connections counts the clients that the server knows.
func connections(t *testing.T, observer rueidis.Client) int {
	t.Helper()
	list, err := observer.Do(t.Context(), observer.B().ClientList().Build()).ToString()
	require.NoError(t, err)
	return len(regexp.MustCompile(`(?m)^id=`).FindAllString(list, -1))
}

func TestClient_CloseEndsTheConnection(t *testing.T) {
	t.Parallel()
	server := embeddedtest.NewRedis(t)
	observer, err := open(t, server.URL()).Conn(t.Context())
	require.NoError(t, err)
	alone := connections(t, observer)
	client := open(t, server.URL())
	require.NoError(t, client.Ping(t.Context()))
	require.Greater(t, connections(t, observer), alone)
	client.Close()
	await.True(t, func() bool { return connections(t, observer) == alone })
}

// Close waits for a connection that is being made, and ends it.
func TestClient_CloseWhileConnecting(t *testing.T) {
	t.Parallel()
	server := embeddedtest.NewRedis(t)
	observer, err := open(t, server.URL()).Conn(t.Context())
	require.NoError(t, err)
	alone := connections(t, observer)
	client := open(t, server.URL())
	server.Pause(t)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, client.Ping(ctx), redis.ErrUnavailable)
	asked, closed := make(chan error, 1), make(chan struct{})
	go func() { asked <- client.Ping(t.Context()) }()
	go func() {
		client.Close()
		close(closed)
	}()
	await.True(t, func() bool { // a new caller sees that it is closed although the connection is still being made
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		return errors.Is(client.Ping(ctx), redis.ErrClosed)
	})
	server.Resume(t)
	require.Error(t, <-asked)
	<-closed
	await.True(t, func() bool { return connections(t, observer) == alone })
}
