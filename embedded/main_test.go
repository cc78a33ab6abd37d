package embedded_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	osexec "os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"hsi.home.arpa/embedded"
	"hsi.home.arpa/internal/await"
	"hsi.home.arpa/internal/logtest"
)

// supervisorVariable makes the test binary a supervisor of both servers on the DATA_DIR that it
// names.
const supervisorVariable = "EMBEDDED_TEST_SUPERVISOR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(supervisorVariable); dir != "" {
		os.Exit(superviseBoth(dir))
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		_ = os.RemoveAll(made.dir)
		os.Exit(code)
	}))
}

// superviseBoth is what cmd does with this package, in short. It prints "ready <url> <url>" and
// what ends it.
func superviseBoth(dir string) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	options := newOptions(dir, slog.New(slog.NewTextHandler(os.Stderr, nil)))
	postgres, err := embedded.NewPostgres(embedded.PostgresOptions(options))
	if err != nil {
		fmt.Println("failed", err)
		return 2
	}
	options.Settings = nil
	redis, err := embedded.NewRedis(embedded.RedisOptions(options))
	if err != nil {
		fmt.Println("failed", err)
		return 2
	}
	ended := make(chan error, 2)
	go func() { ended <- postgres.Run(ctx) }()
	go func() { ended <- redis.Run(ctx) }()
	fmt.Println("started")
	for _, ready := range []<-chan struct{}{postgres.Ready(), redis.Ready()} {
		select {
		case <-ready:
		case err := <-ended:
			fmt.Println("failed", err)
			return 2
		}
	}
	fmt.Println("ready", postgres.URL(), redis.URL())
	if err := errors.Join(<-ended, <-ended); err != nil {
		fmt.Println("failed", err)
		return 1
	}
	return 0
}

// depsDir is where scripts/deps.sh unpacks packages.
func depsDir() string {
	if dir := os.Getenv("EMBEDDED_DEPS_DIR"); dir != "" {
		return dir
	}
	dir, err := filepath.Abs(filepath.Join("..", ".deps"))
	if err != nil {
		panic(err)
	}
	return dir
}

func newOptions(dir string, log *slog.Logger) embedded.Options {
	return embedded.Options{
		DataDir: dir,
		BinDirs: []string{depsDir()},
		Log:     log,
		// In the data folder, not in /dev/shm, where a killed server's segments stay until its next
		// start.
		Settings: map[string]string{"dynamic_shared_memory_type": "mmap"},
	}
}

// made is a DATA_DIR with PostgreSQL's data as the first start makes it, for tests of what comes
// after that.
var made struct {
	once sync.Once
	dir  string
}

// newMadeDir is newDataDir with a copy of that data in it: making it costs as much as ten starts.
func newMadeDir(t *testing.T) string {
	t.Helper()
	made.once.Do(func() {
		made.dir = makeDataDir(t)
		log, _ := testLog(t)
		start(t, newPostgres(t, newOptions(made.dir, log)))()
	})
	dir := newDataDir(t)
	copied := osexec.CommandContext(t.Context(), "cp", "-a", filepath.Join(made.dir, "postgres"), dir)
	require.NoError(t, copied.Run())
	return dir
}

// newDataDir is a folder that the servers' user can enter, unlike t.TempDir for root; on a RAM disk
// if there is one.
func newDataDir(t *testing.T) string {
	t.Helper()
	dir := makeDataDir(t)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	return dir
}

func makeDataDir(t *testing.T) string {
	t.Helper()
	dir := ""
	var disk syscall.Statfs_t
	if err := syscall.Statfs("/dev/shm", &disk); err == nil && disk.Bavail*uint64(disk.Bsize) > 2<<30 {
		dir, _ = os.MkdirTemp("/dev/shm", "hsi-embedded-") //nolint:usetesting // see below
	}
	if dir == "" {
		var err error
		dir, err = os.MkdirTemp("/tmp", "hsi-embedded-") //nolint:usetesting // the servers of root cannot enter a t.TempDir
		require.NoError(t, err)
	}
	require.NoError(t, os.Chmod(dir, 0o755))
	return dir
}

// testLog keeps what is logged and shows it when the test fails.
func testLog(t *testing.T) (*slog.Logger, *logtest.Output) {
	t.Helper()
	buffer := &logtest.Output{}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(buffer.String())
		}
	})
	return slog.New(slog.NewTextHandler(buffer, &slog.HandlerOptions{Level: slog.LevelDebug})), buffer
}

// server is what both servers have in common.
type server interface {
	Run(ctx context.Context) error
	Ready() <-chan struct{}
	DataDir() string
	RunDir() string
	Restarts() int64
}

// start runs a server for the test's duration. The returned stop ends it and checks that nothing is
// left.
func start(t *testing.T, s server) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		require.NoError(t, await.Value(t, ended, "Run did not end"))
		await.True(t, func() bool { return len(processesOf(s.DataDir())) == 0 }, "processes left behind")
		require.NoDirExists(t, s.RunDir(), "socket left behind")
	})
	t.Cleanup(stop)
	awaitReady(t, s, ended)
	return stop
}

func awaitReady(t *testing.T, s server, ended <-chan error) {
	t.Helper()
	select {
	case <-s.Ready():
	case err := <-ended:
		t.Fatalf("ended instead of getting ready: %v", err)
	case <-time.After(await.Limit):
		t.Fatal("not ready")
	}
}

// processesOf lists the processes that work in a folder, by an own look at /proc; zombies do not
// count.
func processesOf(dir string) []int {
	dir, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return nil
	}
	entries, _ := filepath.Glob("/proc/[0-9]*")
	var pids []int
	for _, entry := range entries {
		cwd, err := os.Readlink(filepath.Join(entry, "cwd"))
		if err != nil || (cwd != dir && !strings.HasPrefix(cwd, dir+"/")) {
			continue
		}
		if pid, err := strconv.Atoi(filepath.Base(entry)); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

// freeze stops every process in a folder from running on. Workers of PostgreSQL come and go, so one
// may be gone.
func freeze(dir string) {
	for _, pid := range processesOf(dir) {
		_ = syscall.Kill(pid, syscall.SIGSTOP)
	}
}

// mainPID is the process id of a running server, by its own pid file or, for Redis, by its being
// the only process.
func mainPID(t *testing.T, s server) int {
	t.Helper()
	if content, err := os.ReadFile(filepath.Join(s.DataDir(), "data", "postmaster.pid")); err == nil {
		first, _, _ := strings.Cut(string(content), "\n")
		pid, err := strconv.Atoi(first)
		require.NoError(t, err)
		return pid
	}
	pids := processesOf(s.DataDir())
	require.Len(t, pids, 1)
	return pids[0]
}
