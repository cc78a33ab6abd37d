package embeddedtest

import (
	"context"
	"sync"
	"syscall"
	"testing"
	"time"

	"hsi.home.arpa/embedded/internal/child"
)

// RedisServer is a Redis server of one test. Its append-only file is on, so that Stop, Kill and
// Start keep the data.
type RedisServer struct {
	server
	runDir string
}

// redisProgram is looked up once per test process.
var redisProgram struct {
	once    sync.Once
	program child.Program
	err     error
}

// NewRedis starts a server for one test.
func NewRedis(tb testing.TB) *RedisServer {
	tb.Helper()
	home, identity, err := newHome("redis")
	if err != nil {
		tb.Fatal(err)
	}
	redisProgram.once.Do(func() {
		redisProgram.program, redisProgram.err = child.NewFinder(identity, depsDirs()).Redis()
	})
	if redisProgram.err != nil {
		tb.Fatal(redisProgram.err)
	}
	tail := child.NewTail(20)
	socket := child.RedisSocket(home)
	redis := &RedisServer{
		runDir: home,
		server: server{
			name: "redis-server",
			home: home,
			tail: tail,
			spec: child.Spec{
				Program: redisProgram.program,
				Args: child.RedisArgs(home, home, map[string]string{
					"save": "", "appendonly": "yes", "appendfsync": "everysec",
				}),
				Home:        home,
				DataDir:     home,
				Identity:    identity,
				DeathSignal: syscall.SIGKILL,
				Output:      tail.Add,
			},
			ping: func(ctx context.Context) error { return child.PingRedis(ctx, socket) },
			stop: []child.Step{{Signal: syscall.SIGTERM, Wait: 10 * time.Second}},
		},
	}
	redis.register(tb)
	return redis
}

// URL is the server's address, "unix:///path/redis.sock"; it stays the same over Stop, Kill and
// Start.
func (s *RedisServer) URL() string { return "unix://" + child.RedisSocket(s.runDir) }

// Dir is the folder that holds the server's data: its append-only file lies in appendonlydir below
// it.
func (s *RedisServer) Dir() string { return s.home }
