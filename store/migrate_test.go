package store_test

import (
	"context"
	"log/slog"
	"net/url"
	"testing"

	"github.com/jmoiron/sqlx"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"hsi.home.arpa/embedded/embeddedtest"
	"hsi.home.arpa/internal/await"
	"hsi.home.arpa/store"
	"hsi.home.arpa/store/storetest"
)

func open(t *testing.T, databaseURL string) *store.DB {
	t.Helper()
	db, err := store.Open(store.Config{URL: databaseURL, Log: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	return db
}

// outside runs statements as another program would, without our package.
func outside(t *testing.T, databaseURL string, statements ...string) {
	t.Helper()
	db, err := sqlx.Open("postgres", databaseURL)
	require.NoError(t, err)
	defer func() { require.NoError(t, db.Close()) }()
	for _, statement := range statements {
		_, err := db.ExecContext(t.Context(), statement)
		require.NoError(t, err, statement)
	}
}

// runInBackground runs db.Run until the test ends and reports what it returned.
func runInBackground(t *testing.T, run func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error, 1)
	go func() { result <- run(ctx) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, await.Value(t, result, "Run did not return"))
	})
}

func TestMigrate_EmptyDatabase(t *testing.T) {
	t.Parallel()
	db := open(t, storetest.NewEmptyURL(t))
	_, err := db.Counts(t.Context())
	require.ErrorIs(t, err, store.ErrUnavailable, "nothing may run before the schema is known to be ours")
	require.ErrorIs(t, db.Ping(t.Context()), store.ErrUnavailable)
	require.ErrorContains(t, db.Ping(t.Context()), "not migrated")

	require.NoError(t, db.Migrate(t.Context()))
	await.Value(t, db.Migrated(), "migrated")
	counts, err := db.Counts(t.Context())
	require.NoError(t, err)
	require.Zero(t, counts)
	require.NoError(t, db.Ping(t.Context()))
	require.NoError(t, db.Migrate(t.Context()), "again changes nothing")
}

func TestMigrate_SeveralAtOnce(t *testing.T) {
	t.Parallel()
	databaseURL := storetest.NewEmptyURL(t)
	var group errgroup.Group
	for range 4 {
		db := open(t, databaseURL)
		for range 2 {
			group.Go(func() error { return db.Migrate(t.Context()) })
		}
	}
	require.NoError(t, group.Wait())
}

func TestMigrate_ACurrentSchemaWaitsForNobody(t *testing.T) {
	t.Parallel()
	databaseURL := storetest.NewURL(t)
	other := open(t, databaseURL)
	require.NoError(t, other.Migrate(t.Context()))
	lock, err := other.SQL().Connx(t.Context())
	require.NoError(t, err)
	_, err = lock.ExecContext(t.Context(), `SELECT pg_advisory_lock($1)`, store.MigrationLock)
	require.NoError(t, err)

	ctx, cancel := context.WithTimeout(t.Context(), await.Limit)
	defer cancel()
	require.NoError(t, open(t, databaseURL).Migrate(ctx))
	require.NoError(t, lock.Close())
}

func TestMigrate_ErrForeignDatabase(t *testing.T) {
	t.Parallel()
	databaseURL := storetest.NewEmptyURL(t)
	outside(t, databaseURL, `CREATE SCHEMA shop`, `CREATE TABLE shop.orders (id int)`)
	db := open(t, databaseURL)
	err := db.Migrate(t.Context())
	require.ErrorIs(t, err, store.ErrForeignDatabase)
	require.ErrorContains(t, err, "shop.orders")
	require.ErrorIs(t, db.Run(t.Context()), store.ErrForeignDatabase, "waiting cannot mend it")
	var tables int
	require.NoError(t, db.SQL().GetContext(t.Context(), &tables,
		`SELECT count(*) FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace`))
	require.Zero(t, tables, "nothing may be touched")
}

func TestMigrate_ExtensionTablesAreNotForeign(t *testing.T) {
	t.Parallel()
	databaseURL := storetest.NewEmptyURL(t)
	outside(t, databaseURL, `CREATE TABLE of_an_extension (id int)`, `ALTER EXTENSION plpgsql ADD TABLE of_an_extension`)
	require.NoError(t, open(t, databaseURL).Migrate(t.Context()))
}

func TestMigrate_OwnTablesBesideOursAreFine(t *testing.T) {
	t.Parallel()
	databaseURL := storetest.NewURL(t)
	outside(t, databaseURL, `CREATE TABLE reports (id int)`)
	require.NoError(t, open(t, databaseURL).Migrate(t.Context()))
}

func TestMigrate_ErrNewerDatabase(t *testing.T) {
	t.Parallel()
	databaseURL := storetest.NewURL(t)
	outside(t, databaseURL, `INSERT INTO hsi_schema_version (version_id, is_applied) VALUES (99999, true)`)
	db := open(t, databaseURL)
	require.ErrorIs(t, db.Run(t.Context()), store.ErrNewerDatabase)
	_, err := db.Counts(t.Context())
	require.ErrorIs(t, err, store.ErrUnavailable)
}

func TestRun_WaitsForTheServer(t *testing.T) {
	t.Parallel()
	server := embeddedtest.NewPostgres(t)
	server.Stop(t)
	db := open(t, server.URL())
	runInBackground(t, db.Run)
	require.ErrorIs(t, db.Ping(t.Context()), store.ErrUnavailable)
	server.Start(t)
	await.Value(t, db.Migrated(), "migrated after the server came")
	require.NoError(t, db.Ping(t.Context()))
}

func TestRun_MakesADroppedSchemaAgain(t *testing.T) {
	t.Parallel()
	databaseURL := storetest.NewURL(t)
	db := open(t, databaseURL)
	runInBackground(t, db.Run)
	await.Value(t, db.Migrated(), "migrated")
	outside(t, databaseURL, `DROP SCHEMA public CASCADE`, `CREATE SCHEMA public`)
	err := db.EnsureCamera(t.Context(), store.Camera{ID: "front", Name: "Front", FolderPath: "/front"})
	require.ErrorIs(t, err, store.ErrUnavailable)
	await.True(t, func() bool {
		return db.EnsureCamera(t.Context(), store.Camera{ID: "front", Name: "Front", FolderPath: "/front"}) == nil
	})
}

func TestRun_MakesADroppedDatabaseAgain(t *testing.T) {
	t.Parallel()
	databaseURL := storetest.NewEmptyURL(t)
	u, err := url.Parse(databaseURL)
	require.NoError(t, err)
	name := u.Path[1:]
	db := open(t, databaseURL)
	runInBackground(t, db.Run)
	await.Value(t, db.Migrated(), "migrated")
	outside(t, embeddedtest.PostgresURL(t), `DROP DATABASE `+name+` WITH (FORCE)`)
	_, err = db.Counts(t.Context())
	require.ErrorIs(t, err, store.ErrUnavailable)
	outside(t, embeddedtest.PostgresURL(t), `CREATE DATABASE `+name)
	await.True(t, func() bool {
		_, err := db.Counts(t.Context())
		return err == nil
	})
}
