package queue_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/rueidis"
	"github.com/stretchr/testify/require"

	"hsi.home.arpa/embedded/embeddedtest"
	"hsi.home.arpa/internal/await"
	"hsi.home.arpa/pipeline/queue"
	"hsi.home.arpa/pipeline/redis"
)

func TestMain(m *testing.M) { embeddedtest.Main(m) }

var discard = slog.New(slog.DiscardHandler)

// ledger is a source in memory with the rules of the real one.
type ledger struct {
	mu      sync.Mutex
	order   []int64
	state   map[int64]string // waiting, queued, done
	handled map[int64]int    // how often each id was worked on
	changed chan struct{}    // closed and replaced at each change
	down    error
	oldest  *time.Time // what Backlog says
	resets  int
	asked   int // calls of Waiting
	looks   int // calls of Backlog
}

func (l *ledger) resetCount() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.resets
}

func newLedger(ids ...int64) *ledger {
	l := &ledger{state: map[int64]string{}, handled: map[int64]int{}, changed: make(chan struct{})}
	l.put(ids...)
	return l
}

func (l *ledger) put(ids ...int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, id := range ids {
		l.order = append(l.order, id)
		l.state[id] = "waiting"
	}
}

func (l *ledger) breakDown(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.down = err
}

func (l *ledger) Waiting(_ context.Context, limit int) ([]int64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.asked++
	var ids []int64
	for _, id := range l.order {
		if l.state[id] == "waiting" && len(ids) < limit {
			ids = append(ids, id)
		}
	}
	return ids, l.down
}

func (l *ledger) MarkQueued(_ context.Context, ids []int64) ([]int64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var marked []int64
	for _, id := range ids {
		if l.state[id] == "waiting" {
			l.state[id] = "queued"
			marked = append(marked, id)
		}
	}
	return marked, l.down
}

func (l *ledger) ResetQueued(context.Context) (int64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.resets++
	var n int64
	for id, state := range l.state {
		if state == "queued" {
			l.state[id] = "waiting"
			n++
		}
	}
	return n, l.down
}

func (l *ledger) Backlog(context.Context) (queue.Backlog, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.looks++
	backlog := queue.Backlog{Count: int64(len(l.state) - len(l.handled)), Oldest: l.oldest, ReadAt: time.Now()}
	if backlog.Count > 0 && backlog.Oldest == nil {
		backlog.Oldest = &backlog.ReadAt
	}
	return backlog, l.down
}

// finish is a handler: it works on each id once.
func (l *ledger) finish(_ context.Context, ids []int64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.down != nil {
		return l.down
	}
	for _, id := range ids {
		if l.state[id] != "done" {
			l.state[id] = "done"
			l.handled[id]++
			close(l.changed)
			l.changed = make(chan struct{})
		}
	}
	return nil
}

// waitDone waits until n ids have been worked on.
func (l *ledger) waitDone(t *testing.T, n int) {
	t.Helper()
	for {
		l.mu.Lock()
		count, changed := len(l.handled), l.changed
		l.mu.Unlock()
		if count >= n {
			return
		}
		await.Value(t, changed, "only %d of %d are worked on", count, n)
	}
}

// alive records what a function says of itself.
type alive struct {
	mu       sync.Mutex
	message  string
	messages []string
}

func (*alive) Beat()                     {}
func (*alive) Step(time.Duration) func() { return func() {} }
func (a *alive) Say(message string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if message != a.message {
		a.messages = append(a.messages, message)
	}
	a.message = message
}

func (a *alive) now() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.message
}

func (a *alive) said(message string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Contains(a.messages, message)
}

type fixture struct {
	server *embeddedtest.RedisServer
	client *redis.Client
	queue  *queue.Queue
}

func setup(t *testing.T) *fixture {
	t.Helper()
	server := embeddedtest.NewRedis(t)
	client, err := redis.Open(redis.Config{URL: server.URL()})
	require.NoError(t, err)
	t.Cleanup(client.Close)
	return &fixture{server: server, client: client, queue: queue.New(client.Conn, queue.Detect, discard)}
}

func (f *fixture) do(t *testing.T, args ...string) rueidis.RedisResult {
	t.Helper()
	conn, err := f.client.Conn(t.Context())
	require.NoError(t, err)
	return conn.Do(t.Context(), conn.B().Arbitrary(args...).Build())
}

func (f *fixture) flush(ctx context.Context) error {
	conn, err := f.client.Conn(ctx)
	if err != nil {
		return err
	}
	return conn.Do(ctx, conn.B().Flushall().Build()).Error()
}

// run starts a function and stops it at the end of the test, or when the returned function is
// called.
func run(t *testing.T, function func(context.Context) error) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- function(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("stopped with %v", err)
		}
	})
	t.Cleanup(stop)
	return stop
}

func (f *fixture) dispatch(t *testing.T, l *ledger) (*queue.Dispatcher, *alive) {
	t.Helper()
	d, a := queue.NewDispatcher(f.queue, l), &alive{}
	run(t, func(ctx context.Context) error { return d.Run(ctx, a) })
	return d, a
}

func (f *fixture) consume(t *testing.T, name string, handle queue.Handler) (stop func(), a *alive) {
	t.Helper()
	a = &alive{}
	consumer := f.queue.NewConsumer(queue.ConsumerOptions{Name: name, Lease: time.Second, AtOnce: 1})
	return run(t, func(ctx context.Context) error { return consumer.Run(ctx, a, handle) }), a
}

func numbers(n int) []int64 {
	ids := make([]int64, n)
	for i := range ids {
		ids[i] = int64(i + 1)
	}
	return ids
}

func TestQueue_AllWaitingWorkIsDoneOnce(t *testing.T) {
	t.Parallel()
	f, l := setup(t), newLedger(numbers(2500)...)
	d, _ := f.dispatch(t, l)
	for n := range 3 {
		f.consume(t, fmt.Sprint("worker-", n), l.finish)
	}
	l.waitDone(t, 2500)
	l.put(9001)
	d.Wake()
	l.waitDone(t, 2501)
	l.mu.Lock()
	for id, times := range l.handled {
		require.Equal(t, 1, times, id)
	}
	l.mu.Unlock()
	await.True(t, func() bool {
		state, err := f.queue.State(t.Context())
		return err == nil && state == queue.State{}
	}, "finished entries leave the stream")
}

// While there is no work the ledger is only asked whether there is any; work that nobody told of is
// found by that.
func TestDispatcher_AsksLittleWhileThereIsNoWork(t *testing.T) {
	t.Parallel()
	f, l := setup(t), newLedger()
	f.dispatch(t, l)
	calls := func() (asked, looks int) {
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.asked, l.looks
	}
	await.True(t, func() bool { _, looks := calls(); return looks >= 3 })
	asked, _ := calls()
	require.Zero(t, asked)
	l.put(1)
	f.consume(t, "worker", l.finish)
	l.waitDone(t, 1)
}

func TestDispatcher_KeepsABoundedWindow(t *testing.T) {
	t.Parallel()
	f, l := setup(t), newLedger(numbers(3000)...)
	d, _ := f.dispatch(t, l)
	state := func() queue.State {
		state, err := f.queue.State(t.Context())
		require.NoError(t, err)
		return state
	}
	await.True(t, func() bool { return state().Length == 32 })
	for range 5 {
		d.Wake()
	}
	// What a worker holds does not count: it gets as much again to take next.
	f.consume(t, "slow", func(ctx context.Context, _ []int64) error {
		<-ctx.Done()
		return ctx.Err()
	})
	await.True(t, func() bool { return state().Pending == 1 })
	d.Wake()
	got := state()
	require.LessOrEqual(t, got.Length, int64(33))
	require.WithinDuration(t, time.Now(), got.Oldest, time.Minute)
}

// A queue that is worked on fast is filled further ahead, but never without bound.
func TestDispatcher_TheWindowFollowsThePace(t *testing.T) {
	t.Parallel()
	f, l := setup(t), newLedger(numbers(20_000)...)
	f.dispatch(t, l)
	var most atomic.Int64
	for n := range 2 {
		consumer := f.queue.NewConsumer(queue.ConsumerOptions{Name: fmt.Sprint("fast-", n), Lease: time.Minute, AtOnce: 64})
		run(t, func(ctx context.Context) error {
			return consumer.Run(ctx, &alive{}, func(ctx context.Context, ids []int64) error {
				state, err := f.queue.State(ctx)
				if err != nil {
					return err
				}
				most.Store(max(most.Load(), state.Length-state.Pending))
				return l.finish(ctx, ids)
			})
		})
	}
	l.waitDone(t, 20_000)
	t.Logf("up to %d entries waited", most.Load())
	require.Greater(t, most.Load(), int64(32), "no more than a queue that nobody works on")
	require.LessOrEqual(t, most.Load(), int64(1000))
}

func TestConsumer_TakesSeveralAtOnceInOrder(t *testing.T) {
	t.Parallel()
	f := setup(t)
	for _, id := range []string{"1", "2", "2", "3", "4", "5", "6"} {
		require.NoError(t, f.do(t, "XADD", "hsi:queue:detect", "*", "id", id).Error())
	}
	got := make(chan []int64, 10)
	consumer := f.queue.NewConsumer(queue.ConsumerOptions{Name: "several", Lease: time.Minute, AtOnce: 5})
	run(t, func(ctx context.Context) error {
		return consumer.Run(ctx, &alive{}, func(_ context.Context, ids []int64) error {
			got <- ids
			return nil
		})
	})
	require.Equal(t, []int64{1, 2, 3, 4}, <-got, "the same id twice is one")
	require.Equal(t, []int64{5, 6}, <-got, "and never waits for more")
	await.True(t, func() bool {
		state, err := f.queue.State(t.Context())
		return err == nil && state == queue.State{}
	})
}

// The images dispatcher finds its own queue empty every few seconds and compares; that must not add
// entries of others again.
func TestDispatcher_ComparesWithoutAddingTwice(t *testing.T) {
	t.Parallel()
	f, l := setup(t), newLedger(numbers(10)...)
	stop := run(t, func(ctx context.Context) error { return queue.NewDispatcher(f.queue, l).Run(ctx, &alive{}) })
	length := func() int64 {
		state, err := f.queue.State(t.Context())
		require.NoError(t, err)
		return state.Length
	}
	await.True(t, func() bool { return length() == 10 })
	for range 3 { // each new dispatcher begins with a comparison
		stop()
		resets := l.resetCount()
		stop = run(t, func(ctx context.Context) error { return queue.NewDispatcher(f.queue, l).Run(ctx, &alive{}) })
		await.True(t, func() bool { return l.resetCount() > resets })
	}
	l.put(11)
	await.True(t, func() bool { return length() == 11 })
}

func TestDispatcher_RefillsAfterAFlush(t *testing.T) {
	t.Parallel()
	f, l := setup(t), newLedger(numbers(30)...)
	d, _ := f.dispatch(t, l)
	await.True(t, func() bool {
		state, err := f.queue.State(t.Context())
		return err == nil && state.Length == 30
	})
	require.NoError(t, f.do(t, "FLUSHALL").Error())
	// The stream is not empty, so that only its last id tells that something is missing.
	require.NoError(t, f.do(t, "XADD", "hsi:queue:detect", "1-1", "id", "1").Error())
	l.put(31)
	d.Wake()
	f.consume(t, "worker", l.finish)
	l.waitDone(t, 31)
}

func TestQueue_SurvivesFlushesWhileWorking(t *testing.T) {
	t.Parallel()
	const n = 400
	f, l := setup(t), newLedger(numbers(n)...)
	f.dispatch(t, l)
	for w := range 2 {
		f.consume(t, fmt.Sprint("worker-", w), func(ctx context.Context, ids []int64) error {
			if ids[0]%100 == 0 {
				if err := f.flush(ctx); err != nil {
					return err
				}
			}
			return l.finish(ctx, ids)
		})
	}
	l.waitDone(t, n)
}

func TestDispatcher_AddsWhatAStaleFileHasLost(t *testing.T) {
	t.Parallel()
	f, l := setup(t), newLedger(numbers(20)...)
	stop := run(t, func(ctx context.Context) error { return queue.NewDispatcher(f.queue, l).Run(ctx, &alive{}) })
	await.True(t, func() bool {
		state, err := f.queue.State(t.Context())
		return err == nil && state.Length == 20
	})
	stop()
	// Redis comes back with an old file: some entries are gone, one that was finished long ago is
	// there again.
	require.NoError(t, f.do(t, "XTRIM", "hsi:queue:detect", "MAXLEN", "15").Error())
	require.NoError(t, f.do(t, "XADD", "hsi:queue:detect", "*", "id", "777").Error())
	l.mu.Lock()
	l.state[777] = "done"
	l.mu.Unlock()
	f.dispatch(t, l)
	f.consume(t, "worker", l.finish)
	l.waitDone(t, 20)
	state := func() queue.State {
		state, err := f.queue.State(t.Context())
		require.NoError(t, err)
		return state
	}
	await.True(t, func() bool { return state() == queue.State{} })
	l.mu.Lock()
	defer l.mu.Unlock()
	require.NotContains(t, l.handled, int64(777))
}

func TestConsumer_TakesOverWhatADeadOneHeld(t *testing.T) {
	t.Parallel()
	f, l := setup(t), newLedger(1)
	f.dispatch(t, l)
	await.True(t, func() bool {
		return f.do(t, "XGROUP", "CREATE", "hsi:queue:detect", "workers", "0").Error() == nil
	})
	require.NoError(t, f.do(t, "XREADGROUP", "GROUP", "workers", "dead", "STREAMS", "hsi:queue:detect", ">").Error())
	state, err := f.queue.State(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, 1, state.Pending)
	f.consume(t, "worker", l.finish)
	l.waitDone(t, 1)
}

func TestConsumer_HandsBackWhatItHoldsWhenStopped(t *testing.T) {
	t.Parallel()
	f, l := setup(t), newLedger(1)
	f.dispatch(t, l)
	holding := make(chan struct{})
	stop, _ := f.consume(t, "first", func(ctx context.Context, _ []int64) error {
		close(holding)
		<-ctx.Done()
		return ctx.Err()
	})
	<-holding
	stop()
	consumers, err := f.do(t, "XINFO", "CONSUMERS", "hsi:queue:detect", "workers").ToArray()
	require.NoError(t, err)
	require.Empty(t, consumers)
	f.consume(t, "second", l.finish)
	l.waitDone(t, 1)
}

func TestConsumer_RemovesForeignEntries(t *testing.T) {
	t.Parallel()
	f, l := setup(t), newLedger()
	for _, value := range [][]string{{"id", "seven"}, {"id", "-1"}, {"job", "1"}, {"id", "99999999999999999999"}, {"id", ""}} {
		require.NoError(t, f.do(t, append([]string{"XADD", "hsi:queue:detect", "*"}, value...)...).Error())
	}
	l.put(1)
	f.dispatch(t, l)
	f.consume(t, "worker", l.finish)
	l.waitDone(t, 1)
	await.True(t, func() bool {
		state, err := f.queue.State(t.Context())
		return err == nil && state == queue.State{}
	})
}

func TestConsumer_AsksAgainWhenNothingWasDecided(t *testing.T) {
	t.Parallel()
	f, l := setup(t), newLedger(1)
	f.dispatch(t, l)
	var mu sync.Mutex
	calls := 0
	_, a := f.consume(t, "worker", func(ctx context.Context, ids []int64) error {
		mu.Lock()
		calls++
		failing := calls < 3
		mu.Unlock()
		if failing {
			return errors.New("connection refused")
		}
		return l.finish(ctx, ids)
	})
	l.waitDone(t, 1)
	require.True(t, a.said("waiting for the database"))
	await.True(t, func() bool { return a.now() == "" })
}

func TestConsumer_PausesWhenAServiceIsAway(t *testing.T) {
	t.Parallel()
	f, l := setup(t), newLedger(1, 2)
	f.dispatch(t, l)
	var mu sync.Mutex
	var calls []int64
	_, a := f.consume(t, "worker", func(ctx context.Context, ids []int64) error {
		mu.Lock()
		calls = append(calls, ids...)
		mu.Unlock()
		if ids[0] == 1 {
			return &queue.Later{Message: "waiting for the detector", Err: errors.New("refused")}
		}
		return l.finish(ctx, ids)
	})
	l.waitDone(t, 1)
	mu.Lock()
	defer mu.Unlock()
	require.Equal(t, []int64{1, 2}, calls, "the entry is finished, its row decides when it comes again")
	require.True(t, a.said("waiting for the detector"))
}

func TestQueue_WaitsForRedis(t *testing.T) {
	t.Parallel()
	f, l := setup(t), newLedger(numbers(10)...)
	f.server.Stop(t)
	_, dispatcher := f.dispatch(t, l)
	_, worker := f.consume(t, "worker", l.finish)
	await.True(t, func() bool {
		return worker.now() == "waiting for Redis" && dispatcher.now() == "waiting for Redis and the database"
	})
	_, err := f.queue.State(t.Context())
	require.ErrorIs(t, err, queue.ErrUnavailable)
	f.server.Start(t)
	l.waitDone(t, 10)

	f.server.Kill(t)
	l.put(11, 12)
	f.server.Start(t)
	l.waitDone(t, 12)
	await.True(t, func() bool { return worker.now() == "" && dispatcher.now() == "" })
}

func TestQueue_WaitsForTheDatabase(t *testing.T) {
	t.Parallel()
	f, l := setup(t), newLedger(numbers(10)...)
	l.breakDown(errors.New("connection refused"))
	_, dispatcher := f.dispatch(t, l)
	f.consume(t, "worker", l.finish)
	await.True(t, func() bool { return dispatcher.now() != "" })
	l.breakDown(nil)
	l.waitDone(t, 10)
}

func TestQueue_AFrozenRedisIsWaitedFor(t *testing.T) {
	t.Parallel()
	f, l := setup(t), newLedger(1)
	d, _ := f.dispatch(t, l)
	stop, worker := f.consume(t, "worker", l.finish)
	l.waitDone(t, 1)
	f.server.Pause(t)
	await.True(t, func() bool { return worker.now() == "waiting for Redis" })
	f.server.Resume(t)
	l.put(2)
	d.Wake()
	l.waitDone(t, 2)
	stop()
}
