package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gofrs/flock"
	"github.com/jmoiron/sqlx"
	_ "github.com/lib/pq" // the driver
	"golang.org/x/sys/unix"

	"hsi.home.arpa/embedded/embeddedtest"
	"hsi.home.arpa/pipeline/aitest"
	"hsi.home.arpa/pipeline/redis"
)

// Settings of the server in the runs.
const (
	threshold        = 0.6 // of detections
	detectionWorkers = 4
)

// world is everything that a run starts: it belongs to the run and ends with it.
type world struct {
	scope *scope
	dir   string // of all files but those of the databases

	postgres *embeddedtest.PostgresServer
	redis    *embeddedtest.RedisServer
	detector *aitest.RTDETR
	model    *aitest.Nemotron
	server   *server
	// second is another server on the same databases and folders, which runs only while the first is frozen.
	second *server

	// database and redisClient are our own connections.
	database    *sqlx.DB
	redisClient *redis.Client

	postgresMu, redisMu sync.Mutex // held while the process is being exchanged
}

func newWorld(ctx context.Context, o options) (*world, error) {
	w := &world{scope: &scope{ctx: ctx}}
	if err := w.build(ctx, o); err != nil {
		w.close(false)
		return nil, err
	}
	return w, nil
}

func (w *world) build(ctx context.Context, o options) (err error) {
	if w.dir, err = workDir(w.scope, o.dir); err != nil {
		return err
	}
	if err := w.startServices(); err != nil {
		return err
	}
	binary, err := filepath.Abs(o.binary)
	if err == nil {
		_, err = exec.LookPath(binary)
	}
	if err != nil {
		return fmt.Errorf("find the server: %w", err)
	}
	if err := os.MkdirAll(w.cameras(), 0o755); err != nil { //nolint:gosec // a folder of this run
		return err
	}
	if w.server, err = w.newServer(ctx, binary, "data"); err != nil {
		return err
	}
	w.second, err = w.newServer(ctx, binary, "second", "VIDEO_THUMBNAILS_DIR="+w.thumbnails(), "CLIPS_DIRECTORY="+filepath.Join(w.dir, "data", "clips"))
	return err
}

// startServices starts the databases and the AI services. The helpers of tests end the test when that fails, here the run.
func (w *world) startServices() (err error) {
	defer catch(&err)
	w.postgres = embeddedtest.NewPostgres(w.scope, map[string]string{"autovacuum": "on", "autovacuum_naptime": "15s"})
	w.redis = embeddedtest.NewRedis(w.scope)
	w.detector, w.model = aitest.NewRTDETR(w.scope), aitest.NewNemotron(w.scope)
	// Our own sessions must be able to end what they began, such as read-only times.
	url := w.postgres.URL() + "&default_transaction_read_only=off&connect_timeout=5"
	if w.database, err = sqlx.Open("postgres", url); err != nil {
		return fmt.Errorf("open the database: %w", err)
	}
	w.database.SetMaxIdleConns(1)
	w.scope.Cleanup(func() { _ = w.database.Close() }) // a session to a killed server does not close well
	if w.redisClient, err = redis.Open(redis.Config{URL: w.redis.URL()}); err != nil {
		return err
	}
	w.scope.Cleanup(w.redisClient.Close)
	return nil
}

// newServer prepares a server with a data folder of its own and short times, so that a run of minutes has many batches.
func (w *world) newServer(ctx context.Context, binary, data string, more ...string) (*server, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("find a free port: %w", err)
	}
	address := listener.Addr().String()
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	return newServer(binary, append([]string{
		"DATA_DIR=" + filepath.Join(w.dir, data), "FOSCAM_BASE_PATH=" + w.cameras(), "API_PORT=" + port,
		"DATABASE_URL=" + w.postgres.URL(), "REDIS_URL=" + w.redis.URL(),
		"RTDETR_URL=" + w.detector.URL(), "NEMOTRON_URL=" + w.model.URL(), "DETECTION_WORKERS=" + strconv.Itoa(detectionWorkers),
		"AI_CONNECT_TIMEOUT=1", "AI_HEALTH_TIMEOUT=1", "RTDETR_READ_TIMEOUT=6", "NEMOTRON_READ_TIMEOUT=6", // a frozen server comes back to answers that it still takes
		"BATCH_WINDOW_SECONDS=4", "BATCH_IDLE_TIMEOUT_SECONDS=2", "DETECTION_CONFIDENCE_THRESHOLD=" + strconv.FormatFloat(threshold, 'g', -1, 64),
		"DEDUPE_TTL_SECONDS=86400",
	}, more...), address, filepath.Join(w.dir, data+".log")), listener.Close()
}

func (w *world) cameras() string    { return filepath.Join(w.dir, "cameras") }
func (w *world) thumbnails() string { return filepath.Join(w.dir, "data", "thumbnails") }

// close ends all processes and removes all files, or leaves ours behind to be looked at.
func (w *world) close(keep bool) {
	for _, s := range []*server{w.server, w.second} {
		if s != nil {
			s.kill()
		}
	}
	w.scope.end()
	embeddedtest.RemoveAll()
	switch {
	case w.dir == "":
	case keep:
		_ = os.Remove(filepath.Join(w.dir, ownerName)) // else the next run would take it for that of a killed one
	default:
		_ = os.RemoveAll(w.dir)
	}
}

const (
	dirPrefix    = "hsi-chaos-"
	ownerName    = "owner.lock"
	minFreeBytes = 3 << 30
)

// workDir makes the folder of a run, and removes those of runs that were killed.
func workDir(s *scope, parent string) (string, error) {
	if parent == "" {
		parent = os.TempDir()
		var disk unix.Statfs_t
		if err := unix.Statfs("/dev/shm", &disk); err == nil && disk.Bavail*uint64(disk.Bsize) > minFreeBytes { //nolint:gosec // a size is positive
			parent = "/dev/shm"
		}
	}
	entries, err := os.ReadDir(parent)
	if err != nil {
		return "", fmt.Errorf("find a place for the run: %w", err)
	}
	for _, entry := range entries {
		dir := filepath.Join(parent, entry.Name())
		if _, err := os.Stat(filepath.Join(dir, ownerName)); err != nil || !strings.HasPrefix(entry.Name(), dirPrefix) {
			continue
		}
		owner := flock.New(filepath.Join(dir, ownerName))
		if free, err := owner.TryLock(); err == nil && free {
			_ = os.RemoveAll(dir)
		}
		_ = owner.Close()
	}
	dir, err := os.MkdirTemp(parent, dirPrefix)
	if err != nil {
		return "", fmt.Errorf("make a folder for the run: %w", err)
	}
	owner := flock.New(filepath.Join(dir, ownerName))
	if held, err := owner.TryLock(); err != nil || !held {
		return "", errors.Join(errors.New("cannot lock the folder of the run"), err)
	}
	s.Cleanup(func() { _ = owner.Close() })
	return dir, nil
}

// scope stands in for a test, so that a program can use what tests use. Only the methods below exist; others would panic.
type scope struct {
	testing.TB

	ctx context.Context //nolint:containedctx // as a test has one

	mu       sync.Mutex
	cleanups []func() // guarded by mu
}

// failure is the panic with which a helper of tests ends what it cannot do.
type failure struct{ text string }

func (*scope) Helper()                    {}
func (*scope) Failed() bool               { return false }
func (*scope) Fatal(args ...any)          { panic(failure{fmt.Sprint(args...)}) }
func (*scope) Fatalf(f string, a ...any)  { panic(failure{fmt.Sprintf(f, a...)}) }
func (s *scope) Context() context.Context { return s.ctx }

func (s *scope) Cleanup(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cleanups = append(s.cleanups, f)
}

// end runs the cleanups, the last one first.
func (s *scope) end() {
	s.mu.Lock()
	cleanups := s.cleanups
	s.cleanups = nil
	s.mu.Unlock()
	for _, cleanup := range slices.Backward(cleanups) {
		cleanup()
	}
}

// catch turns the end of a helper of tests into an error. It is to be deferred.
func catch(err *error) {
	switch value := recover().(type) {
	case nil:
	case failure:
		*err = errors.Join(*err, errors.New(value.text))
	default:
		panic(value)
	}
}

// wait waits for the time to pass; false when ctx ends first.
func wait(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// until asks a condition each interval until it holds; false when ctx ends first.
func until(ctx context.Context, interval time.Duration, condition func() bool) bool {
	for !condition() {
		if !wait(ctx, interval) {
			return false
		}
	}
	return true
}
