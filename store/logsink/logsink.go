// Package logsink feeds the logs table: a slog handler that passes every record on and hands the
// severe ones to a writer in batches. It never blocks the caller, counts what it drops, and never
// feeds on its own troubles.
package logsink

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"hsi.home.arpa/store"
)

// writer stores entries; *store.DB is one.
type writer interface {
	InsertLogs(ctx context.Context, entries []store.LogEntry) error
}

// Options says what to take and how.
type Options struct {
	// Next gets every record, those that are stored too. Required. What the sink itself has to say
	// goes only there.
	Next slog.Handler
	// MinLevel is the least severe level that is stored. Defaults to slog.LevelInfo;
	// LOG_DB_MIN_LEVEL sets it.
	MinLevel slog.Leveler
	// Capacity is how many entries may wait; further ones are dropped and counted. Defaults to
	// 4096.
	Capacity int
	// BatchSize is how many entries one write holds at most. Defaults to 256.
	BatchSize int
	// Interval is how long an entry waits for company. Defaults to 500 ms.
	Interval time.Duration
	// WriteTimeout ends one write, and the flush when Run stops. Defaults to 5 s.
	WriteTimeout time.Duration
}

// Sink is the queue between the loggers and the database.
type Sink struct {
	writer  writer
	options Options
	queue   chan store.LogEntry
	dropped atomic.Int64
	log     *slog.Logger // Next alone, so that the sink's own words never come back to it
}

// New prepares a sink. Entries wait in it until Run stores them.
func New(w writer, options Options) *Sink {
	if options.MinLevel == nil {
		options.MinLevel = slog.LevelInfo
	}
	setDefault(&options.Capacity, 4096)
	setDefault(&options.BatchSize, 256)
	setDefault(&options.Interval, 500*time.Millisecond)
	setDefault(&options.WriteTimeout, 5*time.Second)
	return &Sink{
		writer:  w,
		options: options,
		queue:   make(chan store.LogEntry, options.Capacity),
		log:     slog.New(options.Next).With("component", "logsink"),
	}
}

func setDefault[T int | time.Duration](value *T, standard T) {
	if *value <= 0 {
		*value = standard
	}
}

// Handler is what loggers write to.
func (s *Sink) Handler() slog.Handler { return &handler{sink: s, next: s.options.Next} }

// Dropped is how many entries were not stored: the queue was full, or the database refused or
// missed them.
func (s *Sink) Dropped() int64 { return s.dropped.Load() }

// Run stores entries until ctx ends, then flushes what waits, within WriteTimeout. It returns nil.
func (s *Sink) Run(ctx context.Context) error {
	batch := make([]store.LogEntry, 0, s.options.BatchSize)
	var due <-chan time.Time // nil while nothing waits: a server without news does not wake up for it
	failing := false
	for {
		select {
		case <-ctx.Done():
			s.flush(ctx, batch)
			return nil
		case entry := <-s.queue:
			batch = append(batch, entry)
			if due == nil {
				due = time.After(s.options.Interval)
			}
			if len(batch) < s.options.BatchSize || failing {
				if len(batch) < s.options.BatchSize {
					continue
				}
				// The database does not answer: wait, the queue fills and then drops.
				select {
				case <-ctx.Done():
					s.flush(ctx, batch)
					return nil
				case <-due:
				}
			}
		case <-due:
		}
		due = nil
		if batch, failing = s.store(ctx, batch, failing); len(batch) > 0 {
			due = time.After(s.options.Interval)
		}
	}
}

// store writes one batch. A batch that the database cannot take now is kept, one that it refuses is
// dropped.
func (s *Sink) store(ctx context.Context, batch []store.LogEntry, failing bool) (rest []store.LogEntry, stillFailing bool) {
	writeCtx, cancel := context.WithTimeout(ctx, s.options.WriteTimeout)
	defer cancel()
	err := s.writer.InsertLogs(writeCtx, batch)
	switch {
	case err == nil:
		if failing {
			s.log.InfoContext(ctx, "log entries are stored again", "dropped", s.Dropped())
		}
		return batch[:0], false
	case isTransient(err):
		if !failing {
			s.log.WarnContext(ctx, "log entries cannot be stored, keeping them", "error", err)
		}
		return batch, true
	default:
		s.dropped.Add(int64(len(batch)))
		s.log.WarnContext(ctx, "log entries refused", "entries", len(batch), "error", err)
		return batch[:0], false
	}
}

// flush stores what waits when the server stops. ctx has ended, so it gets time of its own.
func (s *Sink) flush(ctx context.Context, batch []store.LogEntry) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.options.WriteTimeout)
	defer cancel()
	for {
		batch = s.fill(batch)
		if len(batch) == 0 {
			return
		}
		if err := s.writer.InsertLogs(ctx, batch); err != nil {
			lost := len(batch) + len(s.queue)
			s.dropped.Add(int64(lost))
			s.log.WarnContext(ctx, "log entries lost at stop", "entries", lost, "error", err)
			return
		}
		batch = batch[:0]
	}
}

// fill takes what waits without waiting for more.
func (s *Sink) fill(batch []store.LogEntry) []store.LogEntry {
	for len(batch) < s.options.BatchSize {
		select {
		case entry := <-s.queue:
			batch = append(batch, entry)
		default:
			return batch
		}
	}
	return batch
}
