package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"
)

const (
	// adminTimeout bounds one order to a database.
	adminTimeout = 5 * time.Second
	// readyPatience is how long readiness is waited for before the run is given up.
	readyPatience = 90 * time.Second
	// readyPoll is how often readiness is asked for.
	readyPoll = 20 * time.Millisecond
)

// faultRunner makes the faults of a run and measures how long readiness takes to come back.
type faultRunner struct {
	world *world

	mu    sync.Mutex
	count map[kind]int // guarded by mu; faults that took place
	// afterKills are the times from the last fault to readiness of the bursts with a kill, others those of the rest.
	afterKills, others []time.Duration // guarded by mu
}

// noted counts a fault that took place.
func (f *faultRunner) noted(k kind) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.count[k]++
}

// kills is how many processes were killed so far.
func (f *faultRunner) kills() (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for k, count := range f.count {
		if k.isKill() {
			n += count
		}
	}
	return n
}

// burst makes the faults of one burst, waits until all have ended, and then until the server is ready again.
func (f *faultRunner) burst(ctx context.Context, b burst) error {
	var (
		running sync.WaitGroup
		mu      sync.Mutex
		last    time.Time
		errs    []error
	)
	for _, one := range b.faults {
		running.Go(func() {
			if !wait(ctx, one.after) {
				return
			}
			ended, err := f.make(ctx, one)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", one.kind, err))
			}
			if ended.After(last) {
				last = ended
			}
		})
	}
	running.Wait()
	if err := errors.Join(errs...); err != nil || ctx.Err() != nil {
		return errors.Join(err, context.Cause(ctx))
	}
	if last.IsZero() {
		last = time.Now()
	}
	took, err := f.awaitReady(ctx, last)
	if err != nil {
		return err
	}
	f.recovered(took, slices.ContainsFunc(b.faults, func(one fault) bool { return one.kind.isKill() }))
	wait(ctx, b.calm)
	return nil
}

// awaitReady waits for readiness and returns how long after the last fault it came.
func (f *faultRunner) awaitReady(ctx context.Context, last time.Time) (time.Duration, error) {
	limited, cancel := context.WithTimeoutCause(ctx, readyPatience, fmt.Errorf("the server is not ready %v after the last fault", readyPatience))
	defer cancel()
	if !until(limited, readyPoll, func() bool { return f.world.server.ready(limited) }) {
		return 0, context.Cause(limited)
	}
	return time.Since(last), nil
}

func (f *faultRunner) recovered(took time.Duration, killed bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if killed {
		f.afterKills = append(f.afterKills, took)
	} else {
		f.others = append(f.others, took)
	}
}

// make makes one fault and returns when it ended: when the killed process was launched again, or the trouble lifted. A fault that
// could not be made, because what it needs was down itself, is not counted and no error.
func (f *faultRunner) make(ctx context.Context, one fault) (ended time.Time, err error) {
	defer catch(&err)
	w := f.world
	switch one.kind {
	case killServer:
		return w.killServer(ctx, one.hold, f.noted)
	case killPostgres:
		return w.killPostgres(ctx, one.hold, f.noted)
	case killRedis:
		return w.killRedis(ctx, one.hold, f.noted)
	case staleRedis:
		return w.staleRedis(ctx, one.hold, f.noted)
	case flushRedis:
		return f.attempt(one.kind, w.flushRedis(ctx))
	case cutSessions:
		return f.attempt(one.kind, w.order(ctx, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'`))
	case readOnly:
		return f.attempt(one.kind, w.makeReadOnly(ctx, one.hold))
	case holdLock:
		return f.attempt(one.kind, w.holdLock(ctx, one.hold, one.pick))
	case freezeServer:
		p := w.server.current()
		p.signal(syscall.SIGSTOP)
		wait(ctx, one.hold)
		p.signal(syscall.SIGCONT)
	case freezeRedis:
		w.redisMu.Lock()
		defer w.redisMu.Unlock()
		w.redis.Pause(w.scope)
		wait(ctx, one.hold)
		w.redis.Resume(w.scope)
	case freezeStorage:
		w.postgresMu.Lock()
		defer w.postgresMu.Unlock()
		w.postgres.Pause(w.scope)
		wait(ctx, one.hold)
		w.postgres.Resume(w.scope)
	default:
		return time.Time{}, fmt.Errorf("no fault of a burst: %s", one.kind)
	}
	return f.attempt(one.kind, nil)
}

// attempt counts a fault unless it could not be made.
func (f *faultRunner) attempt(k kind, err error) (time.Time, error) {
	if err != nil {
		return time.Time{}, nil //nolint:nilerr // the database was down: there was nothing to disturb
	}
	f.noted(k)
	return time.Now(), nil
}

func (w *world) killServer(ctx context.Context, hold time.Duration, noted func(kind)) (time.Time, error) {
	w.server.exchange.Lock()
	defer w.server.exchange.Unlock()
	if w.server.kill() {
		noted(killServer)
	}
	if !wait(ctx, hold) {
		return time.Time{}, nil
	}
	ended := time.Now()
	return ended, w.server.start(ctx)
}

func (w *world) killPostgres(ctx context.Context, hold time.Duration, noted func(kind)) (time.Time, error) {
	w.postgresMu.Lock()
	defer w.postgresMu.Unlock()
	w.postgres.Kill(w.scope)
	noted(killPostgres)
	if !wait(ctx, hold) {
		return time.Time{}, nil
	}
	ended := time.Now()
	w.postgres.Start(w.scope)
	return ended, nil
}

func (w *world) killRedis(ctx context.Context, hold time.Duration, noted func(kind)) (time.Time, error) {
	w.redisMu.Lock()
	defer w.redisMu.Unlock()
	w.redis.Kill(w.scope)
	noted(killRedis)
	if !wait(ctx, hold) {
		return time.Time{}, nil
	}
	ended := time.Now()
	w.redis.Start(w.scope)
	return ended, nil
}

// staleRedis copies the append-only file, lets Redis go on, kills it, and starts it with the copy.
func (w *world) staleRedis(ctx context.Context, hold time.Duration, noted func(kind)) (time.Time, error) {
	w.redisMu.Lock()
	defer w.redisMu.Unlock()
	file := filepath.Join(w.redis.Dir(), "appendonlydir")
	stale := file + ".stale"
	copying := exec.CommandContext(ctx, "cp", "-a", file, stale)
	if output, err := copying.CombinedOutput(); err != nil {
		return time.Time{}, fmt.Errorf("copy the append-only file: %w: %s", err, output)
	}
	if !wait(ctx, hold) {
		return time.Time{}, nil
	}
	w.redis.Kill(w.scope)
	noted(staleRedis)
	if err := errors.Join(os.RemoveAll(file), os.Rename(stale, file)); err != nil {
		return time.Time{}, err
	}
	ended := time.Now()
	w.redis.Start(w.scope)
	return ended, nil
}

func (w *world) flushRedis(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, adminTimeout)
	defer cancel()
	conn, err := w.redisClient.Conn(ctx)
	if err != nil {
		return err
	}
	return conn.Do(ctx, conn.B().Flushall().Build()).Error()
}

// order gives PostgreSQL one order.
func (w *world) order(ctx context.Context, statement string) error {
	ctx, cancel := context.WithTimeout(ctx, adminTimeout)
	defer cancel()
	_, err := w.database.ExecContext(ctx, statement)
	return err
}

// makeReadOnly makes every new transaction read-only for a while. That outlives a kill, and so it is lifted whatever it takes.
func (w *world) makeReadOnly(ctx context.Context, hold time.Duration) error {
	set := func(ctx context.Context, statement string) error {
		if err := w.order(ctx, statement); err != nil {
			return err
		}
		return w.order(ctx, `SELECT pg_reload_conf()`)
	}
	err := set(ctx, `ALTER SYSTEM SET default_transaction_read_only = on`)
	wait(ctx, hold)
	lifted := until(ctx, 50*time.Millisecond, func() bool {
		return set(ctx, `ALTER SYSTEM RESET default_transaction_read_only`) == nil
	})
	if !lifted {
		return ctx.Err()
	}
	return err
}

// holdLock keeps everybody out of a table for a while.
func (w *world) holdLock(ctx context.Context, hold time.Duration, pick int) error {
	tables := [...]string{"images", "batches", "detections", "events", "cameras", "system_config", "media_deletions"}
	limited, cancel := context.WithTimeout(ctx, hold+2*adminTimeout)
	defer cancel()
	tx, err := w.database.BeginTxx(limited, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // the lock is all that it was for
	if _, err := tx.ExecContext(limited, `SET LOCAL lock_timeout = '2s'; LOCK TABLE `+tables[pick%len(tables)]+` IN ACCESS EXCLUSIVE MODE`); err != nil {
		return err
	}
	wait(ctx, hold)
	return nil
}
