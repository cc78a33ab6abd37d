package child

import (
	"encoding/binary"
	"net"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// answering listens on a socket and answers the first words of each connection with a fixed text.
func answering(t *testing.T, answer string) string {
	t.Helper()
	socket := filepath.Join(newDir(t), "s")
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", socket)
	require.NoError(t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Read(make([]byte, 1024))
			_, _ = conn.Write([]byte(answer))
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() {
		_ = listener.Close()
		<-done
	})
	return socket
}

func message(kind byte, payload string) string {
	return string(append([]byte{kind}, binary.BigEndian.AppendUint32(nil, uint32(len(payload)+4))...)) + payload
}

func TestPingPostgres(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ answer, problem string }{
		"ready":     {message('R', "\x00\x00\x00\x00") + message('S', "a\x00b\x00") + message('Z', "I"), ""},
		"starting":  {message('E', "SFATAL\x00C57P03\x00Mthe database system is starting up\x00\x00"), "postgres refuses: the database system is starting up"},
		"no reason": {message('E', "\x00"), "no reason given"},
		"password":  {message('R', "\x00\x00\x00\x05salt"), "asks for a password"},
		"huge":      {"R\x7f\xff\xff\xff", "message of"},
		"too small": {"R\x00\x00\x00\x00", "message of"},
		"cut off":   {"R\x00\x00\x00\x08\x00", "read from postgres"},
		"nothing":   {"", "read from postgres"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := PingPostgres(t.Context(), answering(t, test.answer), "u", "d")
			if test.problem == "" {
				require.NoError(t, err)
			} else {
				require.ErrorContains(t, err, test.problem)
			}
		})
	}
	require.ErrorContains(t, PingPostgres(t.Context(), "/does/not/exist", "u", "d"), "connect")
}

func TestPingRedis(t *testing.T) {
	t.Parallel()
	require.NoError(t, PingRedis(t.Context(), answering(t, "+PONG\r\n")))
	require.ErrorContains(t, PingRedis(t.Context(), answering(t, "-LOADING Redis is loading the dataset in memory\r\n")), "LOADING")
	require.Error(t, PingRedis(t.Context(), answering(t, "")))
}
