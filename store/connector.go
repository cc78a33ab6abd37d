package store

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lib/pq"
)

// cancelTimeout bounds the second connection that lib/pq dials to cancel a statement: a frozen
// server accepts it in the kernel and never answers.
const cancelTimeout = 200 * time.Millisecond

// cancelGrace is how long a call may outlive its context, so that lib/pq gets to ask the server to
// stop working.
const cancelGrace = 50 * time.Millisecond

// pastDeadline makes every read and write of a net.Conn fail at once.
func pastDeadline() time.Time { return time.Unix(1, 0) }

// connector opens connections of lib/pq that end with the context of the call in progress. Left
// alone, lib/pq only asks the server to cancel and goes on reading, so a frozen server would hold
// the caller for ever.
type connector struct{ cfg pq.Config }

func newConnector(dsn string) (*connector, error) {
	cfg, err := pq.NewConfig(dsn)
	if err != nil {
		return nil, errors.New("database URL: not understood")
	}
	return &connector{cfg: cfg}, nil
}

// Driver is part of driver.Connector.
func (c *connector) Driver() driver.Driver { return &pq.Driver{} }

// Connect is part of driver.Connector.
func (c *connector) Connect(ctx context.Context) (driver.Conn, error) {
	inner, err := pq.NewConnectorConfig(c.cfg)
	if err != nil {
		return nil, fmt.Errorf("prepare connection: %w", err)
	}
	d := &sessionDialer{ctx: ctx}
	defer d.connected()
	inner.Dialer(d)
	conn, err := inner.Connect(ctx)
	if err != nil {
		d.abandon() // lib/pq forgets the first of two attempts
		if ctxErr := ctx.Err(); ctxErr != nil {
			return nil, ctxErr
		}
		return nil, err
	}
	pgConn, ok := conn.(innerConn)
	if !ok {
		return nil, errors.Join(errors.New("the driver's connection lacks a method"), conn.Close())
	}
	return &guardedConn{innerConn: pgConn, net: d.current(), prepared: make(statements)}, nil
}

// sessionDialer dials for one session: first the session itself (twice when TLS is refused), later
// only connections that carry a cancel request.
type sessionDialer struct {
	ctx context.Context //nolint:containedctx // lives only while Connect runs; lib/pq sets up TLS and logs in without one

	mu   sync.Mutex // guards the fields below
	done bool
	conn *watchedConn
	stop func()
}

func (d *sessionDialer) current() *watchedConn {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.conn
}

func (d *sessionDialer) abandon() {
	if c := d.current(); c != nil {
		_ = c.Close() // it may be closed already
	}
}

func (d *sessionDialer) connected() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.done = true
	if d.stop != nil {
		d.stop()
	}
}

// Dial is part of pq.Dialer.
func (d *sessionDialer) Dial(network, address string) (net.Conn, error) {
	return d.DialTimeout(network, address, connectTimeout)
}

// DialTimeout is part of pq.Dialer.
func (d *sessionDialer) DialTimeout(network, address string, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(d.ctx, timeout)
	defer cancel()
	return d.DialContext(ctx, network, address)
}

// DialContext is part of pq.DialerContext.
func (d *sessionDialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var dialer net.Dialer
	if d.done {
		return dialCancel(ctx, &dialer, network, address)
	}
	c, err := dialer.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	if d.stop != nil { // lib/pq forgets the connection on which TLS was refused
		d.stop()
		_ = d.conn.Close() // nothing was sent on it
	}
	d.conn = &watchedConn{Conn: c}
	d.stop = d.conn.endWith(d.ctx) //nolint:contextcheck // ctx ends with the dial, d.ctx with the login
	return d.conn, nil
}

func dialCancel(ctx context.Context, dialer *net.Dialer, network, address string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, cancelTimeout)
	defer cancel()
	c, err := dialer.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return &cancelConn{Conn: c}, c.SetDeadline(time.Now().Add(cancelTimeout))
}

// cancelConn keeps its own deadline, whatever lib/pq sets afterwards.
type cancelConn struct{ net.Conn }

// SetDeadline is part of net.Conn; the deadline set by the dialer stays.
func (*cancelConn) SetDeadline(time.Time) error { return nil }

// watchedConn knows whether anything was sent, and can be ended for good.
type watchedConn struct {
	net.Conn
	sent  atomic.Bool
	ended atomic.Bool
}

// Write is part of net.Conn.
func (c *watchedConn) Write(b []byte) (int, error) {
	c.sent.Store(true)
	return c.Conn.Write(b)
}

// SetDeadline is part of net.Conn; once ended the connection stays so.
func (c *watchedConn) SetDeadline(t time.Time) error {
	if err := c.Conn.SetDeadline(t); err != nil {
		return err
	}
	if c.ended.Load() {
		return c.Conn.SetDeadline(pastDeadline())
	}
	return nil
}

// endWith ends the connection soon after ctx ends. The function returned stops watching, and must
// be called once.
func (c *watchedConn) endWith(ctx context.Context) (release func()) {
	released := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		timer := time.NewTimer(cancelGrace)
		defer timer.Stop()
		select {
		case <-released:
		case <-timer.C:
			c.ended.Store(true)
			_ = c.Conn.SetDeadline(pastDeadline()) // the connection is given up either way
		}
	})
	return func() {
		if !stop() { // ctx ended: the watcher may still be on its way, so nobody may use this connection again
			c.ended.Store(true)
		}
		close(released)
	}
}
