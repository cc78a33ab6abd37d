package logsink_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"hsi.home.arpa/embedded/embeddedtest"
	"hsi.home.arpa/internal/await"
	"hsi.home.arpa/internal/logtest"
	"hsi.home.arpa/store"
	"hsi.home.arpa/store/logsink"
	"hsi.home.arpa/store/storetest"
)

func TestMain(m *testing.M) { embeddedtest.Main(m) }

// fakeWriter keeps what it is given. answer, when set, decides; it may block.
type fakeWriter struct {
	mu      sync.Mutex
	entries []store.LogEntry
	writes  int
	answer  func(ctx context.Context, entries []store.LogEntry) error
}

func (w *fakeWriter) InsertLogs(ctx context.Context, entries []store.LogEntry) error {
	w.mu.Lock()
	answer := w.answer
	w.mu.Unlock()
	if answer != nil {
		if err := answer(ctx, entries); err != nil {
			return err
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.entries = append(w.entries, entries...)
	w.writes++
	return nil
}

func (w *fakeWriter) setAnswer(answer func(ctx context.Context, entries []store.LogEntry) error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.answer = answer
}

func (w *fakeWriter) got() []store.LogEntry {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]store.LogEntry(nil), w.entries...)
}

type bundle struct {
	sink    *logsink.Sink
	log     *slog.Logger
	console *logtest.Output
	stop    func()
}

func setup(t *testing.T, w interface {
	InsertLogs(ctx context.Context, entries []store.LogEntry) error
}, options logsink.Options,
) bundle {
	t.Helper()
	console := &logtest.Output{}
	options.Next = slog.NewTextHandler(console, &slog.HandlerOptions{Level: slog.LevelInfo})
	if options.Interval == 0 {
		options.Interval = time.Millisecond
	}
	sink := logsink.New(w, options)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- sink.Run(ctx) }()
	var once sync.Once
	stop := func() {
		once.Do(func() {
			cancel()
			require.NoError(t, await.Value(t, done, "Run did not return"))
		})
	}
	t.Cleanup(stop)
	return bundle{sink: sink, log: slog.New(sink.Handler()), console: console, stop: stop}
}

func TestSink_StoresInTheDatabase(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	b := setup(t, db, logsink.Options{MinLevel: slog.LevelWarn})
	log := b.log.With("component", "detect", "camera_id", "front")
	log.Info("not severe enough")
	log.WarnContext(t.Context(), "slow", "request_id", "r-1", "duration", 1500*time.Millisecond, "bad", "a\x00\xff", "nan", math.NaN(),
		"error", errors.New("broken"), slog.Group("http", "status", 500), "any", map[string]int{"a": 1})
	log.WithGroup("job").With("component", "inside a group").Error("failed", "n", 7)
	b.stop()
	type row struct {
		Level     string  `db:"level"`
		Component string  `db:"component"`
		Message   string  `db:"message"`
		CameraID  string  `db:"camera_id"`
		RequestID *string `db:"request_id"`
		Extra     string  `db:"extra"`
	}
	rows := storetest.Query[row](t, db, `SELECT level, component, message, camera_id, request_id, extra FROM logs ORDER BY id`)
	require.Len(t, rows, 2)
	require.Equal(t, "WARNING", rows[0].Level)
	require.Equal(t, "detect", rows[0].Component)
	require.Equal(t, "front", rows[0].CameraID)
	require.Equal(t, "r-1", *rows[0].RequestID)
	require.JSONEq(t, `{"duration": "1.5s", "bad": "a\ufffd\ufffd", "nan": "NaN", "error": "broken", "http.status": 500, "any": {"a": 1}}`, rows[0].Extra)
	require.Equal(t, "ERROR", rows[1].Level)
	require.Equal(t, "detect", rows[1].Component)
	require.JSONEq(t, `{"job.component": "inside a group", "job.n": 7}`, rows[1].Extra)
	require.Zero(t, b.sink.Dropped())
	for _, text := range []string{"not severe enough", "slow", "failed"} {
		require.Contains(t, b.console.String(), text, "the next handler gets everything")
	}
}

func TestSink_Batches(t *testing.T) {
	t.Parallel()
	w := &fakeWriter{}
	b := setup(t, w, logsink.Options{BatchSize: 50, Interval: time.Hour})
	for i := range 200 {
		b.log.Info("entry", "i", i)
	}
	await.True(t, func() bool { return len(w.got()) == 200 }, "full batches do not wait")
	require.Equal(t, 4, w.writes)
}

func TestSink_NeverBlocksAndCounts(t *testing.T) {
	t.Parallel()
	blocked := make(chan struct{})
	w := &fakeWriter{answer: func(ctx context.Context, _ []store.LogEntry) error {
		select {
		case <-blocked:
			return nil
		case <-ctx.Done():
			return fmt.Errorf("insert logs: %w", store.ErrUnavailable)
		}
	}}
	b := setup(t, w, logsink.Options{Capacity: 10, BatchSize: 5, WriteTimeout: time.Hour})
	for range 1000 {
		b.log.Warn("entry") // none waits for a write, since no write ends before all are said
	}
	require.GreaterOrEqual(t, b.sink.Dropped(), int64(1000-10-5))
	close(blocked)
	b.stop()
	require.Equal(t, int64(1000), b.sink.Dropped()+int64(len(w.got())), "stored or counted, nothing else")
}

func TestSink_KeepsEntriesWhileTheDatabaseIsAway(t *testing.T) {
	t.Parallel()
	var tried sync.WaitGroup
	tried.Add(3)
	attempts := 0
	w := &fakeWriter{answer: func(context.Context, []store.LogEntry) error {
		if attempts++; attempts <= 3 {
			tried.Done()
		}
		return fmt.Errorf("insert logs: %w", store.ErrUnavailable)
	}}
	b := setup(t, w, logsink.Options{Capacity: 100, BatchSize: 10})
	for range 60 {
		b.log.Warn("entry")
	}
	tried.Wait()
	w.setAnswer(nil)
	await.True(t, func() bool { return len(w.got()) == 60 })
	require.Zero(t, b.sink.Dropped())
	require.Equal(t, 1, strings.Count(b.console.String(), "log entries cannot be stored"), "said once, not at each attempt")
}

// What could not be stored is tried again without a further entry that would wake the sink up.
func TestSink_TriesAgainByItself(t *testing.T) {
	t.Parallel()
	attempts := 0
	w := &fakeWriter{answer: func(context.Context, []store.LogEntry) error {
		if attempts++; attempts < 3 {
			return fmt.Errorf("insert logs: %w", store.ErrUnavailable)
		}
		return nil
	}}
	b := setup(t, w, logsink.Options{})
	b.log.Warn("the only entry")
	await.True(t, func() bool { return len(w.got()) == 1 })
}

func TestSink_NeverFeedsOnItself(t *testing.T) {
	t.Parallel()
	w := &fakeWriter{answer: func(context.Context, []store.LogEntry) error { return store.ErrInvalid }}
	b := setup(t, w, logsink.Options{})
	b.log.Error("one entry")
	await.True(t, func() bool { return b.sink.Dropped() == 1 })
	b.stop()
	require.Equal(t, int64(1), b.sink.Dropped(), "its own trouble is not an entry")
	require.Contains(t, b.console.String(), "log entries refused")
}

func TestSink_FlushesAtStopWithinItsTime(t *testing.T) {
	t.Parallel()
	w := &fakeWriter{}
	b := setup(t, w, logsink.Options{BatchSize: 7, Interval: time.Hour})
	for range 30 {
		b.log.Info("entry")
	}
	b.stop()
	require.Len(t, w.got(), 30)

	hanging := &fakeWriter{answer: func(ctx context.Context, _ []store.LogEntry) error {
		<-ctx.Done()
		return ctx.Err()
	}}
	b = setup(t, hanging, logsink.Options{Interval: time.Hour, WriteTimeout: 50 * time.Millisecond})
	for range 30 {
		b.log.Info("entry")
	}
	b.stop() // though no write ever ends by itself
	require.Equal(t, int64(30), b.sink.Dropped())
}

type panics struct{}

func (panics) MarshalText() ([]byte, error) { panic("no") }

type cyclic struct{ Next *cyclic }

func TestSink_SurvivesOddValues(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	b := setup(t, db, logsink.Options{})
	loop := &cyclic{}
	loop.Next = loop
	b.log.Info("odd", "panics", panics{}, "cyclic", loop, "channel", make(chan int), "func", func() {}, "nil", nil, "inf", math.Inf(1),
		"", "no key", "nested", slog.GroupValue(slog.Group("", slog.Int("inline", 1)), slog.Any("deep", slog.GroupValue(slog.Int("n", 2)))),
		"huge", strings.Repeat("x", 100_000))
	b.log.Info("", "component", strings.Repeat("c", 500))
	b.stop()
	require.Zero(t, b.sink.Dropped())
	require.Equal(t, 2, storetest.QueryOne[int](t, db, `SELECT count(*) FROM logs`))
	require.Equal(t, 2, storetest.QueryOne[int](t, db, `SELECT (extra ->> 'nested.deep.n')::int FROM logs WHERE message = 'odd'`))
}

func TestHandler_WithAttrsDoesNotShare(t *testing.T) {
	t.Parallel()
	w := &fakeWriter{}
	b := setup(t, w, logsink.Options{})
	parent := b.log.With("a", 1)
	first, second := parent.With("b", 2), parent.With("c", 3)
	first.Info("first")
	second.Info("second")
	b.stop()
	entries := w.got()
	require.Len(t, entries, 2)
	require.JSONEq(t, `{"a": 1, "b": 2}`, string(entries[0].Extra))
	require.JSONEq(t, `{"a": 1, "c": 3}`, string(entries[1].Extra))
}
