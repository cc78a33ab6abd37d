package main

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"hsi.home.arpa/internal/e2e"
	"hsi.home.arpa/pipeline/aitest"
)

func (w *world) killServer(ctx context.Context, hold time.Duration, noted func(kind)) (time.Time,
	error,
) {
	w.server.exchange.Lock()
	defer w.server.exchange.Unlock()
	if w.server.Kill() {
		noted(killServer)
	}
	if !e2e.Wait(ctx, hold) {
		return time.Time{}, nil
	}
	ended := time.Now()
	return ended, w.server.Start(ctx)
}

// killPostgres kills PostgreSQL and starts it again. Twice kills it once more while it starts, if
// that is fast enough to hit it.
func (w *world) killPostgres(ctx context.Context, hold time.Duration, twice bool,
	noted func(kind),
) (time.Time, error) {
	w.postgresMu.Lock()
	defer w.postgresMu.Unlock()
	w.postgres.Kill(w.scope)
	noted(killPostgres)
	if !e2e.Wait(ctx, hold) {
		return time.Time{}, nil
	}
	if twice && w.killStartingPostgres(ctx) {
		noted(killPostgres)
	}
	ended := time.Now()
	w.postgres.Start(w.scope)
	return ended, nil
}

// killStartingPostgres starts PostgreSQL and kills it as soon as it has made its process file;
// children and all are gone afterwards.
func (w *world) killStartingPostgres(ctx context.Context) (killed bool) {
	started := make(chan struct{})
	go func() {
		defer close(started)
		var err error
		defer catch(&err) // it is to fail
		w.postgres.Start(w.scope)
	}()
	e2e.Until(ctx, time.Millisecond, func() bool {
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

func (w *world) killRedis(ctx context.Context, hold time.Duration, noted func(kind)) (time.Time,
	error,
) {
	w.redisMu.Lock()
	defer w.redisMu.Unlock()
	w.redis.Kill(w.scope)
	noted(killRedis)
	if !e2e.Wait(ctx, hold) {
		return time.Time{}, nil
	}
	ended := time.Now()
	w.redis.Start(w.scope)
	return ended, nil
}

// staleRedis copies the append-only file, lets Redis go on, kills it, and starts it with the copy.
func (w *world) staleRedis(ctx context.Context, hold time.Duration, noted func(kind)) (time.Time,
	error,
) {
	w.redisMu.Lock()
	defer w.redisMu.Unlock()
	file := filepath.Join(w.redis.Dir(), "appendonlydir")
	stale := file + ".stale"
	if err := e2e.CopyFolder(ctx, file, stale); err != nil {
		return time.Time{}, err
	}
	if !e2e.Wait(ctx, hold) {
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

func (w *world) freeze(ctx context.Context, exchange *sync.Mutex, process freezer,
	hold time.Duration,
) {
	exchange.Lock()
	defer exchange.Unlock()
	process.Pause(w.scope)
	e2e.Wait(ctx, hold)
	process.Resume(w.scope)
}

// freezeServer stops the server for a while. Leases may end meanwhile: then what it comes back
// with meets claims that ended.
func (w *world) freezeServer(ctx context.Context, hold time.Duration, endLeases bool) {
	w.server.freezing.Lock()
	defer w.server.freezing.Unlock()
	w.server.Signal(syscall.SIGSTOP)
	defer w.server.Signal(syscall.SIGCONT) // a kill may have come; the next one does not mind
	if endLeases {
		_, _ = w.EndLeases(ctx, "") // else they go on
	}
	e2e.Wait(ctx, hold)
}

// takeOver freezes the server in the middle of calls and past its leases while a second one takes
// its work over. Then the first comes back with answers to calls whose claims are lost, and goes
// on beside the second for a moment before that ends. It reports false when there was nothing to
// take over, because no image was waiting or the databases were down themselves.
func (w *world) takeOver(ctx context.Context, hold time.Duration, killed bool) (made bool,
	err error,
) {
	w.server.exchange.Lock()
	defer w.server.exchange.Unlock()
	w.server.freezing.Lock()
	defer w.server.freezing.Unlock()
	const catching, taking = 3 * time.Second, 5 * time.Second
	caught, answer := make(chan struct{}, detectionWorkers), make(chan struct{})
	w.Detector.Script(slices.Repeat([]aitest.Behaviour{refusing(held(caught, answer))},
		detectionWorkers)...)
	if !received(ctx, caught, catching) {
		close(answer)
		return false, nil
	}
	w.server.Signal(syscall.SIGSTOP)
	defer w.server.Signal(syscall.SIGCONT) // a kill may have come; the next one does not mind
	close(answer)
	ended, err := w.EndLeases(ctx, "")
	if err != nil || len(ended) == 0 {
		return false, nil
	}
	if err := w.second.Start(ctx); err != nil {
		return false, err
	}
	limited, cancel := context.WithTimeout(ctx, taking)
	defer cancel()
	made = e2e.Until(limited, readyPoll, func() bool { return w.wasTakenOver(limited, ended) })
	w.server.Signal(syscall.SIGCONT)
	e2e.Wait(ctx, hold)
	if killed {
		w.second.Kill()
		return made, nil
	}
	return made, w.second.Stop(stopPatience)
}

// wasTakenOver tells whether somebody else claimed or finished one of the images.
func (w *world) wasTakenOver(ctx context.Context, ended []e2e.Claim) bool {
	for _, c := range ended {
		var taken bool
		err := w.Database.GetContext(ctx, &taken, `
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
