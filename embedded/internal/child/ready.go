package child

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"
)

// pingTimeout bounds one question whether a server answers.
const pingTimeout = 2 * time.Second

// maxMessageBytes bounds one message of a PostgreSQL server while it greets us.
const maxMessageBytes = 1 << 16

// PingPostgres asks the PostgreSQL server on a unix socket whether it accepts sessions: it logs in
// and leaves.
func PingPostgres(ctx context.Context, socket, user, database string) error {
	conn, err := dial(ctx, socket)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	body := binary.BigEndian.AppendUint32(nil, 3<<16) // protocol 3.0
	for _, word := range []string{"user", user, "database", database, "application_name", "hsi start", ""} {
		body = append(append(body, word...), 0)
	}
	message := append(binary.BigEndian.AppendUint32(nil, uint32(len(body)+4)), body...) //nolint:gosec // a few words
	if _, err := conn.Write(message); err != nil {
		return fmt.Errorf("greet postgres: %w", err)
	}
	reader := bufio.NewReader(conn)
	for {
		kind, payload, err := readMessage(reader)
		if err != nil {
			return err
		}
		switch kind {
		case 'Z': // ready for queries
			_, _ = conn.Write([]byte{'X', 0, 0, 0, 4})
			return nil
		case 'E':
			return fmt.Errorf("postgres refuses: %s", errorText(payload))
		case 'R':
			if len(payload) < 4 || binary.BigEndian.Uint32(payload) != 0 {
				return errors.New("postgres asks for a password")
			}
		default:
		}
	}
}

func readMessage(reader *bufio.Reader) (kind byte, payload []byte, err error) {
	var head [5]byte
	if _, err := io.ReadFull(reader, head[:]); err != nil {
		return 0, nil, fmt.Errorf("read from postgres: %w", err)
	}
	size := binary.BigEndian.Uint32(head[1:])
	if size < 4 || size > maxMessageBytes {
		return 0, nil, fmt.Errorf("postgres sent a message of %d bytes", size)
	}
	payload = make([]byte, size-4)
	if _, err := io.ReadFull(reader, payload); err != nil {
		return 0, nil, fmt.Errorf("read from postgres: %w", err)
	}
	return head[0], payload, nil
}

// errorText picks the message out of an error of the server.
func errorText(payload []byte) string {
	for field := range strings.SplitSeq(string(payload), "\x00") {
		if strings.HasPrefix(field, "M") {
			return field[1:]
		}
	}
	return "no reason given"
}

// PingRedis asks the Redis server on a unix socket whether it takes commands; one that still loads
// its data does not.
func PingRedis(ctx context.Context, socket string) error {
	conn, err := dial(ctx, socket)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	if _, err := conn.Write([]byte("PING\r\n")); err != nil {
		return fmt.Errorf("ask redis: %w", err)
	}
	answer, err := bufio.NewReaderSize(conn, 1024).ReadSlice('\n')
	if err != nil {
		return fmt.Errorf("read from redis: %w", err)
	}
	if text := strings.TrimSpace(string(answer)); text != "+PONG" {
		return fmt.Errorf("redis answers %q", text)
	}
	return nil
}

func dial(ctx context.Context, socket string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, pingTimeout)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", socket)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	deadline, _ := ctx.Deadline()
	_ = conn.SetDeadline(deadline)
	return conn, nil
}

// AwaitReady pings until the server answers. It gives up when the server has ended or ctx ends,
// with the last answer.
func (p *Process) AwaitReady(ctx context.Context, ping func(context.Context) error) error {
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for {
		err := ping(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-p.done:
			return fmt.Errorf("the server ended: %s", p.ExitText())
		case <-ctx.Done():
			return fmt.Errorf("the server does not answer: %w", err)
		case <-ticker.C:
		}
	}
}
