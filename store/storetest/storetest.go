// Package storetest gives each test a migrated database of its own on a real PostgreSQL server, whose time zone is
// far from UTC. A package that uses it runs embeddedtest.Main from its TestMain.
package storetest

import (
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"

	"hsi.home.arpa/embedded/embeddedtest"
	"hsi.home.arpa/store"
)

const templateName = "hsi_template"

// template is the migrated database that all others are cloned from, made by the first test that asks.
var template struct {
	once sync.Once
	err  error
}

// databases numbers the databases of this process.
var databases atomic.Int64

// New returns an open, migrated, empty database. It is closed and dropped when the test ends; that of a failed test
// stays until the test process ends, and its name is printed.
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
	name := fmt.Sprintf("hsi_test_%d_%d", os.Getpid(), databases.Add(1))
	// Cleanup runs after tb.Context has ended.
	ctx := context.WithoutCancel(tb.Context())
	if err := admin(ctx, server, "CREATE DATABASE "+pq.QuoteIdentifier(name)+" "+options); err != nil {
		tb.Fatalf("create database: %v", err)
	}
	tb.Cleanup(func() {
		if tb.Failed() {
			tb.Logf("database %s is kept for a look while the test process lives", name)
			return
		}
		if err := admin(ctx, server, "DROP DATABASE "+pq.QuoteIdentifier(name)+" WITH (FORCE)"); err != nil {
			tb.Errorf("drop database: %v", err)
		}
	})
	return withDatabase(server, name)
}

func makeTemplate(ctx context.Context, server string) error {
	if err := admin(ctx, server, "CREATE DATABASE "+templateName); err != nil {
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

func admin(ctx context.Context, server, statement string) (err error) {
	db, err := sqlx.Open("postgres", server)
	if err != nil {
		return err
	}
	defer func() {
		if closeErr := db.Close(); err == nil {
			err = closeErr
		}
	}()
	_, err = db.ExecContext(ctx, statement)
	return err
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
