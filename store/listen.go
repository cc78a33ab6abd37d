package store

import (
	"context"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/lib/pq"
)

// Listen calls wake at each notification of a channel and at each reconnect, when one may have been missed, until ctx ends. It takes a
// connection of its own, waits for the server as long as it is away, and returns nil when ctx ends. It is exported for the packages
// below store.
func (db *DB) Listen(ctx context.Context, channel string, wake func()) error {
	dialer := &listenDialer{ctx: ctx}
	listener := pq.NewDialListener(dialer, db.dsn, 200*time.Millisecond, time.Second, func(event pq.ListenerEventType, err error) {
		db.log.DebugContext(ctx, "listener", "channel", channel, "event", event.String(), "error", err)
	})
	listening := make(chan error, 1)
	go func() { listening <- listener.Listen(channel) }() // it waits for the connection, whatever ctx does
	defer func() {
		dialer.end()
		_ = listener.Close() // it can only say that it is closed already
		for range listener.Notify {
			// Closed once the listener's goroutine has ended.
		}
	}()
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-listening:
			if err != nil && ctx.Err() == nil {
				return fmt.Errorf("listen on %s: %w", channel, err)
			}
			listening = nil
			wake() // from here on nothing is missed
		case <-listener.Notify: // also after a reconnect
			wake()
		}
	}
}

// listenDialer dials for the listener of lib/pq, which knows no context and would wait for ever on a frozen server.
type listenDialer struct {
	ctx context.Context //nolint:containedctx // the interface of lib/pq has none; it lives as long as Run

	mu    sync.Mutex // guards conn and ended
	conn  net.Conn
	ended bool
}

// Dial is part of pq.Dialer.
func (d *listenDialer) Dial(network, address string) (net.Conn, error) {
	return d.DialTimeout(network, address, connectTimeout)
}

// DialTimeout is part of pq.Dialer.
func (d *listenDialer) DialTimeout(network, address string, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(d.ctx, timeout)
	defer cancel()
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ended {
		_ = conn.Close() // nothing was sent on it
		return nil, net.ErrClosed
	}
	if d.conn != nil { // lib/pq forgets the connection on which TLS was refused
		_ = d.conn.Close()
	}
	d.conn = conn
	return conn, nil
}

// end breaks the connection, whatever lib/pq is waiting for, and refuses another.
func (d *listenDialer) end() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ended = true
	if d.conn != nil {
		_ = d.conn.Close() // it is given up
	}
}
