package embedded

import (
	"bytes"
	"log/slog"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestLineLog_IsBounded(t *testing.T) {
	t.Parallel()
	var buffer bytes.Buffer
	now := time.Unix(1000, 0)
	log := newLineLog(slog.New(slog.NewTextHandler(&buffer, &slog.HandlerOptions{Level: slog.LevelDebug})), func() time.Time { return now })
	for n := range 3 * lineBudget {
		log.add("line " + strconv.Itoa(n))
	}
	require.Equal(t, lineBudget, strings.Count(buffer.String(), "\n"))
	log.add("PANIC:  could not write")
	require.Contains(t, buffer.String(), "level=ERROR", "a panic is never dropped")
	now = now.Add(lineWindow)
	log.add("later")
	require.Contains(t, buffer.String(), "dropped="+strconv.Itoa(2*lineBudget))
	require.Contains(t, buffer.String(), "later")
}

func TestIsSevere(t *testing.T) {
	t.Parallel()
	for line, severe := range map[string]bool{
		`FATAL:  invalid value for parameter "shared_buffers"`:          true,
		`PANIC:  could not write to file: No space left on device`:      true,
		`FATAL:  the database system is starting up`:                    false,
		`FATAL:  terminating connection due to administrator command`:   false,
		`ERROR:  duplicate key value violates unique constraint`:        false,
		`LOG:  database system is ready to accept connections`:          false,
		`FATAL:  lock file "postmaster.pid" already exists`:             true,
		`FATAL:  data directory "/x" has invalid permissions`:           true,
		`FATAL:  could not load pg_hba.conf`:                            true,
		`FATAL:  the database system is not yet accepting connections`:  false,
		`FATAL:  terminating connection due to unexpected postmaster e`: false,
	} {
		require.Equal(t, severe, isSeverePostgresLine("2026-01-01 00:00:00 UTC [1] "+line), line)
	}
	require.True(t, isSevereRedisLine("1:M 01 Jan 2026 00:00:00.000 # Bad file format reading the append only file"))
	require.False(t, isSevereRedisLine("1:M 01 Jan 2026 00:00:00.000 # WARNING Memory overcommit must be enabled!"))
	require.False(t, isSevereRedisLine("1:M 01 Jan 2026 00:00:00.000 * Ready to accept connections"))
}
