package embedded_test

import (
	"context"
	"database/sql"
	"os"
	osexec "os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	_ "github.com/lib/pq"
	"github.com/stretchr/testify/require"

	"hsi.home.arpa/embedded"
	"hsi.home.arpa/internal/await"
)

func newPostgres(t *testing.T, options embedded.Options) *embedded.Postgres {
	t.Helper()
	postgres, err := embedded.NewPostgres(embedded.PostgresOptions(options))
	require.NoError(t, err)
	return postgres
}

func open(t *testing.T, url string) *sql.DB {
	t.Helper()
	db, err := sql.Open("postgres", url)
	require.NoError(t, err)
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func exec(t *testing.T, db *sql.DB, query string) {
	t.Helper()
	_, err := db.ExecContext(t.Context(), query)
	require.NoError(t, err)
}

func queryString(t *testing.T, db *sql.DB, query string) string {
	t.Helper()
	var value string
	require.NoError(t, db.QueryRowContext(t.Context(), query).Scan(&value))
	return value
}

func TestPostgres_KeepsDataOverAStop(t *testing.T) {
	t.Parallel()
	dir := newDataDir(t)
	log, _ := testLog(t)
	postgres := newPostgres(t, newOptions(dir, log))
	stop := start(t, postgres)
	db := open(t, postgres.URL())
	exec(t, db, "CREATE TABLE x (n int)")
	exec(t, db, "INSERT INTO x VALUES (7)")
	require.Equal(t, "hsi", queryString(t, db, "SELECT current_database()"))
	require.Equal(t, "on", queryString(t, db, "SHOW fsync"))
	require.Equal(t, "on", queryString(t, db, "SHOW data_checksums"))
	require.Empty(t, queryString(t, db, "SHOW listen_addresses"))
	require.Equal(t, "UTC", queryString(t, db, "SHOW timezone"))
	require.False(t, postgres.Moved())
	info, err := os.Stat(postgres.RunDir())
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o700), info.Mode().Perm())
	stop() // with our session still open
	require.FileExists(t, filepath.Join(dir, "postgres", "data", "PG_VERSION"))

	again := newPostgres(t, newOptions(dir, log))
	require.Equal(t, postgres.URL(), again.URL())
	start(t, again)
	require.Equal(t, "7", queryString(t, open(t, again.URL()), "SELECT n FROM x"))
}

func TestPostgres_RestartsAfterKill(t *testing.T) {
	t.Parallel()
	log, _ := testLog(t)
	postgres := newPostgres(t, newOptions(newMadeDir(t), log))
	start(t, postgres)
	db := open(t, postgres.URL())
	exec(t, db, "CREATE TABLE x (n int)")
	// A session that computes does not notice at once that its server is gone.
	go func() { _, _ = db.ExecContext(t.Context(), "SELECT count(*) FROM generate_series(1, 1e12::bigint)") }()
	await.True(t, func() bool {
		return queryString(t, db, "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT count(*) FROM generate_series%'") == "1"
	})
	for round := int64(1); round <= 3; round++ {
		exec(t, db, "INSERT INTO x VALUES (1)")
		require.NoError(t, syscall.Kill(mainPID(t, postgres), syscall.SIGKILL))
		await.True(t, func() bool { return postgres.Restarts() == round && db.PingContext(t.Context()) == nil })
	}
	require.Equal(t, "3", queryString(t, db, "SELECT count(*) FROM x"))
}

func TestPostgres_RestartsWhenItsSocketIsRemoved(t *testing.T) {
	t.Parallel()
	log, _ := testLog(t)
	postgres := newPostgres(t, newOptions(newMadeDir(t), log))
	start(t, postgres)
	require.NoError(t, os.RemoveAll(postgres.RunDir()))
	db := open(t, postgres.URL())
	await.True(t, func() bool { return db.PingContext(t.Context()) == nil })
}

// Whoever stops the whole server gives it ten seconds before it is killed with all that it started.
func TestStop_EndsInTime(t *testing.T) {
	t.Parallel()
	log, _ := testLog(t)
	options := newOptions(newDataDir(t), log)
	require.LessOrEqual(t, newPostgres(t, options).StopLimit(), 8*time.Second)
	require.LessOrEqual(t, newRedis(t, options).StopLimit(), 8*time.Second)
}

func TestPostgres_FrozenServerIsStillStopped(t *testing.T) {
	t.Parallel()
	log, _ := testLog(t)
	dir := newMadeDir(t)
	postgres := newPostgres(t, newOptions(dir, log))
	postgres.HurryStop(50 * time.Millisecond)
	stop := start(t, postgres)
	freeze(postgres.DataDir())
	stop()
	start(t, newPostgres(t, newOptions(dir, log))) // recovers
}

func TestPostgres_HalfMadeDataIsMadeAgain(t *testing.T) {
	t.Parallel()
	dir := newDataDir(t)
	half := filepath.Join(dir, "postgres", "data.new")
	require.NoError(t, os.MkdirAll(half, 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(half, "PG_VERSION"), []byte("15\n"), 0o600))
	log, _ := testLog(t)
	postgres := newPostgres(t, newOptions(dir, log))
	require.False(t, postgres.Moved(), "a folder that root made in a folder that all can enter is taken")
	start(t, postgres)
	require.NoError(t, open(t, postgres.URL()).PingContext(t.Context()))
	require.NoDirExists(t, half)
}

func TestNewPostgres_OtherVersionOfTheData(t *testing.T) {
	t.Parallel()
	dir := newDataDir(t)
	data := filepath.Join(dir, "postgres", "data")
	require.NoError(t, os.MkdirAll(data, 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(data, "PG_VERSION"), []byte("9\n"), 0o600))
	log, _ := testLog(t)
	_, err := embedded.NewPostgres(embedded.PostgresOptions(newOptions(dir, log)))
	var version *embedded.VersionError
	require.ErrorAs(t, err, &version)
	require.Equal(t, 9, version.DataMajor)
	require.NotContains(t, err.Error(), "\n")
	require.Contains(t, err.Error(), "apt-get install postgresql-9")
}

func TestPostgres_SecondSupervisorIsRefused(t *testing.T) {
	t.Parallel()
	dir := newMadeDir(t)
	log, _ := testLog(t)
	postgres := newPostgres(t, newOptions(dir, log))
	start(t, postgres)
	second := newPostgres(t, embedded.WithPatience(newOptions(dir, log), 300*time.Millisecond))
	var inUse *embedded.InUseError
	require.ErrorAs(t, second.Run(t.Context()), &inUse)
	require.NoError(t, open(t, postgres.URL()).PingContext(t.Context()), "the first one is not harmed")
	require.ErrorContains(t, second.Run(t.Context()), "called twice")
}

func TestPostgres_LongPath(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(newDataDir(t), strings.Repeat("long/", 40))
	log, _ := testLog(t)
	postgres := newPostgres(t, newOptions(dir, log))
	start(t, postgres)
	require.NoError(t, open(t, postgres.URL()).PingContext(t.Context()))
	require.Contains(t, postgres.DataDir(), dir)
}

func TestPostgres_CannotStartSaysWhy(t *testing.T) {
	t.Parallel()
	log, buffer := testLog(t)
	options := newOptions(newMadeDir(t), log)
	options.Settings["shared_buffers"] = "no number"
	postgres := newPostgres(t, options)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- postgres.Run(ctx) }()
	await.True(t, func() bool {
		return strings.Contains(buffer.String(), "level=ERROR") && strings.Contains(buffer.String(), "shared_buffers")
	})
	cancel()
	require.NoError(t, <-ended)
}

func TestPostgres_MovesWhereRootsServersCannotGo(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(newDataDir(t), "private", "data")
	require.NoError(t, os.MkdirAll(filepath.Dir(dir), 0o700))
	system := newDataDir(t)
	log, buffer := testLog(t)
	options := embedded.WithSystemDir(newOptions(dir, log), system)
	postgres := newPostgres(t, options)
	stop := start(t, postgres)
	exec(t, open(t, postgres.URL()), "CREATE TABLE x (n int)")
	if os.Geteuid() != 0 {
		require.False(t, postgres.Moved(), "our own user can go wherever we can")
		return
	}
	require.True(t, postgres.Moved())
	require.Contains(t, postgres.DataDir(), system)
	require.Contains(t, buffer.String(), "data lies outside DATA_DIR")
	require.Contains(t, buffer.String(), postgres.DataDir())
	stop()

	again := newPostgres(t, options)
	require.True(t, again.Moved())
	require.Equal(t, postgres.DataDir(), again.DataDir())
	start(t, again)
	exec(t, open(t, again.URL()), "SELECT n FROM x")

	require.NoError(t, os.Rename(again.DataDir(), again.DataDir()+".away"))
	_, err := embedded.NewPostgres(embedded.PostgresOptions(options))
	var place *embedded.PlaceError
	require.ErrorAs(t, err, &place, "data that is gone is not replaced by an empty database")
	require.NoError(t, os.Rename(again.DataDir()+".away", again.DataDir()))
}

func TestPostgres_DataCopiedByRootIsTaken(t *testing.T) {
	t.Parallel()
	dir := newMadeDir(t)
	log, _ := testLog(t)
	postgres := newPostgres(t, newOptions(dir, log))
	stop := start(t, postgres)
	exec(t, open(t, postgres.URL()), "CREATE TABLE x (n int)")
	stop()
	copied := newDataDir(t)
	require.NoError(t, osexec.CommandContext(t.Context(), "cp", "-r", postgres.DataDir(), copied).Run())
	again := newPostgres(t, newOptions(copied, log))
	start(t, again)
	exec(t, open(t, again.URL()), "SELECT n FROM x")
}

func TestPostgres_CancelledWhileItMakesTheData(t *testing.T) {
	t.Parallel()
	dir := newDataDir(t)
	log, _ := testLog(t)
	postgres := newPostgres(t, newOptions(dir, log))
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- postgres.Run(ctx) }()
	await.True(t, func() bool {
		entries, _ := os.ReadDir(filepath.Join(dir, "postgres", "data.new"))
		return len(entries) > 5
	})
	cancel()
	require.NoError(t, await.Value(t, ended, "Run did not end"))
	// They are killed; a busy machine takes a moment to bury them.
	await.True(t, func() bool { return len(processesOf(dir)) == 0 })
	require.NoDirExists(t, postgres.RunDir())
}

func TestPostgres_SomebodyElsesSocketFolderIsNotTaken(t *testing.T) {
	t.Parallel()
	dir := newMadeDir(t)
	log, _ := testLog(t)
	first := newPostgres(t, newOptions(dir, log)).RunDir()
	target := t.TempDir()
	require.NoError(t, os.Symlink(target, first))
	t.Cleanup(func() { require.NoError(t, os.Remove(first)) })
	postgres := newPostgres(t, newOptions(dir, log))
	require.NotEqual(t, first, postgres.RunDir())
	start(t, postgres)
	entries, err := os.ReadDir(target)
	require.NoError(t, err)
	require.Empty(t, entries)
}
