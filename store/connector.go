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

// cancelTimeout bounds the second connection that lib/pq dials to cancel a statement: a frozen server accepts it
// in the kernel and never answers.
const cancelTimeout = 2 * time.Second

// cancelGrace is how long a call may outlive its context, so that lib/pq gets to ask the server to stop working.
const cancelGrace = 50 * time.Millisecond

// pastDeadline makes every read and write of a net.Conn fail at once.
func pastDeadline() time.Time { return time.Unix(1, 0) }

// connector opens connections of lib/pq that end with the context of the call in progress. Left alone, lib/pq
// only asks the server to cancel and goes on reading, so a frozen server would hold the caller for ever.
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
		if ctxErr := ctx.Err(); ctxErr != nil {
			return nil, ctxErr
		}
		return nil, err
	}
	pgConn, ok := conn.(innerConn)
	if !ok {
		return nil, errors.Join(errors.New("the driver's connection lacks a method"), conn.Close())
	}
	return &guardedConn{innerConn: pgConn, net: d.current()}, nil
}

// sessionDialer dials for one session: first the session itself (twice when TLS is refused), later only
// connections that carry a cancel request.
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
		_ = d.conn.Close() //nolint:errcheck // nothing was sent on it
	}
	d.conn = &watchedConn{Conn: c}
	d.stop = d.conn.endWith(d.ctx)
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

// endWith ends the connection soon after ctx ends. The function returned stops watching, and must be called once.
func (c *watchedConn) endWith(ctx context.Context) (release func()) {
	released := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		timer := time.NewTimer(cancelGrace)
		defer timer.Stop()
		select {
		case <-released:
		case <-timer.C:
			c.ended.Store(true)
			_ = c.Conn.SetDeadline(pastDeadline()) //nolint:errcheck // the connection is given up either way
		}
	})
	return func() {
		if !stop() { // ctx ended: the watcher may still be on its way, so nobody may use this connection again
			c.ended.Store(true)
		}
		close(released)
	}
}

// innerConn is what a connection of lib/pq can do and database/sql makes use of.
type innerConn interface {
	driver.Conn
	driver.QueryerContext
	driver.ExecerContext
	driver.ConnPrepareContext
	driver.ConnBeginTx
	driver.Pinger
	driver.SessionResetter
	driver.Validator
	driver.NamedValueChecker
}

// guardedConn ends its connection with the context of each call, and never lets database/sql repeat a statement
// that may have been executed. One call at a time uses it, as database/sql guarantees.
type guardedConn struct {
	innerConn
	net *watchedConn
}

// guard watches ctx during one call.
func (c *guardedConn) guard(ctx context.Context) (release func()) {
	c.net.sent.Store(false)
	return c.net.endWith(ctx)
}

// final hides driver.ErrBadConn from database/sql when something was sent.
func (c *guardedConn) final(err error) error {
	if errors.Is(err, driver.ErrBadConn) && c.net.sent.Load() {
		return errConnectionLost
	}
	return err
}

// QueryContext is part of driver.QueryerContext.
func (c *guardedConn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	release := c.guard(ctx)
	rows, err := c.innerConn.QueryContext(ctx, query, args)
	if err != nil {
		release()
		return nil, c.final(err)
	}
	return &guardedRows{Rows: rows, conn: c, release: release}, nil
}

// ExecContext is part of driver.ExecerContext.
func (c *guardedConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	defer c.guard(ctx)()
	result, err := c.innerConn.ExecContext(ctx, query, args)
	return result, c.final(err)
}

// PrepareContext is part of driver.ConnPrepareContext.
func (c *guardedConn) PrepareContext(ctx context.Context, query string) (driver.Stmt, error) {
	defer c.guard(ctx)()
	stmt, err := c.innerConn.PrepareContext(ctx, query)
	return stmt, c.final(err)
}

// BeginTx is part of driver.ConnBeginTx. ErrBadConn passes: repeating BEGIN elsewhere harms nothing.
func (c *guardedConn) BeginTx(ctx context.Context, opts driver.TxOptions) (driver.Tx, error) {
	release := c.guard(ctx)
	tx, err := c.innerConn.BeginTx(ctx, opts)
	if err != nil {
		release()
		return nil, err
	}
	return &guardedTx{Tx: tx, conn: c, release: release}, nil
}

// Close is part of driver.Conn. That the other side has gone already is no trouble.
func (c *guardedConn) Close() error {
	if err := c.innerConn.Close(); err != nil && !isConnectionError(err) {
		return err
	}
	return nil
}

// Ping is part of driver.Pinger.
func (c *guardedConn) Ping(ctx context.Context) error {
	defer c.guard(ctx)()
	return c.innerConn.Ping(ctx)
}

// ResetSession is part of driver.SessionResetter: before a kept connection is used again it must still be open
// on the other side, so that a restarted server costs nobody an error.
func (c *guardedConn) ResetSession(ctx context.Context) error {
	if c.net.ended.Load() || hungUp(c.net.Conn) {
		return driver.ErrBadConn
	}
	return c.innerConn.ResetSession(ctx)
}

// IsValid is part of driver.Validator.
func (c *guardedConn) IsValid() bool { return !c.net.ended.Load() && c.innerConn.IsValid() }

type guardedRows struct {
	driver.Rows
	conn    *guardedConn
	release func()
}

// Next is part of driver.Rows.
func (r *guardedRows) Next(dest []driver.Value) error {
	return r.conn.final(r.Rows.Next(dest))
}

// Close is part of driver.Rows.
func (r *guardedRows) Close() error {
	defer r.release()
	return r.conn.final(r.Rows.Close())
}

type guardedTx struct {
	driver.Tx
	conn    *guardedConn
	release func()
}

// Commit is part of driver.Tx.
func (t *guardedTx) Commit() error {
	defer t.release()
	return t.conn.final(t.Tx.Commit())
}

// Rollback is part of driver.Tx.
func (t *guardedTx) Rollback() error {
	defer t.release()
	return t.conn.final(t.Tx.Rollback())
}
