package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
)

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

// guardedConn ends its connection with the context of each call, and never lets database/sql repeat
// a statement that may have been executed. One call at a time uses it, as database/sql guarantees.
type guardedConn struct {
	innerConn
	net      *watchedConn
	prepared statements
	inTx     bool
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
	rows, err := c.query(ctx, query, args)
	if err != nil {
		release()
		return nil, c.final(err)
	}
	return &guardedRows{Rows: rows, conn: c, release: release}, nil
}

func (c *guardedConn) query(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	stmt, err := c.prepared.get(ctx, c.innerConn, query, args)
	if err != nil {
		return nil, err
	}
	if stmt == nil {
		return c.innerConn.QueryContext(ctx, query, args)
	}
	rows, err := stmt.QueryContext(ctx, args)
	if c.mayPrepareAgain(query, err) {
		return c.query(ctx, query, args)
	}
	return rows, err
}

// ExecContext is part of driver.ExecerContext.
func (c *guardedConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	defer c.guard(ctx)()
	result, err := c.exec(ctx, query, args)
	return result, c.final(err)
}

func (c *guardedConn) exec(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	stmt, err := c.prepared.get(ctx, c.innerConn, query, args)
	if err != nil {
		return nil, err
	}
	if stmt == nil {
		return c.innerConn.ExecContext(ctx, query, args)
	}
	result, err := stmt.ExecContext(ctx, args)
	if c.mayPrepareAgain(query, err) {
		return c.exec(ctx, query, args)
	}
	return result, err
}

// mayPrepareAgain forgets a prepared statement that the server refused before it executed anything,
// because the schema has changed meanwhile. Within a transaction the refusal has undone that as
// well.
func (c *guardedConn) mayPrepareAgain(query string, err error) bool {
	if !isStalePlan(err) || c.prepared[query] == nil {
		return false
	}
	delete(c.prepared, query) // the server keeps its part until the connection ends
	return !c.inTx
}

// PrepareContext is part of driver.ConnPrepareContext.
func (c *guardedConn) PrepareContext(ctx context.Context, query string) (driver.Stmt, error) {
	defer c.guard(ctx)()
	stmt, err := c.innerConn.PrepareContext(ctx, query)
	return stmt, c.final(err)
}

// BeginTx is part of driver.ConnBeginTx. When the connection is broken database/sql may begin on
// another one.
func (c *guardedConn) BeginTx(ctx context.Context, opts driver.TxOptions) (driver.Tx, error) {
	release := c.guard(ctx)
	tx, err := c.begin(ctx, opts)
	if err != nil {
		release()
		if isRetryableRead(err) && ctx.Err() == nil {
			return nil, driver.ErrBadConn
		}
		return nil, err
	}
	c.inTx = true
	return &guardedTx{Tx: tx, conn: c, release: release}, nil
}

// isolation are the levels as the server writes them.
var isolation = map[driver.IsolationLevel]string{
	driver.IsolationLevel(sql.LevelReadCommitted): " ISOLATION LEVEL READ COMMITTED", driver.IsolationLevel(sql.LevelRepeatableRead): " ISOLATION LEVEL REPEATABLE READ",
	driver.IsolationLevel(sql.LevelSerializable): " ISOLATION LEVEL SERIALIZABLE", driver.IsolationLevel(sql.LevelDefault): "",
}

// begin leaves it to the server whether a transaction may write: BeginTx of lib/pq says READ WRITE,
// which writes to a database that was made read-only and is an error of another kind on a standby.
// The two ways to begin must not be mixed on one connection, since lib/pq keeps what BeginTx left
// behind.
func (c *guardedConn) begin(ctx context.Context, opts driver.TxOptions) (driver.Tx, error) {
	mode, known := isolation[opts.Isolation]
	if !known {
		return nil, fmt.Errorf("isolation level %d is not supported", opts.Isolation)
	}
	if opts.ReadOnly {
		mode += " READ ONLY"
	}
	tx, err := c.innerConn.Begin() //nolint:staticcheck // deprecated for want of options and a context: they are below, and in guard
	if err != nil || mode == "" {
		return tx, err
	}
	if _, err = c.innerConn.ExecContext(ctx, "SET TRANSACTION"+mode, nil); err != nil {
		return nil, errors.Join(err, tx.Rollback())
	}
	return tx, nil
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

// ResetSession is part of driver.SessionResetter: before a kept connection is used again it must
// still be open on the other side, so that a restarted server costs nobody an error.
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
	defer t.end()
	return t.conn.final(t.Tx.Commit())
}

// Rollback is part of driver.Tx.
func (t *guardedTx) Rollback() error {
	defer t.end()
	return t.conn.final(t.Tx.Rollback())
}

func (t *guardedTx) end() {
	t.conn.inTx = false
	t.release()
}
