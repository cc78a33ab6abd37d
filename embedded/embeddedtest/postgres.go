package embeddedtest

import (
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"hsi.home.arpa/embedded/internal/child"
)

// superuser is the name of the superuser on all test servers.
const superuser = "hsi"

// testSettings make a server that is fast because its data never outlives the test. A commit still
// outlives a killed server (it is in the kernel's hands, though not on a disk) where durable is
// set. The time zone is half an hour off on purpose: a missing conversion to UTC shows at once.
func testSettings(durable bool) map[string]string {
	commit := "off"
	if durable {
		commit = "on"
	}
	return map[string]string{
		"fsync": "off", "synchronous_commit": commit, "full_page_writes": commit,
		"wal_level": "minimal", "max_wal_senders": "0", "max_wal_size": "256MB",
		"autovacuum": "off", "shared_buffers": "64MB", "max_connections": "200", "jit": "off",
		"dynamic_shared_memory_type": "mmap",
		"timezone":                   "America/St_Johns", "log_timezone": "UTC",
	}
}

// shared is the one server of the test process, and the pristine data folder that private servers
// are copied from.
var shared struct {
	once   sync.Once
	server *PostgresServer
	err    error

	templateOnce sync.Once
	template     string
	installation child.Postgres
	templateErr  error
}

// PostgresServer is a PostgreSQL server of one test.
type PostgresServer struct {
	server
	runDir string
}

// PostgresURL returns the superuser URL of database "postgres" on the one server of this test
// process, which starts at the first call. Its time zone is not UTC.
func PostgresURL(tb testing.TB) string {
	tb.Helper()
	ctx := context.WithoutCancel(tb.Context()) // the server outlives this test
	shared.once.Do(func() {
		shared.server, shared.err = newPostgres(ctx, testSettings(false))
		if shared.err == nil {
			shared.err = shared.server.start(ctx)
		}
	})
	if shared.err != nil {
		tb.Fatal(shared.err)
	}
	return shared.server.URL()
}

// NewPostgres starts a server for one test, to be stopped, killed and frozen. Where no fault is
// needed use PostgresURL. Extra settings, by the server's own names, win over ours.
func NewPostgres(tb testing.TB, extra ...map[string]string) *PostgresServer {
	tb.Helper()
	settings := testSettings(true)
	for _, more := range extra {
		maps.Copy(settings, more)
	}
	postgres, err := newPostgres(context.WithoutCancel(tb.Context()), settings)
	if err != nil {
		tb.Fatal(err)
	}
	postgres.register(tb)
	return postgres
}

// NewPostgresWith starts a server for one test that has a library preloaded (LD_PRELOAD), to make
// faults that cannot be made from outside. The library must be readable for the user that servers
// run as.
func NewPostgresWith(tb testing.TB, library string) *PostgresServer {
	tb.Helper()
	postgres, err := newPostgres(context.WithoutCancel(tb.Context()), testSettings(true))
	if err != nil {
		tb.Fatal(err)
	}
	spec := &postgres.spec
	spec.Args = append([]string{"LD_PRELOAD=" + library, spec.Program.Path}, spec.Args...)
	spec.Program.Path = "/usr/bin/env"
	postgres.register(tb)
	return postgres
}

// URL is the superuser URL of database "postgres"; it stays the same over Stop, Kill and Start.
func (s *PostgresServer) URL() string { return child.PostgresURL(s.runDir, superuser, "postgres") }

// Dir is the folder that holds the server's data.
func (s *PostgresServer) Dir() string { return child.DataDir(s.home) }

func newPostgres(ctx context.Context, settings map[string]string) (*PostgresServer, error) {
	shared.templateOnce.Do(func() {
		ctx, cancel := context.WithTimeout(ctx, startTimeout)
		defer cancel()
		shared.template, shared.installation, shared.templateErr = makeTemplate(ctx)
	})
	if shared.templateErr != nil {
		return nil, shared.templateErr
	}
	home, identity, err := newHome("pg")
	if err != nil {
		return nil, err
	}
	// Copying a data folder is ten times cheaper than making one.
	if err := copyData(ctx, identity, shared.template, home); err != nil {
		return nil, err
	}
	tail := child.NewTail(20)
	socket := child.PostgresSocket(home)
	return &PostgresServer{
		runDir: home,
		server: server{
			name: "postgres",
			home: home,
			tail: tail,
			spec: child.Spec{
				Program:     shared.installation.Server,
				Args:        child.PostgresArgs(home, home, settings),
				Home:        home,
				DataDir:     child.DataDir(home),
				Identity:    identity,
				DeathSignal: syscall.SIGQUIT, // the data is worthless: no checkpoint
				Output:      tail.Add,
			},
			ping: func(ctx context.Context) error { return child.PingPostgres(ctx, socket, superuser, "postgres") },
			stop: []child.Step{{Signal: syscall.SIGINT, Wait: 10 * time.Second}, {Signal: syscall.SIGQUIT, Wait: 5 * time.Second}},
		},
	}, nil
}

func makeTemplate(ctx context.Context) (string, child.Postgres, error) {
	home, identity, err := newHome("template")
	if err != nil {
		return "", child.Postgres{}, err
	}
	installation, err := child.NewFinder(identity, depsDirs()).Postgres(0)
	if err != nil {
		return "", child.Postgres{}, err
	}
	makeData := func(home string) error {
		return installation.Init(ctx, identity, home, child.Cluster{User: superuser, Scratch: true})
	}
	kept, err := keptHome(identity, installation)
	if err == nil {
		err = copyKept(ctx, identity, kept, home, makeData)
	}
	if err != nil {
		// What is kept spares time and no more: where it cannot be had, the data folder is made
		// here.
		if removeErr := os.RemoveAll(child.DataDir(home)); removeErr != nil {
			return "", child.Postgres{}, errors.Join(err, removeErr)
		}
		if makeErr := makeData(home); makeErr != nil {
			return "", child.Postgres{}, errors.Join(err, makeErr)
		}
	}
	return filepath.Clean(home), installation, nil
}
