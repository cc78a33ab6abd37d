// Package storetest gives each test a migrated database of its own on a real PostgreSQL server,
// whose time zone is far from UTC. A package that uses it runs embeddedtest.Main from its TestMain.
package storetest

import (
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"sync"
	"testing"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"

	"hsi.home.arpa/embedded/embeddedtest"
	"hsi.home.arpa/store"
)

const templateName = "hsi_template"

// template is the migrated database that all others are cloned from, made by the first test that
// asks.
var template struct {
	once sync.Once
	err  error
}

// databases are the databases of this process: how many there were, and those of tests that have
// ended. These are dropped when the next test asks for a database: by then their sessions are gone,
// which PostgreSQL would otherwise wait for in steps of 100 ms.
var databases struct {
	sync.Mutex
	count int
	ended []string
}

// next returns the name of a new database, and those of databases to be dropped.
func next() (name string, ended []string) {
	databases.Lock()
	defer databases.Unlock()
	databases.count++
	ended, databases.ended = databases.ended, nil
	return fmt.Sprintf("hsi_test_%d_%d", os.Getpid(), databases.count), ended
}

// admin has the sessions that make and drop databases. Starting a session costs more than making a
// database.
var admin struct {
	once     sync.Once
	pool     *sqlx.DB
	strategy string // of making a database
	err      error
}

// New returns an open, migrated, empty database. It is closed when the test ends, and dropped soon
// after; that of a failed test stays until the test process ends, and its name is printed.
func New(tb testing.TB) *store.DB {
	tb.Helper()
	return Open(tb, NewURL(tb))
}

// Open opens a database by its URL, migrates it, and closes it when the test ends.
func Open(tb testing.TB, databaseURL string) *store.DB {
	tb.Helper()
	db, err := store.Open(store.Config{URL: databaseURL, Log: Logger(tb)})
	if err != nil {
		tb.Fatalf("open database: %v", err)
	}
	tb.Cleanup(func() {
		if err := db.Close(); err != nil {
			tb.Errorf("close database: %v", err)
		}
	})
	if err := db.Migrate(tb.Context()); err != nil {
		tb.Fatalf("migrate database: %v", err)
	}
	return db
}

// NewURL makes a migrated, empty database and returns its URL.
func NewURL(tb testing.TB) string {
	tb.Helper()
	server := embeddedtest.PostgresURL(tb)
	// The template outlives the test that happens to be first.
	ctx := context.WithoutCancel(tb.Context())
	template.once.Do(func() { template.err = makeTemplate(ctx, server) })
	if template.err != nil {
		tb.Fatalf("make template database: %v", template.err)
	}
	return create(tb, server, "TEMPLATE "+templateName)
}

// NewEmptyURL makes a database without any table and returns its URL.
func NewEmptyURL(tb testing.TB) string {
	tb.Helper()
	return create(tb, embeddedtest.PostgresURL(tb), "")
}

func create(tb testing.TB, server, options string) string {
	tb.Helper()
	name, ended := next()
	for _, earlier := range ended {
		statement := "DROP DATABASE IF EXISTS " + pq.QuoteIdentifier(earlier) + " WITH (FORCE)"
		if err := manage(tb.Context(), statement); err != nil {
			tb.Fatalf("drop the database of an earlier test: %v", err)
		}
	}
	if err := createDatabase(tb.Context(), server, name, options); err != nil {
		tb.Fatalf("create database: %v", err)
	}
	tb.Cleanup(func() {
		if tb.Failed() {
			tb.Logf("database %s is kept for a look while the test process lives", name)
			return
		}
		databases.Lock()
		defer databases.Unlock()
		databases.ended = append(databases.ended, name)
	})
	return withDatabase(server, name)
}

func makeTemplate(ctx context.Context, server string) error {
	if err := createDatabase(ctx, server, templateName, ""); err != nil {
		return err
	}
	db, err := store.Open(store.Config{URL: withDatabase(server, templateName), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	migrateErr := db.Migrate(ctx)
	if err := db.Close(); err != nil {
		return err
	}
	return migrateErr
}

func createDatabase(ctx context.Context, server, name, options string) error {
	admin.once.Do(func() { admin.err = connectAdmin(context.WithoutCancel(ctx), server) })
	if admin.err != nil {
		return admin.err
	}
	return manage(ctx, "CREATE DATABASE "+pq.QuoteIdentifier(name)+" "+options+admin.strategy)
}

// manage executes one statement about databases.
func manage(ctx context.Context, statement string) error {
	_, err := admin.pool.ExecContext(ctx, statement)
	return err
}

func connectAdmin(ctx context.Context, server string) error {
	pool, err := sqlx.Open("postgres", server)
	if err != nil {
		return err
	}
	admin.pool = pool
	embeddedtest.BeforeRemoval(func() { _ = pool.Close() }) // its server ends next
	var version int
	if err := pool.GetContext(ctx, &version, "SELECT current_setting('server_version_num')::int"); err != nil {
		return err
	}
	if version >= 150000 { // before, files were always copied; through the log it costs more than twice as much
		admin.strategy = " STRATEGY file_copy"
	}
	return nil
}

func withDatabase(server, name string) string {
	u, err := url.Parse(server)
	if err != nil {
		panic(fmt.Sprintf("URL of the test server: %v", err)) // the test support made it itself
	}
	u.Path = "/" + name
	return u.String()
}

// Logger writes warnings and errors to the test's log.
func Logger(tb testing.TB) *slog.Logger {
	tb.Helper()
	return slog.New(slog.NewTextHandler(tb.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
}

// Exec runs statements that any outside program could run.
func Exec(tb testing.TB, db *store.DB, query string, args ...any) {
	tb.Helper()
	if _, err := db.SQL().ExecContext(tb.Context(), query, args...); err != nil {
		tb.Fatalf("%s: %v", query, err)
	}
}

// Query reads rows: a struct with db tags, or a single column.
func Query[T any](tb testing.TB, db *store.DB, query string, args ...any) []T {
	tb.Helper()
	rows := make([]T, 0)
	if err := db.SQL().SelectContext(tb.Context(), &rows, query, args...); err != nil {
		tb.Fatalf("%s: %v", query, err)
	}
	return rows
}

// QueryOne reads exactly one row.
func QueryOne[T any](tb testing.TB, db *store.DB, query string, args ...any) T {
	tb.Helper()
	rows := Query[T](tb, db, query, args...)
	if len(rows) != 1 {
		tb.Fatalf("%s: %d rows, want 1", query, len(rows))
	}
	return rows[0]
}
