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
	"syscall"
	"testing"
	"time"

	"hsi.home.arpa/pipeline/aitest"
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
	w.server.freezing.Lock()
	defer w.server.freezing.Unlock()
	p := w.server.current()
	p.signal(syscall.SIGSTOP)
	defer p.signal(syscall.SIGCONT)
	if endLeases {
		_, _ = w.endLeases(ctx) // else they go on
	}
	wait(ctx, hold)
}

// takeOver freezes the server in the middle of calls and past its leases while a second one takes its work over. Then the first comes
// back with answers to calls whose claims are lost, and goes on beside the second for a moment before that ends. It reports false
// when there was nothing to take over, because no image was waiting or the databases were down themselves.
func (w *world) takeOver(ctx context.Context, hold time.Duration, killed bool) (made bool, err error) {
	w.server.exchange.Lock()
	defer w.server.exchange.Unlock()
	w.server.freezing.Lock()
	defer w.server.freezing.Unlock()
	const catching, taking = 3 * time.Second, 5 * time.Second
	caught, answer := make(chan struct{}, detectionWorkers), make(chan struct{})
	w.detector.Script(slices.Repeat([]aitest.Behaviour{refusing(held(caught, answer))}, detectionWorkers)...)
	if !received(ctx, caught, catching) {
		close(answer)
		return false, nil
	}
	p := w.server.current()
	p.signal(syscall.SIGSTOP)
	defer p.signal(syscall.SIGCONT)
	close(answer)
	ended, err := w.endLeases(ctx)
	if err != nil || len(ended) == 0 {
		return false, nil
	}
	if err := w.second.start(ctx); err != nil {
		return false, err
	}
	limited, cancel := context.WithTimeout(ctx, taking)
	defer cancel()
	made = until(limited, readyPoll, func() bool { return w.wasTakenOver(limited, ended) })
	p.signal(syscall.SIGCONT)
	wait(ctx, hold)
	if killed {
		w.second.kill()
		return made, nil
	}
	return made, w.second.stop()
}

// claim is an image that a server held when its lease ended.
type claim struct {
	ID    int64
	Token string
}

// endLeases makes the leases of all claims end now, as if the server had been frozen for minutes: those of the rows, and those of the
// entries in the queues. It returns those of images.
func (w *world) endLeases(ctx context.Context) (ended []claim, err error) {
	limited, cancel := context.WithTimeout(ctx, adminTimeout)
	defer cancel()
	if err := w.endQueueLeases(limited); err != nil {
		return nil, err
	}
	err = w.database.SelectContext(limited, &ended, `
		WITH b AS (UPDATE batches SET claimed_until = clock_timestamp() - interval '1 second' WHERE state = 'analyzing')
		UPDATE images SET claimed_until = clock_timestamp() - interval '1 second' WHERE state = 'detecting' RETURNING id, claimed_by AS token`)
	return ended, err
}

// wasTakenOver tells whether somebody else claimed or finished one of the images.
func (w *world) wasTakenOver(ctx context.Context, ended []claim) bool {
	for _, c := range ended {
		var taken bool
		err := w.database.GetContext(ctx, &taken, `
			SELECT state NOT IN ('seen', 'queued') AND coalesce(claimed_by, '') <> $2 FROM images WHERE id = $1`, c.ID, c.Token)
		if err == nil && taken {
			return true
		}
	}
	return false
}

// held tells that a call has come and keeps it until it may be answered.
func held(caught chan<- struct{}, answer <-chan struct{}) aitest.Behaviour {
	hold := aitest.Hold(answer)
	return aitest.Behaviour{Answer: func(w http.ResponseWriter, x *aitest.Exchange) { // no name: the answer is honest
		select {
		case caught <- struct{}{}:
		default:
		}
		hold.Answer(w, x)
	}}
}

// received waits for a signal.
func received(ctx context.Context, signal <-chan struct{}, patience time.Duration) bool {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-signal:
		return true
	case <-timer.C:
	case <-ctx.Done():
	}
	return false
}
