// Package redis holds the one Redis client of the process. It connects when it is first used and
// again whenever that failed, so that a Redis that is missing at the start, or goes away later,
// heals by itself.
package redis

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/redis/rueidis"
)

// ErrUnavailable is wrapped by every error that says that Redis cannot be reached now. Such an
// error passes by itself.
var ErrUnavailable = errors.New("redis is not reachable")

// ErrClosed is returned after Close.
var ErrClosed = errors.New("the redis client is closed")

// Config says how to reach Redis.
type Config struct {
	// URL is redis://[user:password@]host[:port][/db], rediss:// for TLS, or
	// unix:///path/to/socket[?db=n].
	URL string
	// Now is the clock. Defaults to time.Now.
	Now func() time.Time
}

const (
	// dialTimeout bounds a connection attempt with its handshake.
	dialTimeout = 2 * time.Second
	// replyTimeout bounds the wait for a reply, also when the caller's own deadline is later.
	replyTimeout = 3 * time.Second
	// bufferBytes is the size of each connection's read and write buffer; our commands are small.
	bufferBytes = 32 << 10
	// versionFor is how long a server version is kept; only a restart changes it.
	versionFor = time.Minute
)

// Client hands out the connection to Redis. It is safe for concurrent use.
type Client struct {
	option rueidis.ClientOption
	now    func() time.Time

	mu      sync.Mutex
	conn    rueidis.Client // guarded by mu; nil until a connection attempt succeeded
	dialing *attempt       // guarded by mu; the attempt in progress
	closed  bool           // guarded by mu

	versionMu sync.Mutex
	version   string    // guarded by versionMu
	versionAt time.Time // guarded by versionMu
}

// attempt is one connection attempt that several callers wait for.
type attempt struct {
	done chan struct{}
	conn rueidis.Client // set before done is closed
	err  error          // set before done is closed
}

// Open checks the URL and makes a client. It does not connect.
func Open(config Config) (*Client, error) {
	option, err := rueidis.ParseURL(config.URL)
	if err != nil {
		// The text of a URL error repeats the URL, and with it the password.
		if bad, ok := errors.AsType[*url.Error](err); ok {
			err = bad.Err
		}
		return nil, fmt.Errorf("parse redis URL: %w", err)
	}
	if strings.HasPrefix(config.URL, "unix:") && option.InitAddress[0] == "" {
		return nil, errors.New("parse redis URL: unix:// names no socket path")
	}
	option.ForceSingleClient = len(option.InitAddress) == 1 && option.Sentinel.MasterSet == "" // else a cluster or sentinels
	option.DisableRetry = true                                                                 // callers have their own back-off, and a deadline that a retry would use up
	option.DisableCache = true
	option.PipelineMultiplex = -1 // one connection for all that does not block
	option.ReadBufferEachConn, option.WriteBufferEachConn = bufferBytes, bufferBytes
	option.RingScaleEachConn = 8
	option.Dialer = net.Dialer{Timeout: dialTimeout, KeepAlive: time.Second}
	option.ConnWriteTimeout = replyTimeout
	if option.ClientName == "" {
		option.ClientName = "hsi"
	}
	if config.Now == nil {
		config.Now = time.Now
	}
	return &Client{option: option, now: config.Now}, nil
}

// Conn returns the connected client, and connects first where that has not yet worked. The client
// stays valid until Close and reconnects by itself. The error wraps ErrUnavailable when Redis
// cannot be reached.
func (c *Client) Conn(ctx context.Context) (rueidis.Client, error) {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return nil, ErrClosed
	}
	if c.conn != nil {
		defer c.mu.Unlock()
		return c.conn, nil
	}
	if c.dialing == nil {
		c.dialing = &attempt{done: make(chan struct{})}
		go c.dial(c.dialing)
	}
	current := c.dialing
	c.mu.Unlock()

	select {
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, ctx.Err())
	case <-current.done:
		return current.conn, current.err
	}
}

// dial connects once; it ends within a few dial timeouts whatever the server does.
func (c *Client) dial(current *attempt) {
	conn, err := rueidis.NewClient(c.option)
	c.mu.Lock()
	defer c.mu.Unlock()
	defer close(current.done)
	c.dialing = nil
	switch {
	case err != nil:
		current.err = fmt.Errorf("%w: %w", ErrUnavailable, err)
	case c.closed:
		conn.Close()
		current.err = ErrClosed
	default:
		c.conn, current.conn = conn, conn
	}
}

// Close ends all connections. Blocking reads must have been cancelled before.
func (c *Client) Close() {
	c.mu.Lock()
	c.closed = true
	conn, dialing := c.conn, c.dialing
	c.conn = nil
	c.mu.Unlock()
	if dialing != nil {
		<-dialing.done
	}
	if conn != nil {
		conn.Close()
	}
}

// Ping asks Redis for a sign of life.
func (c *Client) Ping(ctx context.Context) error {
	conn, err := c.Conn(ctx)
	if err != nil {
		return err
	}
	if err := conn.Do(ctx, conn.B().Ping().Build()).Error(); err != nil {
		return fmt.Errorf("ping redis: %w", Classify(err))
	}
	return nil
}

// Version pings Redis and returns its version, such as "7.0.15", or "unknown" where the server does
// not say. The ping is made each time, the version is asked for at most once a minute.
func (c *Client) Version(ctx context.Context) (string, error) {
	if err := c.Ping(ctx); err != nil {
		c.keepVersion("", time.Time{})
		return "", err
	}
	c.versionMu.Lock()
	version, age := c.version, c.now().Sub(c.versionAt)
	c.versionMu.Unlock()
	if version != "" && age >= 0 && age < versionFor {
		return version, nil
	}
	conn, err := c.Conn(ctx)
	if err != nil {
		return "", err
	}
	info, err := conn.Do(ctx, conn.B().Info().Section("server").Build()).ToString()
	if err != nil {
		return "", fmt.Errorf("ask redis for its version: %w", Classify(err))
	}
	version = versionFrom(info)
	c.keepVersion(version, c.now())
	return version, nil
}

func (c *Client) keepVersion(version string, at time.Time) {
	c.versionMu.Lock()
	defer c.versionMu.Unlock()
	c.version, c.versionAt = version, at
}

// versionFrom finds the version in the answer to INFO server.
func versionFrom(info string) string {
	for line := range strings.Lines(info) {
		if version, ok := strings.CutPrefix(strings.TrimSpace(line), "redis_version:"); ok && version != "" {
			return version
		}
	}
	return "unknown"
}

// Classify wraps an error of a Redis command with ErrUnavailable unless Redis itself answered with
// the error. A reply such as LOADING or READONLY passes by itself too and counts as unavailable.
// Nil and "no such value" stay as they are.
func Classify(err error) error {
	if err == nil || rueidis.IsRedisNil(err) || errors.Is(err, ErrUnavailable) || errors.Is(err, ErrClosed) {
		return err
	}
	if reply, ok := rueidis.IsRedisErr(err); ok {
		for _, passing := range [...]string{"LOADING", "READONLY", "MASTERDOWN", "BUSY ", "OOM", "MISCONF", "CLUSTERDOWN", "TRYAGAIN"} {
			if strings.HasPrefix(reply.Error(), passing) {
				return fmt.Errorf("%w: %w", ErrUnavailable, err)
			}
		}
		return err
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}

// IsNoGroup tells whether Redis answered that the stream or its consumer group does not exist, as
// it does after a flush.
func IsNoGroup(err error) bool {
	reply, ok := rueidis.IsRedisErr(err)
	return ok && strings.HasPrefix(reply.Error(), "NOGROUP")
}
