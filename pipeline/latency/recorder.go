// Package latency measures how long the stages of the pipeline take. Workers call Observe; readers
// ask for the Summary of a window of up to 24 hours. Samples are kept as histograms per stage and
// minute: in the process for reading, and in Redis so that they outlive the process and several
// processes add up. Neither Observe nor Summary ever waits for Redis.
package latency

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"

	"hsi.home.arpa/internal/beat"
)

// ErrUnavailable is what Summary returns while its figures are not in step with Redis: before the
// history has been read for the first time, and when Redis has not answered for longer than the
// figures may be old. It goes away by itself.
var ErrUnavailable = errors.New("latency figures are unavailable: no answer from Redis")

var errRunning = errors.New("the latency recorder is running already")

const (
	// refreshEvery is how often samples are written and figures renewed, so that a crash loses less
	// than the last second.
	refreshEvery = 500 * time.Millisecond
	// idleRefresh is the same after one that found no samples of this process.
	idleRefresh = time.Second
	// refreshTimeout bounds one exchange with Redis.
	refreshTimeout = time.Second
	// staleAfter is the age at which figures are no longer given out.
	staleAfter = 2 * time.Second
)

// Connect returns the client of Redis, or an error while there is no connection. It must respect
// the deadline of ctx.
type Connect func(ctx context.Context) (rueidis.Client, error)

// Options of a Recorder.
type Options struct {
	Log *slog.Logger
	// Now is the clock. Defaults to time.Now.
	Now func() time.Time
	// Writer names this writer among all processes that share one Redis, and must be different for
	// each run of a process. It holds no colon. Defaults to a random name.
	Writer string
}

// Recorder takes samples and gives summaries. All methods may be called from several goroutines.
type Recorder struct {
	connect Connect
	log     *slog.Logger
	now     func() time.Time
	writer  string

	live     [stageCount]live
	negative atomic.Int64 // samples dropped since the last refresh
	view     atomic.Pointer[view]
	running  atomic.Bool

	history history // belongs to Run
	sync    redisSync
}

// New returns a recorder whose samples are kept in Redis while Run runs.
func New(connect Connect, options Options) *Recorder {
	if options.Now == nil {
		options.Now = time.Now
	}
	if options.Writer == "" {
		options.Writer = rand.Text()
	}
	return &Recorder{connect: connect, log: options.Log, now: options.Now, writer: options.Writer}
}

// live takes the samples of one stage until the next refresh.
type live struct {
	mu       sync.Mutex
	minute   int64            // guarded by mu; Unix time / 60 of the samples in current
	current  accumulator      // guarded by mu
	finished []measuredMinute // guarded by mu; minutes that ended since the last refresh
}

type measuredMinute struct {
	number   int64
	measured *histogram
}

// Observe adds a sample to the current minute of a stage. It takes well under a microsecond and
// never waits for Redis.
//
// A negative duration can only come from a clock that was set back between two times; what it
// should have been is unknown. It is dropped and counted in the log, because clamping it to 0 would
// invent a very fast sample.
func (r *Recorder) Observe(stage Stage, d time.Duration) {
	if d < 0 {
		r.negative.Add(1)
		return
	}
	l := &r.live[stage]
	l.mu.Lock()
	defer l.mu.Unlock()
	// The clock is read under the lock, so that minutes do not alternate when several workers meet
	// at the turn of a minute.
	if number := r.now().Unix() / 60; number != l.minute {
		l.finish()
		l.minute = number
	}
	l.current.observe(uint64(d))
}

// finish moves the current samples to the finished minutes. The caller holds mu.
func (l *live) finish() {
	if l.current.count == 0 {
		return
	}
	if len(l.finished) == ringMinutes { // nobody runs Run: keep no more than the history could hold
		l.finished = append(l.finished[:0], l.finished[1:]...)
	}
	l.finished = append(l.finished, measuredMinute{number: l.minute, measured: l.current.histogram()})
	l.current.reset()
}

// take returns the samples since the last call.
func (l *live) take() []measuredMinute {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.finish()
	taken := l.finished
	l.finished = nil
	return taken
}

// Summary describes the samples of a stage in the last windowMinutes minutes, of all writers; Count
// is 0 when there are none. Minutes are whole ones: the window reaches back to the start of the
// minute in which now minus windowMinutes lies. Samples are in it at most a second after they were
// observed. The answer comes from memory. The error is ErrUnavailable, or says that windowMinutes
// is not between 1 and MaxWindowMinutes.
func (r *Recorder) Summary(stage Stage, windowMinutes int) (Summary, error) {
	if stage >= stageCount || windowMinutes < 1 || windowMinutes > MaxWindowMinutes {
		return Summary{}, fmt.Errorf("latency of stage %s over %d minutes: not a known stage and 1 to %d minutes", stage, windowMinutes, MaxWindowMinutes)
	}
	v := r.view.Load()
	if v == nil || r.now().Sub(v.refreshedAt) > staleAfter {
		return Summary{}, ErrUnavailable
	}
	return v.figures.summary(stage, windowMinutes), nil
}

// Run writes the samples to Redis and renews the figures, twice a second, until ctx ends; then it
// writes what is left and returns nil. While Redis is away it keeps the samples (a day of them at
// most), tries on and logs only the beginning and the end. A second Run beside a running one
// returns an error.
func (r *Recorder) Run(ctx context.Context) error {
	if !r.running.CompareAndSwap(false, true) {
		return errRunning
	}
	defer r.running.Store(false)
	for {
		interval := refreshEvery
		if !r.refresh(ctx) {
			interval = idleRefresh
		}
		timer := time.NewTimer(beat.Until(time.Now(), interval))
		select {
		case <-ctx.Done():
			timer.Stop()
			// The last samples must still be written, although ctx is over.
			r.refresh(context.WithoutCancel(ctx))
			return nil
		case <-timer.C:
		}
	}
}

// refresh makes one exchange with Redis and publishes new figures if it worked. It tells whether
// there were samples to write.
func (r *Recorder) refresh(parent context.Context) (busy bool) {
	ctx, cancel := context.WithTimeout(parent, refreshTimeout)
	defer cancel()
	began := r.now()
	newest := began.Unix() / 60
	for stage := range Stage(stageCount) {
		for _, m := range r.live[stage].take() {
			r.history.observed(stage, m.number, m.measured)
			busy = true
		}
	}
	if n := r.negative.Swap(0); n > 0 {
		r.log.WarnContext(ctx, "latency samples dropped: the clock was set back", "count", n)
	}
	loaded, err := r.exchange(ctx, newest)
	if parent.Err() == nil { // being told to stop is no failure
		r.report(ctx, err)
	}
	if loaded {
		r.view.Store(&view{figures: r.history.figures(newest), refreshedAt: began})
	}
	return busy
}

// report logs a failure when it begins and when it is over.
func (r *Recorder) report(ctx context.Context, err error) {
	switch {
	case err != nil && !r.sync.failing:
		r.log.WarnContext(ctx, "latency history is out of step with redis", "error", err)
	case err == nil && r.sync.failing:
		r.log.InfoContext(ctx, "latency history is in step with redis again")
	}
	r.sync.failing = err != nil
}
