package redis

import (
	"context"
	"crypto/rand"
	"fmt"
	"time"

	"github.com/redis/rueidis"
)

const (
	// signalTimeout ends one attempt to send, signalRetry is the pause before the next attempt to listen.
	signalTimeout, signalRetry = time.Second, time.Second
)

// Signal wakes the other processes that have one on the same channel. It carries nothing, and may get lost with Redis: what there is to
// be known is read elsewhere, sooner with a signal and later without.
type Signal struct {
	client  *Client
	channel string
	heard   func()
	self    string // so that nobody wakes itself
	pending chan struct{}
}

// NewSignal makes a signal. heard is called when another process sent one; it must not wait.
func NewSignal(client *Client, channel string, heard func()) *Signal {
	return &Signal{client: client, channel: channel, heard: heard, self: rand.Text(), pending: make(chan struct{}, 1)}
}

// Send lets Run wake the others. It never waits; several at once may become one.
func (s *Signal) Send() {
	select {
	case s.pending <- struct{}{}:
	default:
	}
}

// Run sends and listens until ctx ends, whether Redis is there or not. It returns nil then.
func (s *Signal) Run(ctx context.Context) error {
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			_ = s.listen(ctx) // it says why it ended, which the health check says better
			select {
			case <-ctx.Done():
			case <-time.After(signalRetry):
			}
		}
	}()
	for {
		select {
		case <-ctx.Done():
			<-done
			return nil
		case <-s.pending:
			_ = s.send(ctx) // the others come upon it by themselves
		}
	}
}

func (s *Signal) send(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, signalTimeout)
	defer cancel()
	conn, err := s.client.Conn(ctx)
	if err != nil {
		return err
	}
	if err := conn.Do(ctx, conn.B().Publish().Channel(s.channel).Message(s.self).Build()).Error(); err != nil {
		return fmt.Errorf("send a signal: %w", Classify(err))
	}
	return nil
}

// listen returns when the connection breaks.
func (s *Signal) listen(ctx context.Context) error {
	conn, err := s.client.Conn(ctx)
	if err != nil {
		return err
	}
	err = conn.Receive(ctx, conn.B().Subscribe().Channel(s.channel).Build(), func(message rueidis.PubSubMessage) {
		if message.Message != s.self {
			s.heard()
		}
	})
	return fmt.Errorf("listen for signals: %w", Classify(err))
}
