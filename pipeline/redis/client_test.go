package redis_test

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"hsi.home.arpa/embedded/embeddedtest"
	"hsi.home.arpa/internal/await"
	"hsi.home.arpa/pipeline/redis"
)

func TestMain(m *testing.M) { embeddedtest.Main(m) }

func open(t *testing.T, url string) *redis.Client {
	t.Helper()
	client, err := redis.Open(redis.Config{URL: url})
	require.NoError(t, err)
	t.Cleanup(client.Close)
	return client
}

func TestOpen_RefusesABadURLWithoutRepeatingIt(t *testing.T) {
	t.Parallel()
	for _, url := range []string{
		"", "localhost:6379", "http://localhost", "redis://h/nine", "redis://h/1/2", "unix://", "redis://user:hunter2@h:port", "redis://:hunter2@h/%zz",
	} {
		_, err := redis.Open(redis.Config{URL: url})
		require.Error(t, err, url)
		require.NotContains(t, err.Error(), "hunter2")
	}
}

func TestClient_Version(t *testing.T) {
	t.Parallel()
	server := embeddedtest.NewRedis(t)
	client := open(t, server.URL())
	version, err := client.Version(t.Context())
	require.NoError(t, err)
	require.Regexp(t, `^\d+\.\d+`, version)
	again, err := client.Version(t.Context())
	require.NoError(t, err)
	require.Equal(t, version, again)
}

func TestClient_SelectsTheDatabase(t *testing.T) {
	t.Parallel()
	server := embeddedtest.NewRedis(t)
	zero, five := open(t, server.URL()), open(t, server.URL()+"?db=5")
	conn, err := five.Conn(t.Context())
	require.NoError(t, err)
	require.NoError(t, conn.Do(t.Context(), conn.B().Set().Key("k").Value("v").Build()).Error())
	conn, err = zero.Conn(t.Context())
	require.NoError(t, err)
	found, err := conn.Do(t.Context(), conn.B().Exists().Key("k").Build()).AsInt64()
	require.NoError(t, err)
	require.Zero(t, found)
}

func TestClient_ConnectsOnceTheServerIsThere(t *testing.T) {
	t.Parallel()
	server := embeddedtest.NewRedis(t)
	server.Stop(t)
	client := open(t, server.URL())
	require.ErrorIs(t, client.Ping(t.Context()), redis.ErrUnavailable)
	_, err := client.Version(t.Context())
	require.ErrorIs(t, err, redis.ErrUnavailable)
	server.Start(t)
	require.NoError(t, client.Ping(t.Context()))

	server.Kill(t)
	require.ErrorIs(t, client.Ping(t.Context()), redis.ErrUnavailable)
	server.Start(t)
	await.True(t, func() bool { return client.Ping(t.Context()) == nil })
}

func TestClient_AFrozenServerEndsByTheDeadline(t *testing.T) {
	t.Parallel()
	server := embeddedtest.NewRedis(t)
	connected, fresh := open(t, server.URL()), open(t, server.URL())
	require.NoError(t, connected.Ping(t.Context()))
	server.Pause(t)
	for _, client := range []*redis.Client{connected, fresh} {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		answered := make(chan error, 1)
		go func() { answered <- client.Ping(ctx) }()
		require.ErrorIs(t, await.Value(t, answered, "it waits for the server"), redis.ErrUnavailable)
	}
	server.Resume(t)
	await.True(t, func() bool { return fresh.Ping(t.Context()) == nil })
	await.True(t, func() bool { return connected.Ping(t.Context()) == nil })
}

func TestClient_CallersShareOneAttempt(t *testing.T) {
	t.Parallel()
	// A listener that accepts and never answers, as a server that is overloaded.
	var config net.ListenConfig
	listener, err := config.Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = listener.Close() }()
	client := open(t, "redis://"+listener.Addr().String())
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	results := make(chan error)
	const callers = 20
	for range callers {
		go func() { results <- client.Ping(ctx) }()
	}
	for range callers {
		require.ErrorIs(t, <-results, redis.ErrUnavailable)
	}
	// Connections are accepted in their order, so all of the client come before one that is made
	// now.
	last, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", listener.Addr().String())
	require.NoError(t, err)
	defer func() { require.NoError(t, last.Close()) }()
	accepted := 0
	for {
		conn, err := listener.Accept()
		require.NoError(t, err)
		require.NoError(t, conn.Close())
		if conn.RemoteAddr().String() == last.LocalAddr().String() {
			break
		}
		accepted++
	}
	require.Equal(t, 1, accepted)
}

func TestClient_AfterClose(t *testing.T) {
	t.Parallel()
	server := embeddedtest.NewRedis(t)
	client := open(t, server.URL())
	require.NoError(t, client.Ping(t.Context()))
	client.Close()
	client.Close()
	require.ErrorIs(t, client.Ping(t.Context()), redis.ErrClosed)
}

func TestClassify(t *testing.T) {
	t.Parallel()
	server := embeddedtest.NewRedis(t)
	client := open(t, server.URL())
	conn, err := client.Conn(t.Context())
	require.NoError(t, err)
	missing := conn.Do(t.Context(), conn.B().Get().Key("missing").Build()).Error()
	require.Equal(t, missing, redis.Classify(missing), "no such value is no fault")
	group := conn.Do(t.Context(), conn.B().Xreadgroup().Group("g", "c").Streams().Key("s").Id(">").Build()).Error()
	require.True(t, redis.IsNoGroup(group))
	require.NotErrorIs(t, redis.Classify(group), redis.ErrUnavailable)
	require.NoError(t, redis.Classify(nil))
	require.ErrorIs(t, redis.Classify(context.DeadlineExceeded), redis.ErrUnavailable)
	require.ErrorIs(t, redis.Classify(errors.New("EOF")), redis.ErrUnavailable)
}
