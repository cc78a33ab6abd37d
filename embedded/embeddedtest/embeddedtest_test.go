package embeddedtest_test

import (
	"bufio"
	"bytes"
	"database/sql"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	_ "github.com/lib/pq"
	"github.com/stretchr/testify/require"

	"hsi.home.arpa/embedded/embeddedtest"
	"hsi.home.arpa/internal/await"
)

// hangVariable makes the test binary start servers and wait to be killed.
const hangVariable = "EMBEDDED_TEST_HANG"

func TestMain(m *testing.M) { embeddedtest.Main(m) }

// TestHang is the other process of TestKilledTestProcess_LeavesNothing; by itself it only starts
// what it would.
func TestHang(t *testing.T) {
	redis, postgres := embeddedtest.NewRedis(t), embeddedtest.NewPostgres(t)
	if os.Getenv(hangVariable) == "" {
		return
	}
	_, _ = fmt.Fprintln(os.Stderr, "urls", redis.URL(), postgres.URL(), embeddedtest.PostgresURL(t))
	<-t.Context().Done() // not before we are killed
}

func TestKilledTestProcess_LeavesNothing(t *testing.T) {
	t.Parallel()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestHang$")
	cmd.Env = append(os.Environ(), hangVariable+"=1")
	output, err := cmd.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	line, err := bufio.NewReader(output).ReadString('\n')
	require.NoError(t, err)
	words := strings.Fields(line)
	require.Len(t, words, 4, line)
	require.NoError(t, cmd.Process.Kill())
	require.Error(t, cmd.Wait())

	socket := strings.TrimPrefix(words[1], "unix://")
	await.True(t, func() bool {
		_, err := (&net.Dialer{}).DialContext(t.Context(), "unix", socket)
		return err != nil && open(t, words[2]).PingContext(t.Context()) != nil && open(t, words[3]).PingContext(t.Context()) != nil
	}, "servers outlive their test process")

	// The next test process sweeps the folder away.
	base := filepath.Dir(filepath.Dir(socket))
	require.DirExists(t, base)
	next := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestNewRedis")
	report, err := next.CombinedOutput()
	require.NoError(t, err, string(report))
	require.NoDirExists(t, base)
}

func open(t *testing.T, url string) *sql.DB {
	t.Helper()
	db, err := sql.Open("postgres", url)
	require.NoError(t, err)
	t.Cleanup(func() { _ = db.Close() }) // a session to a killed server does not close well
	return db
}

func TestPostgresURL_SameServerForAll(t *testing.T) {
	t.Parallel()
	first, second := embeddedtest.PostgresURL(t), embeddedtest.PostgresURL(t)
	require.Equal(t, first, second)
	var zone, super string
	db := open(t, embeddedtest.PostgresURL(t))
	require.NoError(t, db.QueryRowContext(t.Context(), "SELECT current_setting('TimeZone'), current_setting('is_superuser')").Scan(&zone, &super))
	require.Equal(t, "America/St_Johns", zone)
	require.Equal(t, "on", super)
}

func TestNewPostgres_KillKeepsData(t *testing.T) {
	t.Parallel()
	server := embeddedtest.NewPostgres(t)
	require.FileExists(t, filepath.Join(server.Dir(), "postmaster.pid"))
	db := open(t, server.URL())
	_, err := db.ExecContext(t.Context(), "CREATE TABLE x (n int); INSERT INTO x VALUES (7)")
	require.NoError(t, err)
	server.Kill(t)
	require.Error(t, db.PingContext(t.Context()))
	server.Start(t)
	var n int
	require.NoError(t, open(t, server.URL()).QueryRowContext(t.Context(), "SELECT n FROM x").Scan(&n))
	require.Equal(t, 7, n)
	server.Stop(t)
	server.Stop(t) // a stopped server is left alone
	require.Error(t, db.PingContext(t.Context()))
}

func TestNewPostgres_ExtraSettingsWin(t *testing.T) {
	t.Parallel()
	var autovacuum string
	db := open(t, embeddedtest.NewPostgres(t, map[string]string{"autovacuum": "on"}).URL())
	require.NoError(t, db.QueryRowContext(t.Context(), "SELECT current_setting('autovacuum')").Scan(&autovacuum))
	require.Equal(t, "on", autovacuum)
}

func TestNewPostgres_PauseFreezesOpenSessions(t *testing.T) {
	t.Parallel()
	server := embeddedtest.NewPostgres(t)
	db := open(t, server.URL())
	db.SetMaxOpenConns(1)
	require.NoError(t, db.PingContext(t.Context()))
	server.Pause(t)
	await.True(t, func() bool { return strings.Trim(states(t, server.Dir()), "T") == "" }, "not all are frozen")
	answered := make(chan error, 1)
	go func() {
		_, err := db.ExecContext(t.Context(), "SELECT 1")
		answered <- err
	}()
	server.Resume(t)
	require.NoError(t, await.Value(t, answered, "no answer"))
	require.NotContains(t, states(t, server.Dir()), "T")
}

// states lists the states of all processes that work in a folder; T is a stopped one.
func states(t *testing.T, dir string) string {
	t.Helper()
	dirs, err := filepath.Glob("/proc/[0-9]*/cwd")
	require.NoError(t, err)
	var states []byte
	for _, cwd := range dirs {
		if target, err := os.Readlink(cwd); err != nil || target != dir {
			continue // ended, or somebody else's
		}
		if stat, err := os.ReadFile(filepath.Join(filepath.Dir(cwd), "stat")); err == nil {
			states = append(states, stat[bytes.LastIndexByte(stat, ')')+2])
		}
	}
	require.NotEmpty(t, states)
	return string(states)
}

// ask sends one Redis command and returns the first line of the answer.
func ask(t *testing.T, url, command string) (string, error) {
	t.Helper()
	return askWithin(t, await.Limit, url, command)
}

func askWithin(t *testing.T, limit time.Duration, url, command string) (string, error) {
	t.Helper()
	conn, err := (&net.Dialer{Timeout: await.Limit}).DialContext(t.Context(), "unix", strings.TrimPrefix(url, "unix://"))
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(time.Now().Add(limit)); err != nil {
		return "", err
	}
	if _, err := conn.Write([]byte(command + "\r\n")); err != nil {
		return "", err
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	return strings.TrimSpace(line), err
}

func TestNewRedis_StopKeepsDataPauseFreezes(t *testing.T) {
	t.Parallel()
	server := embeddedtest.NewRedis(t)
	answer, err := ask(t, server.URL(), "SET a 1")
	require.NoError(t, err)
	require.Equal(t, "+OK", answer)
	require.DirExists(t, filepath.Join(server.Dir(), "appendonlydir"))
	server.Stop(t)
	_, err = ask(t, server.URL(), "PING")
	require.Error(t, err)
	server.Start(t)
	answer, err = ask(t, server.URL(), "EXISTS a")
	require.NoError(t, err)
	require.Equal(t, ":1", answer)
	server.Pause(t)
	_, err = askWithin(t, 50*time.Millisecond, server.URL(), "PING")
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	server.Resume(t)
	answer, err = ask(t, server.URL(), "PING")
	require.NoError(t, err)
	require.Equal(t, "+PONG", answer)
	server.Kill(t)
	_, err = ask(t, server.URL(), "PING")
	require.Error(t, err)
}
