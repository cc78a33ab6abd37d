package retention

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jmoiron/sqlx"

	"hsi.home.arpa/store"
)

// jobName is the row of the table jobs that keeps the schedule.
const jobName = "cleanup"

// maxNap is the longest wait before the clock is looked at again: it may have been set, or the
// machine may have slept.
const maxNap = 10 * time.Minute

// recordTimeout bounds writing the outcome of a run that was told to stop.
const recordTimeout = 5 * time.Second

// Schedule is when the cleanup ran and will run.
type Schedule struct {
	LastSuccess *time.Time `db:"last_run"` // nil when it never ran
	NextRun     *time.Time `db:"next_run"` // nil when the server never ran
	LastError   *string    `db:"last_error"`
}

// Run cleans up once a day, and at the start when that is overdue, until ctx ends. The first run of
// a new installation comes a day after the first start, so that its owner can set the retention
// period first. A second Run returns an error.
func (s *Service) Run(ctx context.Context) error {
	if !s.running.CompareAndSwap(false, true) {
		return errors.New("retention: already running")
	}
	defer s.running.Store(false)
	select {
	case <-ctx.Done():
		return nil
	case <-s.db.Migrated():
	}
	failures, announced := 0, false
	for {
		wait, err := s.turn(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			failures++
			wait = retryAfter(failures)
			s.log.WarnContext(ctx, "scheduled cleanup failed, will try again", "error", err, "wait", wait)
		default:
			failures = 0
			if !announced {
				announced = true
				s.announce(ctx)
			}
		}
		if !sleep(ctx, min(max(wait, time.Second), maxNap)) {
			return nil
		}
	}
}

// announce says once after the start when the cleanup ran and when it will.
func (s *Service) announce(ctx context.Context) {
	schedule, err := s.Schedule(ctx)
	if err != nil {
		return // it only would have been nice to know
	}
	attrs := []any{"last_success", "never", "next_run", schedule.NextRun}
	if schedule.LastSuccess != nil {
		attrs[1] = schedule.LastSuccess
	}
	s.log.InfoContext(ctx, "cleanup is scheduled", attrs...)
}

// retryAfter is how long to wait after a number of failures in a row: a minute, doubled up to an
// hour.
func retryAfter(failures int) time.Duration {
	return min(time.Minute<<min(failures-1, 10), time.Hour)
}

// turn runs the cleanup when it is due and returns how long it is until the next.
func (s *Service) turn(ctx context.Context) (time.Duration, error) {
	next, err := s.nextRun(ctx)
	if err != nil {
		return 0, err
	}
	if wait := next.Sub(s.now()); wait > 0 {
		return wait, nil
	}
	report, err := s.Cleanup(ctx, false)
	if err != nil {
		return 0, err
	}
	s.log.InfoContext(ctx, "cleanup done", "events", report.EventsDeleted, "detections", report.DetectionsDeleted,
		"gpu_stats", report.GPUStatsDeleted, "logs", report.LogsDeleted, "thumbnails", report.ThumbnailsDeleted,
		"images", report.ImagesDeleted, "bytes", report.SpaceReclaimedBytes, "retention_days", report.RetentionDays,
		"next_run", s.now().Add(s.options.Interval))
	if err := s.forget(ctx, report.At.Add(-time.Duration(report.RetentionDays)*24*time.Hour)); err != nil {
		return 0, fmt.Errorf("forget vanished images: %w", err)
	}
	return s.options.Interval, nil
}

// nextRun reads when the next run is due, and decides it at the very first start.
func (s *Service) nextRun(ctx context.Context) (time.Time, error) {
	var next time.Time
	err := s.db.InTx(ctx, "read cleanup schedule", func(ctx context.Context, tx *sqlx.Tx) error {
		return tx.GetContext(ctx, &next, `
			INSERT INTO jobs (name, next_run) VALUES ($1, $2)
			ON CONFLICT (name) DO UPDATE SET next_run = coalesce(jobs.next_run, excluded.next_run)
			RETURNING next_run`, jobName, s.now().Add(s.options.Interval))
	})
	return next, err
}

// Schedule returns when the cleanup ran and will run.
func (s *Service) Schedule(ctx context.Context) (Schedule, error) {
	var schedule Schedule
	if err := s.db.Ready(); err != nil {
		return Schedule{}, err
	}
	err := s.db.SQL().GetContext(ctx, &schedule, `SELECT last_run, next_run, last_error FROM jobs WHERE name = $1`, jobName)
	if errors.Is(err, sql.ErrNoRows) {
		return Schedule{}, nil
	}
	return schedule, store.Classify(ctx, "read cleanup schedule", err)
}

// record keeps how a real run ended. Only a success moves the schedule.
func (s *Service) record(ctx context.Context, report Report, outcome error) error {
	// Also a run that was told to stop leaves word of it.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordTimeout)
	defer cancel()
	details, err := json.Marshal(report)
	if err != nil {
		return fmt.Errorf("encode the report: %w", err)
	}
	var failure *string
	if outcome != nil {
		text := outcome.Error()
		failure = &text
	}
	return s.db.InTx(ctx, "record cleanup", func(ctx context.Context, tx *sqlx.Tx) error {
		_, err := tx.ExecContext(ctx, `
			INSERT INTO jobs AS j (name, last_started_at, last_run, next_run, last_error, details)
			VALUES ($1, $2, CASE WHEN $3::text IS NULL THEN $4::timestamptz END, $5::timestamptz, $3, $6)
			ON CONFLICT (name) DO UPDATE SET last_started_at = excluded.last_started_at,
				last_run = coalesce(excluded.last_run, j.last_run), last_error = excluded.last_error, details = excluded.details,
				next_run = CASE WHEN excluded.last_run IS NULL THEN j.next_run ELSE excluded.next_run END`,
			jobName, report.At, failure, s.now(), s.now().Add(s.options.Interval), string(details))
		return err
	})
}

// sleep waits, or returns false when ctx ends first.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
