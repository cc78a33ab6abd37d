package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
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
	"golang.org/x/sys/unix"

	"hsi.home.arpa/embedded/embeddedtest"
	"hsi.home.arpa/internal/e2e"
)

// detectionWorkers is how many calls to the detector may be under way.
const detectionWorkers = 4

// world is everything that a run starts: it belongs to the run and ends with it.
type world struct {
	*e2e.World

	scope      *scope
	dir        string // of all files but those of the databases
	thumbnails string

	postgres *embeddedtest.PostgresServer
	redis    *embeddedtest.RedisServer
	server   *server
	// second is another server on the same databases and folders, which runs only while the first
	// is frozen.
	second *server

	postgresMu, redisMu sync.Mutex // held while the process is being exchanged
}

// server is the server under test.
type server struct {
	*e2e.Server

	url    string
	client *http.Client

	exchange sync.Mutex // held while one process takes the place of another
	freezing sync.Mutex // held while it is frozen, so that nobody else wakes it; a kill may come all the same
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
	w.thumbnails = filepath.Join(w.dir, "data", "thumbnails")
	cameras := filepath.Join(w.dir, "cameras")
	if err := os.Mkdir(cameras, 0o755); err != nil { //nolint:gosec // a folder of this run
		return err
	}
	if err := w.startServices(cameras); err != nil {
		return err
	}
	binary, err := filepath.Abs(o.binary)
	if err == nil {
		_, err = exec.LookPath(binary)
	}
	if err != nil {
		return fmt.Errorf("find the server: %w", err)
	}
	if w.server, err = w.newServer(ctx, binary, "data"); err != nil {
		return err
	}
	w.second, err = w.newServer(ctx, binary, "second",
		"VIDEO_THUMBNAILS_DIR="+w.thumbnails, "CLIPS_DIRECTORY="+filepath.Join(w.dir, "data",
			"clips"))
	return err
}

// startServices starts the databases and the AI services. The helpers of tests end the test when
// that fails, here the run.
func (w *world) startServices(cameras string) (err error) {
	defer catch(&err)
	w.postgres = embeddedtest.NewPostgres(w.scope,
		map[string]string{"autovacuum": "on", "autovacuum_naptime": "15s"})
	w.redis = embeddedtest.NewRedis(w.scope)
	w.World = e2e.NewWorld(w.scope, w.postgres.URL(), w.redis.URL(), cameras)
	return nil
}

// newServer prepares a server with a data folder of its own.
func (w *world) newServer(ctx context.Context, binary, data string, more ...string) (*server,
	error,
) {
	port, err := e2e.FreePort(ctx)
	if err != nil {
		return nil, err
	}
	log, err := os.OpenFile(filepath.Join(w.dir, data+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY,
		0o600)
	if err != nil {
		return nil, fmt.Errorf("open the server's log: %w", err)
	}
	w.scope.Cleanup(func() { _ = log.Close() })
	env := append(w.Settings(),
		"DATA_DIR="+filepath.Join(w.dir,
			data), "API_PORT="+strconv.Itoa(port), "DETECTION_WORKERS="+strconv.Itoa(detectionWorkers),
		"EMBEDDED_DEPS_DIR="+os.Getenv("EMBEDDED_DEPS_DIR"), "DEDUPE_TTL_SECONDS=86400",
		"RTDETR_READ_TIMEOUT=6", "NEMOTRON_READ_TIMEOUT=6") // a frozen server comes back to answers that it still takes
	return &server{
		Server: &e2e.Server{Program: binary, Env: append(env, more...), Dir: w.dir, Output: log},
		url:    fmt.Sprintf("http://127.0.0.1:%d", port),
		client: &http.Client{
			Timeout:   2 * time.Second,
			Transport: &http.Transport{MaxIdleConnsPerHost: 1},
		},
	}, nil
}

// ready asks for readiness.
func (s *server) ready(ctx context.Context) bool {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet,
		s.url+"/api/system/health/ready", http.NoBody)
	if err != nil {
		return false
	}
	response, err := s.client.Do(request)
	if err != nil {
		return false
	}
	_ = response.Body.Close()
	return response.StatusCode == http.StatusOK
}

// close ends all processes and removes all files, or leaves ours behind to be looked at.
func (w *world) close(keep bool) {
	for _, s := range []*server{w.server, w.second} {
		if s != nil {
			s.Kill()
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
		if _, err := os.Stat(filepath.Join(dir, ownerName)); err != nil ||
			!strings.HasPrefix(entry.Name(), dirPrefix) {
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

// scope stands in for a test, so that a program can use what tests use. Only the methods below
// exist; others would panic.
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
