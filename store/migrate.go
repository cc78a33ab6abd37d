package store

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
	"github.com/pressly/goose/v3"
)

// versionTable is where goose keeps which migrations were applied. Its presence says that a
// database is ours.
const versionTable = "hsi_schema_version"

// migrationLock is the advisory lock under which a database is looked at and migrated ("hsi-mig" in
// ASCII).
const migrationLock = 0x6873692d6d6967

// migrationTimeout ends one attempt; the next one starts again from what is committed.
const migrationTimeout = 15 * time.Minute

// migrationFiles are the forward-only migrations.
//
//go:embed migrations/*.sql
var migrationFiles embed.FS

// migration is where this process stands with the schema.
type migration struct {
	once sync.Once
	done chan struct{} // closed when the schema is current for the first time
	lost chan struct{} // holds one value when a table was missing afterwards
}

func newMigration() *migration {
	return &migration{done: make(chan struct{}), lost: make(chan struct{}, 1)}
}

func (m *migration) ready() error {
	select {
	case <-m.done:
		return nil
	default:
		return fmt.Errorf("schema not migrated yet: %w", ErrUnavailable)
	}
}

func (m *migration) markDone() {
	m.once.Do(func() { close(m.done) })
}

func (m *migration) reportLost() {
	select {
	case m.lost <- struct{}{}:
	default:
	}
}

// Migrated is closed once the schema is current.
func (db *DB) Migrated() <-chan struct{} { return db.migration.done }

// Run brings the schema up to date as soon as the database is there, again whenever it has been
// dropped, and blocks until ctx ends. It returns ErrForeignDatabase or ErrNewerDatabase, which
// waiting cannot mend.
func (db *DB) Run(ctx context.Context) error {
	for {
		if err := db.migrateUntilDone(ctx); err != nil {
			if ctx.Err() != nil {
				return nil //nolint:nilerr // a cancelled start is a clean stop
			}
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-db.migration.lost:
			db.log.WarnContext(ctx, "schema is gone, migrating again")
		}
	}
}

// migrateUntilDone retries with a capped back-off and logs each new cause once.
func (db *DB) migrateUntilDone(ctx context.Context) error {
	wait := backoff.NewExponentialBackOff()
	wait.InitialInterval, wait.MaxInterval = 100*time.Millisecond, 2*time.Second
	lastCause := ""
	for {
		err := db.Migrate(ctx)
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil, errors.Is(err, ErrForeignDatabase), errors.Is(err, ErrNewerDatabase):
			return err
		}
		if cause := err.Error(); cause != lastCause {
			lastCause = cause
			db.log.WarnContext(ctx, "database not ready, retrying", "error", err)
		}
		timer := time.NewTimer(wait.NextBackOff())
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-timer.C:
		}
	}
}

// Migrate makes one attempt to bring the schema up to date. It is safe to run in several processes
// at once.
func (db *DB) Migrate(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, migrationTimeout)
	defer cancel()
	current, err := db.isCurrent(ctx)
	if err == nil && !current {
		err = db.migrateOnce(ctx)
	}
	if err != nil {
		return Classify(ctx, "migrate database", err)
	}
	db.migration.markDone()
	return nil
}

// isCurrent reports that the schema is there and has our version. It asks over a connection of the
// pool, which is then there for the first statement: the lock, and two connections without limits,
// are for what must change.
func (db *DB) isCurrent(ctx context.Context) (current bool, err error) {
	conn, err := db.pool.Connx(ctx)
	if err != nil {
		return false, fmt.Errorf("connect: %w", err)
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	provider, err := newProvider(db.pool.DB)
	if err != nil {
		return false, err
	}
	version, err := schemaVersion(ctx, conn)
	return version == latestVersion(provider), err
}

func (db *DB) migrateOnce(ctx context.Context) (err error) {
	c, err := newConnector(db.dsn)
	if err != nil {
		return err
	}
	// A migration may take longer than any statement of the running server is allowed to.
	for _, name := range []string{"statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"} {
		c.cfg.Runtime[name] = "0"
	}
	pool := newPool(c, 2) // one holds the lock, one migrates
	defer func() { err = errors.Join(err, pool.Close()) }()

	conn, err := pool.Connx(ctx)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	// Closing the pool ends the session, and the lock with it.
	defer func() { err = errors.Join(err, conn.Close()) }()
	if _, err := conn.ExecContext(ctx, `SELECT pg_advisory_lock($1)`, int64(migrationLock)); err != nil {
		return fmt.Errorf("take migration lock: %w", err)
	}
	provider, err := newProvider(pool.DB)
	if err != nil {
		return err
	}
	if err := checkOwnership(ctx, conn, latestVersion(provider)); err != nil {
		return err
	}
	results, err := provider.Up(ctx)
	if err != nil {
		return fmt.Errorf("apply migrations: %w", err)
	}
	if len(results) > 0 {
		db.log.InfoContext(ctx, "schema migrated", "applied", len(results), "version", latestVersion(provider))
	}
	return nil
}

func newProvider(pool *sql.DB) (*goose.Provider, error) {
	files, err := fs.Sub(migrationFiles, "migrations")
	if err != nil {
		return nil, fmt.Errorf("read migrations: %w", err)
	}
	provider, err := goose.NewProvider(goose.DialectPostgres, pool, files,
		goose.WithTableName(versionTable), goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return nil, fmt.Errorf("read migrations: %w", err)
	}
	return provider, nil
}

func latestVersion(provider *goose.Provider) int64 {
	sources := provider.ListSources()
	return sources[len(sources)-1].Version
}

// noSchema is the version of a database in which we have made nothing.
const noSchema = -1

// schemaVersion returns the last migration that a database has.
func schemaVersion(ctx context.Context, conn *sqlx.Conn) (int64, error) {
	var ours bool
	if err := conn.GetContext(ctx, &ours, `SELECT to_regclass($1) IS NOT NULL`, versionTable); err != nil {
		return noSchema, fmt.Errorf("look for schema version: %w", err)
	}
	if !ours {
		return noSchema, nil
	}
	var version int64
	query := `SELECT coalesce(max(version_id), 0) FROM ` + pq.QuoteIdentifier(versionTable)
	if err := conn.GetContext(ctx, &version, query); err != nil {
		return noSchema, fmt.Errorf("read schema version: %w", err)
	}
	return version, nil
}

// checkOwnership refuses a database that is not ours or is newer than this program, before anything
// is changed.
func checkOwnership(ctx context.Context, conn *sqlx.Conn, latest int64) error {
	switch version, err := schemaVersion(ctx, conn); {
	case err != nil:
		return err
	case version > latest:
		return fmt.Errorf("%w: its schema has version %d, this program knows %d", ErrNewerDatabase, version, latest)
	case version != noSchema:
		return nil
	}
	var tables []string
	if err := conn.SelectContext(ctx, &tables, foreignTablesQuery); err != nil {
		return fmt.Errorf("look for foreign tables: %w", err)
	}
	if len(tables) > 0 {
		return fmt.Errorf("%w: it holds tables that this program did not make (%s); name an empty database",
			ErrForeignDatabase, strings.Join(tables, ", "))
	}
	return nil
}

// foreignTablesQuery lists up to three tables that belong neither to the system nor to an
// extension.
const foreignTablesQuery = `
	SELECT n.nspname || '.' || c.relname
	FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
	WHERE c.relkind IN ('r', 'p', 'f')
	  AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname NOT LIKE 'pg\_%'
	  AND NOT EXISTS (
		SELECT FROM pg_depend AS d
		WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
	ORDER BY 1
	LIMIT 3`
