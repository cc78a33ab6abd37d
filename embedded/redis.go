package embedded

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"hsi.home.arpa/embedded/internal/child"
)

// redisSettings keep the data over a crash and lose at most the last second in a power cut.
func redisSettings() map[string]string {
	return map[string]string{"save": "", "appendonly": "yes", "appendfsync": "everysec"}
}

const (
	// appendOnlyName is the folder of the append-only file, brokenName where one goes that cannot
	// be read.
	appendOnlyName = "appendonlydir"
	brokenName     = "appendonlydir.broken"
	// unreadableStarts is how many starts may fail over the append-only file before it is set
	// aside.
	unreadableStarts = 2
)

// Redis is a private Redis server. Create it with NewRedis.
type Redis struct {
	service *service
}

// NewRedis decides where the server's data and socket lie and finds the program. It starts nothing.
// It returns *MissingError when redis-server is not on this machine and *PlaceError when the data
// folder cannot be used.
func NewRedis(options RedisOptions) (*Redis, error) {
	where, err := choosePlace(Options(options), "redis")
	if err != nil {
		return nil, err
	}
	program, err := child.NewFinder(where.identity, options.BinDirs).Redis()
	if err != nil {
		return nil, err
	}
	settings := redisSettings()
	maps.Copy(settings, options.Settings)
	socket := child.RedisSocket(where.runDir)
	redis := &Redis{}
	redis.service = newService(&service{
		name:     "redis",
		place:    where,
		log:      options.Log,
		patience: options.patience,
		socket:   socket,
		prepare:  redis.prepare,
		spec: child.Spec{
			Program:     program,
			Args:        child.RedisArgs(where.home, where.runDir, settings),
			Home:        where.home,
			DataDir:     where.home,
			Identity:    where.identity,
			DeathSignal: syscall.SIGTERM,
		},
		ping:   func(ctx context.Context) error { return child.PingRedis(ctx, socket) },
		stop:   []child.Step{{Signal: syscall.SIGTERM, Wait: 6 * time.Second}},
		severe: isSevereRedisLine,
	})
	return redis, nil
}

func isSevereRedisLine(line string) bool {
	// Redis marks warnings and errors with #; some of these are advice about the kernel.
	return strings.Contains(line, " # ") && !strings.Contains(line, "WARNING") && !strings.Contains(line, "oO0Oo")
}

// prepare sets an append-only file aside that the server cannot read. What Redis holds can be made
// again from the database; a queue that does not start until somebody repairs a file is worse.
func (r *Redis) prepare(ctx context.Context, last failure) error {
	if last.inARow < unreadableStarts || !mentionsPersistence(last.reason) {
		return nil
	}
	home := r.service.place.home
	broken := filepath.Join(home, brokenName)
	if err := os.RemoveAll(broken); err != nil {
		return fmt.Errorf("remove an older unreadable file: %w", err)
	}
	err := os.Rename(filepath.Join(home, appendOnlyName), broken)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("set an unreadable file aside: %w", err)
	}
	if err == nil {
		r.service.log.ErrorContext(ctx, "set an unreadable append-only file aside, redis starts empty", "path", broken, "reason", last.reason)
	}
	return nil
}

func mentionsPersistence(reason string) bool {
	for _, word := range []string{"append only file", "AOF", "RDB"} {
		if strings.Contains(reason, word) {
			return true
		}
	}
	return false
}

// URL is the server's address, "unix:///path/redis.sock"; it is known before the start and never
// changes.
func (r *Redis) URL() string { return "unix://" + r.service.socket }

// Run starts the server, starts it again whenever it dies, and stops it cleanly (within 8 s) when
// ctx ends; it then returns nil with nothing left behind. A start that fails is tried again for
// ever, except for what only the user can mend: *InUseError. Run may be called once.
func (r *Redis) Run(ctx context.Context) error { return r.service.run(ctx) }

// Ready is closed when the server takes commands for the first time.
func (r *Redis) Ready() <-chan struct{} { return r.service.ready }

// DataDir is the folder that holds the server's data.
func (r *Redis) DataDir() string { return r.service.place.home }

// Moved reports whether the data lies outside DATA_DIR, because the user that the server runs as
// cannot reach DATA_DIR.
func (r *Redis) Moved() bool { return r.service.place.moved }

// Restarts is how often the server was started again after it had died.
func (r *Redis) Restarts() int64 { return r.service.restarts.Load() }
