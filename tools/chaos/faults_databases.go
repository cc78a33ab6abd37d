package main

import (
	"context"
	"syscall"
	"time"

	"hsi.home.arpa/internal/e2e"
)

// adminTimeout bounds one order to a database.
const adminTimeout = 5 * time.Second

// makeReadOnly makes every new transaction read-only for a while. It is lifted whatever it takes.
func (w *world) makeReadOnly(ctx context.Context, hold time.Duration) error {
	err := w.SetReadOnly(ctx, true)
	e2e.Wait(ctx, hold)
	lift := func() bool { return w.SetReadOnly(ctx, false) == nil }
	if !e2e.Until(ctx, 50*time.Millisecond, lift) {
		return ctx.Err()
	}
	return err
}

// holdLock keeps everybody out of a table for a while.
func (w *world) holdLock(ctx context.Context, hold time.Duration, pick int) error {
	tables := [...]string{
		"images", "batches", "detections", "events", "cameras", "system_config",
		"media_deletions",
	}
	limited, cancel := context.WithTimeout(ctx, hold+2*adminTimeout)
	defer cancel()
	release, err := w.HoldLock(limited, tables[pick%len(tables)])
	if err != nil {
		return err
	}
	defer release()
	e2e.Wait(ctx, hold)
	return nil
}

// killSession kills one process of PostgreSQL that serves a session of the server. PostgreSQL then
// ends all sessions and recovers.
func (w *world) killSession(ctx context.Context) error {
	limited, cancel := context.WithTimeout(ctx, adminTimeout)
	defer cancel()
	var pid int
	err := w.Database.GetContext(limited, &pid, `
		SELECT pid FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'
		ORDER BY random() LIMIT 1`)
	if err != nil {
		return err
	}
	return syscall.Kill(pid, syscall.SIGKILL)
}
