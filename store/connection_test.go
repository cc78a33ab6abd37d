package store_test

import (
	"context"
	"crypto/tls"
	"database/sql"
	"errors"
	"fmt"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"hsi.home.arpa/embedded/embeddedtest"
	"hsi.home.arpa/internal/await"
	"hsi.home.arpa/store"
	"hsi.home.arpa/store/storetest"
)

// within gives a call a deadline, and fails when the call does not end with it.
func within(t *testing.T, deadline time.Duration, call func(ctx context.Context) error) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	defer cancel()
	result := make(chan error, 1)
	go func() { result <- call(ctx) }()
	return await.Value(t, result, "the caller hung")
}

// expiring returns a context whose deadline passes when the test says so.
func expiring(t *testing.T) (ctx context.Context, expire func()) {
	t.Helper()
	deadline := &deadline{Context: t.Context(), passed: make(chan struct{})}
	return deadline, sync.OnceFunc(func() { close(deadline.passed) })
}

type deadline struct {
	context.Context
	passed chan struct{}
}

func (d *deadline) Done() <-chan struct{} { return d.passed }

func (d *deadline) Err() error {
	select {
	case <-d.passed:
		return context.DeadlineExceeded
	default:
		return nil
	}
}

func TestFrozenServer_NobodyHangs(t *testing.T) {
	t.Parallel()
	server := embeddedtest.NewPostgres(t)
	db := storetest.Open(t, server.URL())
	storetest.Exec(t, db, `INSERT INTO cameras (id, name, folder_path) VALUES ('a', 'A', '/a')`)
	require.NoError(t, db.Ping(t.Context()))

	// One transaction is in the middle of its work when the server freezes.
	inside, release := make(chan struct{}), make(chan struct{})
	var transaction errgroup.Group
	ctx, expire := expiring(t)
	transaction.Go(func() error {
		return db.InTx(ctx, "freeze inside", func(ctx context.Context, tx *sqlx.Tx) error {
			if _, err := tx.ExecContext(ctx, `UPDATE cameras SET name = 'B'`); err != nil {
				return err
			}
			close(inside)
			<-release
			return nil
		})
	})
	await.Value(t, inside, "transaction begun")
	server.Pause(t)
	expire()
	close(release)
	for range 3 { // with kept connections first, then with new ones
		for name, call := range map[string]func(ctx context.Context) error{
			"ping": db.Ping,
			"read": func(ctx context.Context) error { _, err := db.Counts(ctx); return err },
			"write": func(ctx context.Context) error {
				return db.InsertGPUSample(ctx, store.GPUSample{RecordedAt: time.Now()})
			},
			"transaction": func(ctx context.Context) error {
				_, err := db.RecordImage(ctx, newImage("a", "/a/1.jpg"))
				return err
			},
		} {
			err := within(t, 150*time.Millisecond, call)
			require.ErrorIs(t, err, store.ErrUnavailable, name)
			require.ErrorIs(t, err, context.DeadlineExceeded, name)
		}
	}
	require.ErrorIs(t, transaction.Wait(), store.ErrUnavailable)

	server.Resume(t)
	await.True(t, func() bool { return db.Ping(t.Context()) == nil })
	_, err := db.Counts(t.Context())
	require.NoError(t, err, "heals by itself")
}

func TestFrozenServer_CancelReturnsAtOnce(t *testing.T) {
	t.Parallel()
	server := embeddedtest.NewPostgres(t)
	db := storetest.Open(t, server.URL())
	require.NoError(t, db.Ping(t.Context()))
	server.Pause(t)
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error, 1)
	go func() {
		_, err := db.Counts(ctx)
		result <- err
	}()
	await.True(t, func() bool { return db.SQL().Stats().InUse > 0 }, "nothing is asked")
	cancel()
	err := await.Value(t, result, "the caller hung")
	require.ErrorIs(t, err, context.Canceled)
	require.NotErrorIs(t, err, store.ErrUnavailable, "the caller left; nothing is known about the database")
	server.Resume(t)
}

func TestSlowStatement_IsCancelledOnTheServer(t *testing.T) {
	t.Parallel()
	databaseURL := storetest.NewURL(t)
	db := storetest.Open(t, databaseURL)
	err := within(t, 100*time.Millisecond, func(ctx context.Context) error {
		return db.InTx(ctx, "sleep", func(ctx context.Context, tx *sqlx.Tx) error {
			_, err := tx.ExecContext(ctx, `SELECT pg_sleep(60)`)
			return err
		})
	})
	require.ErrorIs(t, err, context.DeadlineExceeded)
	await.True(t, func() bool {
		return storetest.QueryOne[int](t, db, `
			SELECT count(*) FROM pg_stat_activity
			WHERE datname = current_database() AND query LIKE '%pg_sleep(60)%' AND pid <> pg_backend_pid() AND state <> 'idle'`) == 0
	}, "the server must not go on working for nobody")
}

func TestCutConnections_CostNobodyAnError(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	// Fill the pool, then cut every connection while it is idle.
	var group errgroup.Group
	for range 8 {
		group.Go(func() error {
			_, err := db.SQL().ExecContext(t.Context(), `SELECT pg_sleep(0.05)`)
			return err
		})
	}
	require.NoError(t, group.Wait())
	cutConnections(t, db)
	for range 8 { // together, so that each kept connection is met
		group.Go(func() error {
			return db.InTx(t.Context(), "write slowly", func(ctx context.Context, tx *sqlx.Tx) error {
				_, err := tx.ExecContext(ctx, `INSERT INTO gpu_stats (recorded_at) SELECT now() FROM pg_sleep(0.05)`)
				return err
			})
		})
		group.Go(func() error {
			_, err := db.SQL().ExecContext(t.Context(), `SELECT pg_sleep(0.05)`)
			return err
		})
	}
	require.NoError(t, group.Wait())
}

// cutConnections ends all sessions of the database but the one that does it, and waits until their
// processes are gone.
func cutConnections(t *testing.T, db *store.DB) {
	t.Helper()
	others := storetest.Query[int](t, db, `
		SELECT pid FROM (
			SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() OFFSET 0) AS others
		WHERE pg_terminate_backend(pid)`)
	require.NotEmpty(t, others)
	await.True(t, func() bool {
		return !slices.ContainsFunc(others, func(pid int) bool { return !errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) })
	})
}

func TestCutConnection_ReadIsRepeatedWriteIsNot(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	for range 20 {
		require.NoError(t, db.InsertGPUSample(t.Context(), store.GPUSample{RecordedAt: time.Now()}))
	}
	// Each insert cuts its own connection after it was executed: repeated, it would be stored
	// twice.
	storetest.Exec(t, db, `
		CREATE FUNCTION cut() RETURNS trigger LANGUAGE plpgsql AS $$
		BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NULL; END $$`)
	storetest.Exec(t, db, `CREATE TRIGGER cut AFTER INSERT ON gpu_stats FOR EACH STATEMENT EXECUTE FUNCTION cut()`)
	err := db.InsertGPUSample(t.Context(), store.GPUSample{RecordedAt: time.Now()})
	require.ErrorIs(t, err, store.ErrUnavailable)
	require.Equal(t, 20, storetest.QueryOne[int](t, db, `SELECT count(*) FROM gpu_stats`))
	storetest.Exec(t, db, `CREATE SEQUENCE attempts`)
	storetest.Exec(t, db, `ALTER TABLE gpu_stats DISABLE TRIGGER cut`)

	// A read that finds its connection cut is asked again on another one.
	storetest.Exec(t, db, `
		CREATE FUNCTION cut_once() RETURNS bigint LANGUAGE plpgsql AS $$
		BEGIN
			IF nextval('attempts') = 1 THEN PERFORM pg_terminate_backend(pg_backend_pid()); PERFORM pg_sleep(1); END IF;
			RETURN 0;
		END $$`)
	storetest.Exec(t, db, `ALTER TABLE counters RENAME TO counters_kept`)
	storetest.Exec(t, db, `CREATE VIEW counters AS SELECT table_name, slot, row_count + cut_once() AS row_count FROM counters_kept`)
	counts, err := db.Counts(t.Context())
	require.NoError(t, err)
	require.Equal(t, int64(20), counts.GPUSamples)
}

// A newer version of the program migrates while this one runs.
func TestSchemaChange_PreparedStatementsFollow(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	require.NoError(t, db.InsertGPUSample(t.Context(), store.GPUSample{RecordedAt: base(), MemoryUsedMiB: new(int64(7))}))
	for range 3 {
		_, err := db.ListGPUSamples(t.Context(), nil, 1)
		require.NoError(t, err)
	}
	storetest.Exec(t, db, `ALTER TABLE gpu_stats ALTER COLUMN memory_used TYPE integer`)
	samples, err := db.ListGPUSamples(t.Context(), nil, 1)
	require.NoError(t, err)
	require.Equal(t, int64(7), *samples[0].MemoryUsedMiB)
	require.NoError(t, db.InsertGPUSample(t.Context(), store.GPUSample{RecordedAt: base(), MemoryUsedMiB: new(int64(7))}))
}

func TestServerRestart_Heals(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"stop", "kill"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			server := embeddedtest.NewPostgres(t)
			db := storetest.Open(t, server.URL())
			require.NoError(t, db.InsertGPUSample(t.Context(), store.GPUSample{RecordedAt: time.Now()}))
			if how == "stop" {
				server.Stop(t)
			} else {
				server.Kill(t)
			}
			_, err := db.Counts(t.Context())
			require.ErrorIs(t, err, store.ErrUnavailable)
			require.ErrorIs(t, db.Ping(t.Context()), store.ErrUnavailable)
			server.Start(t)
			_, err = db.Counts(t.Context())
			require.NoError(t, err)
			require.NoError(t, db.Ping(t.Context()))
		})
	}
}

func TestPing_IsNotHeldUpByBusyWorkers(t *testing.T) {
	t.Parallel()
	db, err := store.Open(store.Config{URL: storetest.NewURL(t), Log: storetest.Logger(t), MaxOpenConns: 2})
	require.NoError(t, err)
	require.NoError(t, db.Migrate(t.Context()))
	var group errgroup.Group
	ctx, cancel := context.WithCancel(t.Context())
	busy := make(chan struct{}, 2)
	for range 2 {
		group.Go(func() error {
			return db.InTx(ctx, "be busy", func(ctx context.Context, _ *sqlx.Tx) error {
				busy <- struct{}{}
				<-ctx.Done()
				return nil
			})
		})
	}
	<-busy
	<-busy
	require.NoError(t, db.Ping(t.Context()))
	cancel()
	require.Error(t, group.Wait())
	require.NoError(t, db.Close())
}

// Ping says why a server that is there cannot be used, before and after the schema was made.
func TestPing_SaysWhatIsTheMatter(t *testing.T) {
	t.Parallel()
	server := embeddedtest.NewPostgres(t)
	for name, test := range map[string]struct {
		change func(u *url.URL)
		want   error
	}{
		"no such user":     {func(u *url.URL) { u.User = url.UserPassword("stranger", "hunter2") }, store.ErrLoginRefused},
		"no such database": {func(u *url.URL) { u.Path = "/nowhere" }, store.ErrNoDatabase},
	} {
		u := parse(t, server.URL())
		test.change(u)
		db, err := store.Open(store.Config{URL: u.String(), Log: storetest.Logger(t)})
		require.NoError(t, err)
		for _, call := range []func(context.Context) error{db.Ping, db.Migrate} {
			err = call(t.Context())
			require.ErrorIs(t, err, test.want, name)
			require.ErrorIs(t, err, store.ErrUnavailable, name)
			require.NotContains(t, err.Error(), "hunter2")
		}
		require.NoError(t, db.Close())
	}

	db := storetest.Open(t, server.URL())
	young, err := store.Open(store.Config{URL: server.URL(), Log: storetest.Logger(t)})
	require.NoError(t, err)
	defer func() { require.NoError(t, young.Close()) }()
	require.NoError(t, db.Ping(t.Context()))
	require.ErrorContains(t, young.Ping(t.Context()), "not migrated")
	makeReadOnly := func(statement string) {
		change, err := sqlx.Open("postgres", server.URL()+"&default_transaction_read_only=off")
		require.NoError(t, err)
		defer change.Close()
		for _, each := range []string{statement, `SELECT pg_reload_conf()`} {
			_, err = change.ExecContext(t.Context(), each)
			require.NoError(t, err)
		}
	}
	makeReadOnly(`ALTER SYSTEM SET default_transaction_read_only = on`)
	await.True(t, func() bool { return errors.Is(db.Ping(t.Context()), store.ErrReadOnly) })
	require.ErrorIs(t, young.Ping(t.Context()), store.ErrReadOnly)
	requireReadOnly(t, db)
	makeReadOnly(`ALTER SYSTEM RESET default_transaction_read_only`)
	await.True(t, func() bool { return db.Ping(t.Context()) == nil })
	require.NoError(t, db.InsertGPUSample(t.Context(), store.GPUSample{RecordedAt: base()}))
}

// requireReadOnly wants that nothing can be written, in a transaction or without, and that reading
// goes on.
func requireReadOnly(t *testing.T, db *store.DB) {
	t.Helper()
	require.ErrorIs(t, db.Ping(t.Context()), store.ErrReadOnly)
	require.ErrorIs(t, db.InsertGPUSample(t.Context(), store.GPUSample{RecordedAt: base()}), store.ErrReadOnly)
	_, err := store.NewSystemConfigs(db, environment()).Update(t.Context(), store.SystemConfigUpdate{RetentionDays: new(7)}, store.Actor{Name: "anonymous"})
	require.ErrorIs(t, err, store.ErrReadOnly)
	_, err = db.Counts(t.Context())
	require.NoError(t, err)
}

// A standby is read-only until it is promoted.
func TestPing_Standby(t *testing.T) {
	t.Parallel()
	server := embeddedtest.NewPostgres(t, map[string]string{"wal_level": "replica"})
	db := storetest.Open(t, server.URL())
	server.Stop(t)
	require.NoError(t, os.WriteFile(filepath.Join(server.Dir(), "standby.signal"), nil, 0o644))
	server.Start(t)
	requireReadOnly(t, db)
	young, err := store.Open(store.Config{URL: server.URL(), Log: storetest.Logger(t)})
	require.NoError(t, err)
	require.ErrorIs(t, young.Ping(t.Context()), store.ErrReadOnly)
	require.NoError(t, young.Migrate(t.Context()), "nothing is to be done: reading may begin")
	require.NoError(t, young.Close())
	server.Stop(t)
	require.NoError(t, os.Remove(filepath.Join(server.Dir(), "standby.signal")))
	server.Start(t)
	require.NoError(t, db.Ping(t.Context()))
	require.NoError(t, db.InsertGPUSample(t.Context(), store.GPUSample{RecordedAt: base()}))
}

func TestTLS(t *testing.T) {
	t.Parallel()
	plain := startRelay(t, embeddedtest.PostgresURL(t), nil)
	secure := startRelay(t, embeddedtest.PostgresURL(t), certificates(t))
	name := strings.TrimPrefix(parse(t, storetest.NewURL(t)).Path, "/")
	migrate := func(format string, port int) error {
		db, err := store.Open(store.Config{URL: fmt.Sprintf(format, port, name), Log: storetest.Logger(t)})
		require.NoError(t, err)
		defer func() { require.NoError(t, db.Close()) }()
		return db.Migrate(t.Context())
	}
	require.NoError(t, migrate("postgresql+asyncpg://hsi@127.0.0.1:%d/%s", plain.port), "no TLS there: plain")
	require.ErrorIs(t, migrate("postgres://hsi@127.0.0.1:%d/%s?sslmode=require", plain.port), store.ErrUnavailable)
	require.NoError(t, migrate("postgres://hsi@127.0.0.1:%d/%s", secure.port))
	require.Positive(t, secure.encrypted.Load(), "TLS where it is offered")
}

// certificates borrows those of httptest.
func certificates(t *testing.T) []tls.Certificate {
	t.Helper()
	server := httptest.NewTLSServer(nil)
	defer server.Close()
	return server.TLS.Certificates
}

// Transactions with options and without take turns on one connection, and each is what it was asked
// to be.
func TestTransactions_OfEveryKindOnOneConnection(t *testing.T) {
	t.Parallel()
	db, err := store.Open(store.Config{URL: storetest.NewURL(t), Log: storetest.Logger(t), MaxOpenConns: 1})
	require.NoError(t, err)
	defer func() { require.NoError(t, db.Close()) }()
	require.NoError(t, db.Migrate(t.Context()))
	for range 3 {
		for _, kind := range []struct {
			options   *sql.TxOptions
			isolation string
			readOnly  string
		}{
			{nil, "read committed", "off"},
			{&sql.TxOptions{Isolation: sql.LevelRepeatableRead, ReadOnly: true}, "repeatable read", "on"},
			{&sql.TxOptions{Isolation: sql.LevelSerializable}, "serializable", "off"},
			{&sql.TxOptions{ReadOnly: true}, "read committed", "on"},
		} {
			ctx, cancel := context.WithCancel(t.Context())
			tx, err := db.SQL().BeginTxx(ctx, kind.options)
			require.NoError(t, err)
			var isolation, readOnly string
			require.NoError(t, tx.QueryRowxContext(ctx, `SELECT current_setting('transaction_isolation'), current_setting('transaction_read_only')`).Scan(&isolation, &readOnly))
			require.Equal(t, kind.isolation, isolation)
			require.Equal(t, kind.readOnly, readOnly)
			require.NoError(t, tx.Commit())
			cancel() // what was watched by the one before must not touch the next
		}
	}
	_, err = db.SQL().BeginTxx(t.Context(), &sql.TxOptions{Isolation: sql.LevelSnapshot})
	require.ErrorContains(t, err, "not supported")
}
