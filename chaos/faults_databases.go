package main

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"
)

// adminTimeout bounds one order to a database.
const adminTimeout = 5 * time.Second

func (w *world) flushRedis(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, adminTimeout)
	defer cancel()
	conn, err := w.redisClient.Conn(ctx)
	if err != nil {
		return err
	}
	return conn.Do(ctx, conn.B().Flushall().Build()).Error()
}

// endQueueLeases makes every entry that a worker holds look as if it had been held for an hour.
func (w *world) endQueueLeases(ctx context.Context) error {
	const group, anHour = "workers", 3_600_000 // ms
	conn, err := w.redisClient.Conn(ctx)
	if err != nil {
		return err
	}
	for _, queue := range []string{"hsi:queue:detect", "hsi:queue:analyze"} {
		held, err := conn.Do(ctx, conn.B().Xpending().Key(queue).Group(group).Start("-").End("+").Count(100).Build()).ToArray()
		if err != nil {
			return fmt.Errorf("list held entries: %w", err)
		}
		for _, entry := range held {
			fields, err := entry.ToArray()
			if err != nil || len(fields) < 2 {
				return errors.Join(errors.New("odd list of held entries"), err)
			}
			id, err := fields[0].ToString()
			if err != nil {
				return err
			}
			consumer, err := fields[1].ToString()
			if err != nil {
				return err
			}
			claim := conn.B().Xclaim().Key(queue).Group(group).Consumer(consumer).MinIdleTime("0").Id(id).Idle(anHour).Justid().Build()
			if err := conn.Do(ctx, claim).Error(); err != nil {
				return fmt.Errorf("age held entry: %w", err)
			}
		}
	}
	return nil
}

// order gives PostgreSQL one order.
func (w *world) order(ctx context.Context, statement string) error {
	ctx, cancel := context.WithTimeout(ctx, adminTimeout)
	defer cancel()
	_, err := w.database.ExecContext(ctx, statement)
	return err
}

// makeReadOnly makes every new transaction read-only for a while. That outlives a kill, and so it is lifted whatever it takes.
func (w *world) makeReadOnly(ctx context.Context, hold time.Duration) error {
	set := func(ctx context.Context, statement string) error {
		if err := w.order(ctx, statement); err != nil {
			return err
		}
		return w.order(ctx, `SELECT pg_reload_conf()`)
	}
	err := set(ctx, `ALTER SYSTEM SET default_transaction_read_only = on`)
	wait(ctx, hold)
	lifted := until(ctx, 50*time.Millisecond, func() bool {
		return set(ctx, `ALTER SYSTEM RESET default_transaction_read_only`) == nil
	})
	if !lifted {
		return ctx.Err()
	}
	return err
}

// holdLock keeps everybody out of a table for a while.
func (w *world) holdLock(ctx context.Context, hold time.Duration, pick int) error {
	tables := [...]string{"images", "batches", "detections", "events", "cameras", "system_config", "media_deletions"}
	limited, cancel := context.WithTimeout(ctx, hold+2*adminTimeout)
	defer cancel()
	tx, err := w.database.BeginTxx(limited, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // the lock is all that it was for
	if _, err := tx.ExecContext(limited, `SET LOCAL lock_timeout = '2s'; LOCK TABLE `+tables[pick%len(tables)]+` IN ACCESS EXCLUSIVE MODE`); err != nil {
		return err
	}
	wait(ctx, hold)
	return nil
}

// killSession kills one process of PostgreSQL that serves a session of the server. PostgreSQL then ends all sessions and recovers.
func (w *world) killSession(ctx context.Context) error {
	limited, cancel := context.WithTimeout(ctx, adminTimeout)
	defer cancel()
	var pid int
	err := w.database.GetContext(limited, &pid, `
		SELECT pid FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND backend_type = 'client backend' ORDER BY random() LIMIT 1`)
	if err != nil {
		return err
	}
	return syscall.Kill(pid, syscall.SIGKILL)
}
