package store

import (
	"context"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	// systemConfigChannel is what Update notifies on commit.
	systemConfigChannel = "hsi_system_config"
	// systemConfigReread is the slow way to the newest configuration, should a notification get
	// lost.
	systemConfigReread = 30 * time.Second
	// systemConfigRetry is how soon a failed read is tried again.
	systemConfigRetry = time.Second
	// readTimeout ends one read of the watcher.
	readTimeout = 5 * time.Second
)

// Run keeps Latest up to date until ctx ends: it reads again at each notification, at each
// reconnect, and every 30 s. It returns nil when ctx ends.
func (s *SystemConfigs) Run(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case <-s.db.Migrated():
	}
	woken := make(chan struct{}, 1)
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		return s.db.Listen(ctx, systemConfigChannel, func() {
			select {
			case woken <- struct{}{}:
			default:
			}
		})
	})
	group.Go(func() error { s.watch(ctx, woken); return nil })
	return group.Wait()
}

func (s *SystemConfigs) watch(ctx context.Context, woken <-chan struct{}) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-woken:
		case <-timer.C:
		}
		timer.Reset(s.reread(ctx))
	}
}

// reread brings Latest up to date and returns when to do so again.
func (s *SystemConfigs) reread(ctx context.Context) time.Duration {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	if _, err := s.Get(ctx); err != nil {
		s.db.log.DebugContext(ctx, "configuration not read", "error", err)
		return systemConfigRetry
	}
	return s.rereadEvery
}
