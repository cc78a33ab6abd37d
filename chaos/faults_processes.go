package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

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

// killPostgres kills PostgreSQL and starts it again. Twice kills it once more while it starts, if that is fast enough to hit it.
func (w *world) killPostgres(ctx context.Context, hold time.Duration, twice bool, noted func(kind)) (time.Time, error) {
	w.postgresMu.Lock()
	defer w.postgresMu.Unlock()
	w.postgres.Kill(w.scope)
	noted(killPostgres)
	if !wait(ctx, hold) {
		return time.Time{}, nil
	}
	if twice && w.killStartingPostgres(ctx) {
		noted(killPostgres)
	}
	ended := time.Now()
	w.postgres.Start(w.scope)
	return ended, nil
}

// killStartingPostgres starts PostgreSQL and kills it as soon as it has made its process file; children and all are gone afterwards.
func (w *world) killStartingPostgres(ctx context.Context) (killed bool) {
	started := make(chan struct{})
	go func() {
		defer close(started)
		var err error
		defer catch(&err) // it is to fail
		w.postgres.Start(w.scope)
	}()
	until(ctx, time.Millisecond, func() bool {
		select {
		case <-started:
			return true
		default:
		}
		pid, err := postmasterPID(w.postgres.Dir())
		killed = err == nil && syscall.Kill(pid, syscall.SIGKILL) == nil
		return killed
	})
	<-started
	w.postgres.Kill(w.scope) // it may have been faster, or have left children
	return killed
}

// postmasterPID reads the process id that PostgreSQL leaves in its folder.
func postmasterPID(dir string) (int, error) {
	raw, err := os.ReadFile(filepath.Join(dir, "postmaster.pid"))
	if err != nil {
		return 0, err
	}
	first, _, whole := strings.Cut(string(raw), "\n")
	if !whole {
		return 0, errors.New("half a process file")
	}
	return strconv.Atoi(first)
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

// freezer is a process that can be frozen.
type freezer interface {
	Pause(tb testing.TB)
	Resume(tb testing.TB)
}

func (w *world) freeze(ctx context.Context, exchange *sync.Mutex, process freezer, hold time.Duration) {
	exchange.Lock()
	defer exchange.Unlock()
	process.Pause(w.scope)
	wait(ctx, hold)
	process.Resume(w.scope)
}

// freezeServer stops the server for a while. Leases may end meanwhile: then what it comes back with meets claims that ended.
func (w *world) freezeServer(ctx context.Context, hold time.Duration, endLeases bool) {
	p := w.server.current()
	p.signal(syscall.SIGSTOP)
	defer p.signal(syscall.SIGCONT)
	if endLeases {
		_ = w.endLeases(ctx) // else they go on
	}
	wait(ctx, hold)
}

// takeOver freezes the server past its leases while a second one takes its work over, and lets the first go on beside it for a
// moment before the second ends.
func (w *world) takeOver(ctx context.Context, hold time.Duration, killed bool) error {
	const patience, together = 8 * time.Second, 700 * time.Millisecond
	w.server.exchange.Lock()
	defer w.server.exchange.Unlock()
	p := w.server.current()
	p.signal(syscall.SIGSTOP)
	defer p.signal(syscall.SIGCONT)
	_ = w.endLeases(ctx) // else there is less to take over
	if err := w.second.start(ctx); err != nil {
		return err
	}
	limited, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	until(limited, readyPoll, func() bool { return w.second.ready(limited) }) // the databases may be down
	wait(ctx, hold)
	p.signal(syscall.SIGCONT)
	wait(ctx, together)
	if killed {
		w.second.kill()
		return nil
	}
	return w.second.stop()
}

// endLeases makes the leases of all claims end now, as if the server had been frozen for minutes.
func (w *world) endLeases(ctx context.Context) error {
	return w.order(ctx, `
		UPDATE images SET claimed_until = clock_timestamp() - interval '1 second' WHERE state = 'detecting';
		UPDATE batches SET claimed_until = clock_timestamp() - interval '1 second' WHERE state = 'analyzing'`)
}
