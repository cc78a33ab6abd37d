package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/jmoiron/sqlx"
)

// callTimeout ends a call whose context has no deadline of its own.
const callTimeout = 30 * time.Second

// Config says which database to use and how.
type Config struct {
	// URL is DATABASE_URL: postgres://, postgresql:// or postgresql+asyncpg://, also with
	// host=/socket/folder in its query part. Without sslmode TLS is used where the server offers
	// it. Required.
	URL string
	// Log takes what Run has to say. Required.
	Log *slog.Logger
	// Now is the local clock, used only to turn absolute times of callers into waiting times.
	// Defaults to time.Now.
	Now func() time.Time
	// MaxOpenConns bounds the connections of the pool; the health probe and each Listen use one
	// more. Defaults to 12.
	MaxOpenConns int
}

// DB is the database. It connects when it is first used, heals by itself, and is safe for
// concurrent use.
type DB struct {
	pool  *sqlx.DB
	probe *sqlx.DB // one connection of its own, so that busy workers never look like a dead database
	dsn   string
	log   *slog.Logger
	now   func() time.Time

	migration *migration
	refused   refusals
}

// Open checks the settings and prepares the pool. It never dials.
func Open(cfg Config) (*DB, error) {
	dsn, err := parseURL(cfg.URL)
	if err != nil {
		return nil, err
	}
	c, err := newConnector(dsn)
	if err != nil {
		return nil, err
	}
	if cfg.Log == nil {
		return nil, errors.New("open store: no logger")
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.MaxOpenConns <= 0 {
		cfg.MaxOpenConns = 12
	}
	return &DB{
		pool:      newPool(c, cfg.MaxOpenConns),
		probe:     newPool(c, 1),
		dsn:       dsn,
		log:       cfg.Log,
		now:       cfg.Now,
		migration: newMigration(),
		refused:   refusals{now: cfg.Now},
	}, nil
}

func newPool(c *connector, maxOpen int) *sqlx.DB {
	pool := sql.OpenDB(c)
	pool.SetMaxOpenConns(maxOpen)
	pool.SetMaxIdleConns(maxOpen)
	pool.SetConnMaxIdleTime(5 * time.Minute)
	pool.SetConnMaxLifetime(30 * time.Minute)
	return sqlx.NewDb(pool, "postgres")
}

// Close ends all connections. Nothing may be in progress.
func (db *DB) Close() error {
	return errors.Join(db.pool.Close(), db.probe.Close())
}

// Ping asks a cheap question that only a migrated database can answer, and whether it takes
// changes: ErrReadOnly when it does not, ErrDiskFull when something could not be stored in the last
// seconds for want of room. Its cost does not grow with the data.
func (db *DB) Ping(ctx context.Context) error {
	notMigrated := db.migration.ready()
	query := `SELECT current_setting('transaction_read_only') = 'on', (SELECT coalesce(sum(row_count), 0)::bigint FROM counters WHERE table_name = 'cameras')`
	if notMigrated != nil {
		// Say what is really the matter: not there at all, not to be changed, or there and not
		// migrated yet.
		query = `SELECT current_setting('transaction_read_only') = 'on', 0::bigint`
	}
	var isReadOnly bool
	var cameras int64
	err := db.probe.QueryRowxContext(ctx, query).Scan(&isReadOnly, &cameras)
	switch {
	case err != nil:
		return db.observe(Classify(ctx, "ping database", err))
	case isReadOnly:
		return fmt.Errorf("ping database: %w", ErrReadOnly)
	}
	return errors.Join(notMigrated, db.refused.err())
}

// SQL gives the packages below store the pool. They call Ready first, bound their contexts, and
// pass their errors through Classify. No other package may use it.
func (db *DB) SQL() *sqlx.DB { return db.pool }

// Ready returns nil once the schema is current, else an ErrUnavailable.
func (db *DB) Ready() error { return db.migration.ready() }

// InTx runs fn in one read-committed transaction and commits when it returns nil. Statements must
// go through tx and use the ctx that fn gets. When the error is of a broken connection the outcome
// of the commit is unknown.
func (db *DB) InTx(ctx context.Context, op string, fn func(ctx context.Context, tx *sqlx.Tx) error) error {
	if err := db.migration.ready(); err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	ctx, cancel := bound(ctx)
	defer cancel()
	err := runTx(ctx, db.pool, fn)
	return db.observe(Classify(ctx, op, err))
}

func runTx(ctx context.Context, pool *sqlx.DB, fn func(ctx context.Context, tx *sqlx.Tx) error) (err error) {
	tx, err := pool.BeginTxx(ctx, nil)
	if err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	committed := false
	defer func() {
		if committed {
			return
		}
		if rollbackErr := tx.Rollback(); rollbackErr != nil && !errors.Is(rollbackErr, sql.ErrTxDone) && err == nil {
			err = rollbackErr
		}
	}()
	if err := fn(ctx, tx); err != nil {
		return err
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	committed = true
	return nil
}

// read runs a query that changes nothing; it is sent once more when the connection broke.
func (db *DB) read(ctx context.Context, op string, query func(ctx context.Context) error) error {
	if err := db.migration.ready(); err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	ctx, cancel := bound(ctx)
	defer cancel()
	err := query(ctx)
	if err != nil && ctx.Err() == nil && isRetryableRead(err) {
		err = query(ctx)
	}
	return db.observe(Classify(ctx, op, err))
}

// get reads one row, ErrNotFound when there is none.
func (db *DB) get(ctx context.Context, op string, dest any, query string, args ...any) error {
	return db.read(ctx, op, func(ctx context.Context) error { return db.pool.GetContext(ctx, dest, query, args...) })
}

// list reads rows. dest must point to an empty slice.
func list[T any](ctx context.Context, db *DB, op, query string, args ...any) ([]T, error) {
	var rows []T
	err := db.read(ctx, op, func(ctx context.Context) error {
		rows = make([]T, 0)
		return db.pool.SelectContext(ctx, &rows, query, args...)
	})
	return rows, err
}

// walkIndexes keeps the planner to reading rows in the order of an index where there is one, so
// that a LIMIT ends the reading. Reading all and sorting is cheaper for the few rows that it may
// believe are there, and reads the whole backlog once there are more: a plan is kept, and
// statistics are as old as the last ANALYZE. What must be sorted all the same then looks so dear
// that it would be compiled.
const walkIndexes = `SET LOCAL enable_sort = off; SET LOCAL enable_incremental_sort = off; SET LOCAL jit = off`

// listInOrder is list for a query of which each part has an index with its order.
func listInOrder[T any](ctx context.Context, db *DB, op, query string, args ...any) ([]T, error) {
	var rows []T
	err := db.read(ctx, op, func(ctx context.Context) error {
		return runTx(ctx, db.pool, func(ctx context.Context, tx *sqlx.Tx) error {
			rows = make([]T, 0)
			if _, err := tx.ExecContext(ctx, walkIndexes); err != nil {
				return fmt.Errorf("settings: %w", err)
			}
			return tx.SelectContext(ctx, &rows, query, args...)
		})
	})
	return rows, err
}

// write runs one statement that changes something and reads the rows it returns. It is never sent
// twice.
func write[T any](ctx context.Context, db *DB, op, query string, args ...any) ([]T, error) {
	if err := db.migration.ready(); err != nil {
		return nil, fmt.Errorf("%s: %w", op, err)
	}
	ctx, cancel := bound(ctx)
	defer cancel()
	rows := make([]T, 0)
	err := db.pool.SelectContext(ctx, &rows, query, args...)
	return rows, db.observe(Classify(ctx, op, err))
}

// exec runs one statement that changes something and returns how many rows it touched. It is never
// sent twice.
func (db *DB) exec(ctx context.Context, op, query string, args ...any) (int64, error) {
	if err := db.migration.ready(); err != nil {
		return 0, fmt.Errorf("%s: %w", op, err)
	}
	ctx, cancel := bound(ctx)
	defer cancel()
	result, err := db.pool.ExecContext(ctx, query, args...)
	if err != nil {
		return 0, db.observe(Classify(ctx, op, err))
	}
	n, err := result.RowsAffected()
	return n, Classify(ctx, op, err)
}

// bound gives a context without a deadline one.
func bound(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, callTimeout)
}

// observe notices that the schema has vanished, so that Run makes it again, and that the disk is
// full, so that Ping tells it.
func (db *DB) observe(err error) error {
	db.refused.note(err)
	if err != nil && isSchemaMissing(err) {
		db.migration.reportLost()
	}
	return err
}
