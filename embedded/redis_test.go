package embedded_test

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"hsi.home.arpa/embedded"
	"hsi.home.arpa/internal/await"
)

func newRedis(t *testing.T, options embedded.Options) *embedded.Redis {
	t.Helper()
	options.Settings = nil
	redis, err := embedded.NewRedis(embedded.RedisOptions(options))
	require.NoError(t, err)
	return redis
}

// ask sends one Redis command and returns the answer, or what went wrong.
func ask(t *testing.T, url, command string) string {
	t.Helper()
	conn, err := (&net.Dialer{Timeout: await.Limit}).DialContext(t.Context(), "unix", strings.TrimPrefix(url, "unix://"))
	if err != nil {
		return err.Error()
	}
	defer func() { _ = conn.Close() }()
	require.NoError(t, conn.SetDeadline(time.Now().Add(await.Limit)))
	if _, err := conn.Write([]byte(command + "\r\n")); err != nil {
		return err.Error()
	}
	answer := bufio.NewReader(conn)
	line, err := answer.ReadString('\n')
	words := []string{strings.TrimSpace(line)}
	var count int
	if _, notList := fmt.Sscanf(line, "*%d", &count); notList == nil {
		for range count { // each a length, then the text
			_, _ = answer.ReadString('\n')
			line, err = answer.ReadString('\n')
			words = append(words, strings.TrimSpace(line))
		}
	}
	if err != nil {
		return err.Error()
	}
	return strings.Join(words, " ")
}

func TestRedis_KeepsDataOverStopAndKill(t *testing.T) {
	t.Parallel()
	dir := newDataDir(t)
	log, _ := testLog(t)
	redis := newRedis(t, newOptions(dir, log))
	stop := start(t, redis)
	require.Equal(t, "+OK", ask(t, redis.URL(), "SET a 1"))
	require.NoError(t, syscall.Kill(mainPID(t, redis), syscall.SIGKILL))
	await.True(t, func() bool { return ask(t, redis.URL(), "EXISTS a") == ":1" })
	require.Equal(t, int64(1), redis.Restarts())
	stop()
	again := newRedis(t, newOptions(dir, log))
	start(t, again)
	require.Equal(t, ":1", ask(t, again.URL(), "EXISTS a"))
}

func TestRedis_UnreadableFileIsSetAside(t *testing.T) {
	t.Parallel()
	dir := newDataDir(t)
	log, buffer := testLog(t)
	redis := newRedis(t, newOptions(dir, log))
	stop := start(t, redis)
	require.Equal(t, "+OK", ask(t, redis.URL(), "SET a 1"))
	stop()
	files, err := filepath.Glob(filepath.Join(redis.DataDir(), "appendonlydir", "*.incr.aof"))
	require.NoError(t, err)
	require.Len(t, files, 1)
	content, err := os.ReadFile(files[0])
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(files[0], append([]byte("*3\r\n$x garbage\r\n"), content...), 0o600))

	again := newRedis(t, newOptions(dir, log))
	start(t, again)
	require.Equal(t, "+PONG", ask(t, again.URL(), "PING"))
	require.Contains(t, buffer.String(), "set an unreadable append-only file aside")
	require.DirExists(t, filepath.Join(redis.DataDir(), "appendonlydir.broken"))
}

func TestRedis_HasNoTCPPort(t *testing.T) {
	t.Parallel()
	log, _ := testLog(t)
	redis := newRedis(t, newOptions(newDataDir(t), log))
	start(t, redis)
	require.Equal(t, "*2 port 0", ask(t, redis.URL(), "CONFIG GET port"))
	require.Equal(t, "*2 appendonly yes", ask(t, redis.URL(), "CONFIG GET appendonly"))
	info, err := os.Stat(redis.RunDir())
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o700), info.Mode().Perm())
}
