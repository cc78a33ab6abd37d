package gpu

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"golang.org/x/sync/errgroup"
)

// maxWriteTimeout bounds the time that storing one row may take; it is shorter with a shorter
// interval.
const maxWriteTimeout = 5 * time.Second

// Row is one sample with what was known beside it, to be stored.
type Row struct {
	RecordedAt time.Time
	Sample     Sample
	// InferenceFPS is the number of images run through the detector per second over the last
	// minute; nil when unknown.
	InferenceFPS *float64
}

// rowWriter stores rows.
type rowWriter interface {
	InsertGPUSample(ctx context.Context, row Row) error
}

// heartbeat shows a supervisor that the monitor is alive, and what people should know about it.
type heartbeat interface {
	Say(message string)
}

// Monitor samples the card and stores each sample.
type Monitor struct {
	sampler      *Sampler
	rows         rowWriter
	inferenceFPS func() *float64
	log          *slog.Logger
	lost         int // rows since the last one that was stored; belongs to write
}

// NewMonitor returns a monitor around a sampler, which nobody else may run. inferenceFPS is asked
// once for each row.
func NewMonitor(sampler *Sampler, rows rowWriter, inferenceFPS func() *float64, log *slog.Logger) *Monitor {
	return &Monitor{sampler: sampler, rows: rows, inferenceFPS: inferenceFPS, log: log}
}

// Latest returns the newest snapshot at once, see Sampler.Latest.
func (m *Monitor) Latest() Snapshot { return m.sampler.Latest() }

// FreshFor is how long one heartbeat counts: three intervals, and time for a driver call to be
// given up.
func (m *Monitor) FreshFor() time.Duration {
	return staleIntervals*m.sampler.interval + maxCallTimeout
}

// Run samples at each interval and stores a row for each sample that holds a measurement, until ctx
// ends. A machine without a card is no error: the heartbeat says so, and no row is written.
//
// Sampling never waits for the database. While it is down or slow, rows are lost, and the log says
// how many: a gap in the history is the truth about that time, and keeping rows for later could
// store some twice when the fate of a write is unknown.
func (m *Monitor) Run(ctx context.Context, beat heartbeat) error {
	rows := make(chan Row, 1)
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		defer close(rows)
		return m.sampler.run(ctx, func(snapshot Snapshot) {
			beat.Say(snapshot.Message)
			m.offer(rows, snapshot)
		})
	})
	group.Go(func() error {
		for row := range rows {
			if ctx.Err() == nil {
				m.write(ctx, row)
			}
		}
		return nil
	})
	if err := group.Wait(); err != nil {
		return fmt.Errorf("monitor the GPU: %w", err)
	}
	return nil
}

// offer hands a row to the writer. When that is still busy with an older one, the row that waits is
// replaced.
func (m *Monitor) offer(rows chan Row, snapshot Snapshot) {
	if !snapshot.Sample.Measured() {
		return
	}
	row := Row{RecordedAt: snapshot.SampledAt, Sample: *snapshot.Sample, InferenceFPS: m.inferenceFPS()}
	select {
	case rows <- row:
		return
	default:
	}
	select {
	case <-rows:
	default:
	}
	rows <- row // there is room: nobody else sends
}

func (m *Monitor) write(ctx context.Context, row Row) {
	writeCtx, cancel := context.WithTimeout(ctx, min(m.sampler.interval, maxWriteTimeout))
	defer cancel()
	err := m.rows.InsertGPUSample(writeCtx, row)
	switch {
	case err != nil && ctx.Err() != nil: // stopping
	case err != nil:
		if m.lost++; m.lost == 1 {
			m.log.WarnContext(ctx, "gpu samples cannot be stored", "error", err)
		}
	case m.lost > 0:
		m.log.InfoContext(ctx, "gpu samples are stored again", "lost", m.lost)
		m.lost = 0
	}
}
