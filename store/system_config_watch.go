package store

import (
	"context"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/lib/pq"
)

const (
	// systemConfigChannel is what Update notifies on commit.
	systemConfigChannel = "hsi_system_config"
	// systemConfigReread is the slow way to the newest configuration, should a notification get lost.
	systemConfigReread = 30 * time.Second
	// systemConfigRetry is how soon a failed read is tried again.
	systemConfigRetry = time.Second
	// readTimeout ends one read of the watcher.
	readTimeout = 5 * time.Second
)

// Run keeps Latest up to date until ctx ends: it reads again at each notification, at each reconnect, and every
// 30 s. It returns nil when ctx ends.
func (s *SystemConfigs) Run(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case <-s.db.Migrated():
	}
	dialer := &listenDialer{ctx: ctx}
	listener := pq.NewDialListener(dialer, s.db.dsn, 200*time.Millisecond, time.Second, s.logListener(ctx))
	listening := make(chan error, 1)
	// Listen waits for the connection, so it must not hold up the slow way.
	go func() { listening <- listener.Listen(systemConfigChannel) }()
	defer func() {
		dialer.end()
		_ = listener.Close() // it can only say that it is closed already
		for range listener.Notify {
			// Closed once the listener's goroutine has ended.
		}
	}()
	return s.watch(ctx, listener.Notify, listening)
}

func (s *SystemConfigs) watch(ctx context.Context, notify <-chan *pq.Notification, listening <-chan error) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-listening:
			if err != nil && ctx.Err() == nil {
				return fmt.Errorf("listen for configuration: %w", err)
			}
			listening = nil
		case <-notify: // also after a reconnect, when something may have been missed
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

func (s *SystemConfigs) logListener(ctx context.Context) pq.EventCallbackType {
	return func(event pq.ListenerEventType, err error) {
		s.db.log.DebugContext(ctx, "configuration listener", "event", event.String(), "error", err)
	}
}

// listenDialer dials for the listener of lib/pq, which knows no context and would wait for ever on a frozen server.
type listenDialer struct {
	ctx context.Context //nolint:containedctx // the interface of lib/pq has none; it lives as long as Run

	mu    sync.Mutex // guards conn and ended
	conn  net.Conn
	ended bool
}

// Dial is part of pq.Dialer.
func (d *listenDialer) Dial(network, address string) (net.Conn, error) {
	return d.DialTimeout(network, address, connectTimeout)
}

// DialTimeout is part of pq.Dialer.
func (d *listenDialer) DialTimeout(network, address string, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(d.ctx, timeout)
	defer cancel()
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ended {
		_ = conn.Close() // nothing was sent on it
		return nil, net.ErrClosed
	}
	if d.conn != nil { // lib/pq forgets the connection on which TLS was refused
		_ = d.conn.Close()
	}
	d.conn = conn
	return conn, nil
}

// end breaks the connection, whatever lib/pq is waiting for, and refuses another.
func (d *listenDialer) end() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ended = true
	if d.conn != nil {
		_ = d.conn.Close() // it is given up
	}
}
