package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	_ "github.com/lib/pq" // the driver
	"golang.org/x/sync/errgroup"

	"hsi.home.arpa/embedded"
)

// patience bounds every wait for something that must happen.
const patience = 3 * time.Minute

// world is everything that runs: databases, data, the server under test.
type world struct {
	settings
	log      *slog.Logger
	postgres *embedded.Postgres
	redis    *embedded.Redis
	stop     context.CancelFunc
	group    *errgroup.Group
	made     bool // dir was made here
	main     *site
}

// newWorld starts PostgreSQL and Redis with the settings that the server gives its own.
func newWorld(ctx context.Context, s settings, log *slog.Logger) (*world, error) {
	w := &world{settings: s, log: log}
	if w.dir == "" {
		dir, err := os.MkdirTemp("", "hsi-bench-")
		if err != nil {
			return nil, err
		}
		w.dir, w.made = dir, true
	}
	if err := os.Chmod(w.dir, 0o755); err != nil { //nolint:gosec // the databases' unprivileged user must get in
		return nil, err
	}
	quiet := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	options := embedded.Options{DataDir: w.dir, BinDirs: []string{w.deps}, Log: quiet}
	var err error
	if w.postgres, err = embedded.NewPostgres(embedded.PostgresOptions(options)); err != nil {
		return nil, err
	}
	if w.redis, err = embedded.NewRedis(embedded.RedisOptions(options)); err != nil {
		return nil, err
	}
	running, stop := context.WithCancel(context.WithoutCancel(ctx)) // close ends them, after the server
	w.stop = stop
	w.group, running = errgroup.WithContext(running)
	w.group.Go(func() error { return w.postgres.Run(running) })
	w.group.Go(func() error { return w.redis.Run(running) })
	for _, ready := range []<-chan struct{}{w.postgres.Ready(), w.redis.Ready()} {
		select {
		case <-ready:
		case <-running.Done():
			return nil, errors.Join(errors.New("PostgreSQL or Redis did not start"), w.close(ctx))
		case <-time.After(patience):
			return nil, errors.Join(errors.New("PostgreSQL or Redis is not ready in time"), w.close(ctx))
		}
	}
	return w, nil
}

func (w *world) close(ctx context.Context) error {
	var err error
	if w.main != nil {
		err = w.main.close(ctx)
	}
	w.stop()
	if stopErr := w.group.Wait(); stopErr != nil && !errors.Is(stopErr, context.Canceled) {
		err = errors.Join(err, stopErr)
	}
	if w.made && !w.keep {
		err = errors.Join(err, os.RemoveAll(w.dir))
	}
	return err
}

// header says what machine and which versions the figures come from.
func (w *world) header(ctx context.Context, out io.Writer) error {
	version, err := exec.CommandContext(ctx, w.hsi, "version").Output()
	if err != nil {
		return fmt.Errorf("%s version: %w (make build)", w.hsi, err)
	}
	db, err := sql.Open("postgres", w.postgres.URL())
	if err != nil {
		return err
	}
	defer db.Close()
	var postgres string
	if err := db.QueryRowContext(ctx, `SHOW server_version`).Scan(&postgres); err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "hsi %s; %s; PostgreSQL %s; %s, %d cores, %s/%s; scale %g; %d rounds of %s\n\n",
		strings.TrimSpace(string(version)), runtime.Version(), postgres, cpuModel(), runtime.NumCPU(), runtime.GOOS, runtime.GOARCH,
		w.scale, w.rounds, w.seconds)
	return err
}

func cpuModel() string {
	text, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(text)) {
		if name, value, found := strings.Cut(line, ":"); found && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return "unknown processor"
}

// site is one server process with a database, a Redis number and folders of its own.
type site struct {
	w       *world
	name    string
	db      *sql.DB
	dbURL   string
	env     []string
	cmd     *exec.Cmd
	exited  chan struct{}
	log     *os.File
	baseURL string
	dataDir string
}

var nextRedis = 0 //nolint:gochecknoglobals // each site gets a Redis database of its own

// newSite makes a database and folders. start starts the server, which migrates.
func (w *world) newSite(ctx context.Context, name string, env ...string) (*site, error) {
	admin, err := sql.Open("postgres", w.postgres.URL())
	if err != nil {
		return nil, err
	}
	defer admin.Close()
	if _, err := admin.ExecContext(ctx, `CREATE DATABASE bench_`+name); err != nil {
		return nil, err
	}
	dbURL, err := withDatabase(w.postgres.URL(), "bench_"+name)
	if err != nil {
		return nil, err
	}
	s := &site{w: w, name: name, dbURL: dbURL, dataDir: filepath.Join(w.dir, "site-"+name)}
	if err := os.MkdirAll(s.dataDir, 0o755); err != nil { //nolint:gosec // see newWorld
		return nil, err
	}
	if s.db, err = sql.Open("postgres", dbURL); err != nil {
		return nil, err
	}
	s.db.SetMaxOpenConns(8)
	s.env = append([]string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME"),
		"DATA_DIR=" + s.dataDir, "DATABASE_URL=" + dbURL, "REDIS_URL=" + redisURL(w.redis.URL(), nextRedis),
	}, env...)
	nextRedis++
	return s, nil
}

// start starts the server and waits until it is ready.
func (s *site) start(ctx context.Context) error {
	port, err := freePort(ctx)
	if err != nil {
		return err
	}
	s.baseURL = "http://127.0.0.1:" + strconv.Itoa(port)
	if s.log, err = os.Create(filepath.Join(s.dataDir, "server.log")); err != nil {
		return err
	}
	s.cmd = exec.CommandContext(context.WithoutCancel(ctx), s.w.hsi, "serve")
	s.cmd.Env = append(append([]string{}, s.env...), "API_PORT="+strconv.Itoa(port))
	s.cmd.Stdout, s.cmd.Stderr = s.log, s.log
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	if err := s.cmd.Start(); err != nil {
		return err
	}
	s.exited = make(chan struct{})
	go func() {
		_ = s.cmd.Wait()
		close(s.exited)
	}()
	return s.await(ctx, "the server is ready", func() bool { return status(ctx, s.baseURL+"/ready") == http.StatusOK })
}

// await polls a condition of the outside world.
func (s *site) await(ctx context.Context, what string, condition func() bool) error {
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for !condition() {
		select {
		case <-ticker.C:
		case <-s.exited:
			return fmt.Errorf("%s: the server ended, see %s", what, s.log.Name())
		case <-ctx.Done():
			return ctx.Err()
		case <-deadline.C:
			return fmt.Errorf("waited in vain: %s", what)
		}
	}
	return nil
}

// halt stops the server.
func (s *site) halt() error {
	if s.cmd == nil {
		return nil
	}
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-s.exited:
	case <-time.After(30 * time.Second):
		_ = s.cmd.Process.Kill()
		<-s.exited
	}
	s.cmd = nil
	return s.log.Close()
}

// close stops the server and removes database and folders.
func (s *site) close(ctx context.Context) error {
	ctx = context.WithoutCancel(ctx) // also when the run was interrupted
	err := errors.Join(s.halt(), s.db.Close())
	if admin, openErr := sql.Open("postgres", s.w.postgres.URL()); openErr == nil && !s.w.keep {
		_, dropErr := admin.ExecContext(ctx, `DROP DATABASE bench_`+s.name+` WITH (FORCE)`)
		err = errors.Join(err, dropErr, admin.Close())
	}
	if !s.w.keep {
		err = errors.Join(err, os.RemoveAll(s.dataDir))
	}
	return err
}

func status(ctx context.Context, url string) int {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0
	}
	defer response.Body.Close()
	_, _ = io.Copy(io.Discard, response.Body)
	return response.StatusCode
}

func freePort(ctx context.Context) (int, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer listener.Close()
	address, ok := listener.Addr().(*net.TCPAddr)
	if !ok {
		return 0, errors.New("no TCP address")
	}
	return address.Port, nil
}

// withDatabase names another database of the same server.
func withDatabase(address, name string) (string, error) {
	parsed, err := url.Parse(address)
	if err != nil {
		return "", err
	}
	parsed.Path = "/" + name
	return parsed.String(), nil
}

// redisURL names a numbered database of a Redis.
func redisURL(address string, number int) string { return fmt.Sprintf("%s?db=%d", address, number) }
