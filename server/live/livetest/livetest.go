// Package livetest lets tests follow a hub without a database and without a network, also on the clock of a test.
package livetest

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"sync"
	"time"

	"hsi.home.arpa/gpu"
	"hsi.home.arpa/server/health"
	"hsi.home.arpa/server/live"
	"hsi.home.arpa/store"
	storelive "hsi.home.arpa/store/live"
)

// Source is a table of changes in memory. Each is a new event, whose id is its position.
type Source struct {
	mu      sync.Mutex
	state   storelive.State // guarded by mu
	changed chan struct{}   // guarded by mu
	err     error           // guarded by mu; what reading answers
	reads   int             // guarded by mu
	summary string
}

// NewSource makes one that is empty; each event of it has the summary.
func NewSource(summary string) *Source {
	return &Source{state: storelive.State{Epoch: "e"}, changed: make(chan struct{}), summary: summary}
}

// Add adds so many events.
func (s *Source) Add(events int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state.Head += events
	close(s.changed)
	s.changed = make(chan struct{})
}

// Fail lets reading fail from here on, or work again.
func (s *Source) Fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
}

// Reads is how often the table was read.
func (s *Source) Reads() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.reads
}

// State is where it stands.
func (s *Source) State() (storelive.State, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state, s.changed
}

// Read returns changes after a position.
func (s *Source) Read(_ context.Context, after storelive.Position, limit int) ([]storelive.Change, storelive.State, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reads++
	if s.err != nil {
		return nil, s.state, s.err
	}
	if after.Number > s.state.Head {
		return nil, s.state, storelive.ErrAhead
	}
	var changes []storelive.Change
	for number := after.Number + 1; number <= s.state.Head && len(changes) < limit; number++ {
		changes = append(changes, storelive.Change{Number: number, Kind: storelive.EventAdded, EventIDs: []int64{number}})
	}
	return changes, s.state, nil
}

// Events returns events of any id.
func (s *Source) Events(_ context.Context, ids []int64) (map[int64]storelive.Event, error) {
	events := map[int64]storelive.Event{}
	for _, id := range ids {
		events[id] = storelive.Event{
			ID: id, CameraID: "front", StartedAt: time.Date(2025, 12, 23, 10, 30, 0, 0, time.UTC), Summary: &s.summary,
			CreatedAt: time.Date(2025, 12, 23, 10, 30, 5, 0, time.UTC),
		}
	}
	return events, nil
}

// Cameras knows none.
func (s *Source) Cameras(context.Context, []string) (map[string]storelive.CameraState, error) {
	return map[string]storelive.CameraState{}, nil
}

// Options are those of a hub on the source whose system is healthy.
func (s *Source) Options() live.Options {
	return live.Options{Source: s, Log: slog.New(slog.DiscardHandler), Status: live.StatusSources{
		Health: func() health.Report { return health.Report{State: health.Healthy} },
		GPU:    func() gpu.Snapshot { return gpu.Snapshot{} }, InferenceFPS: func() *float64 { return nil },
		Queues: func(context.Context) (store.QueueDepths, error) {
			return store.QueueDepths{Detection: 5, Analysis: 2}, nil
		},
		Cameras: func(context.Context) (storelive.CameraCounts, error) {
			return storelive.CameraCounts{}, errors.New("away")
		},
	}}
}

// Listener accepts connections in memory.
type Listener struct {
	conns chan net.Conn
	done  chan struct{}
	close sync.Once
}

// NewListener makes a listener.
func NewListener() *Listener {
	return &Listener{conns: make(chan net.Conn), done: make(chan struct{})}
}

// Dial connects to it.
func (l *Listener) Dial(ctx context.Context, _, _ string) (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case l.conns <- server:
		return client, nil
	case <-l.done:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Accept is part of net.Listener.
func (l *Listener) Accept() (net.Conn, error) {
	select {
	case conn := <-l.conns:
		return conn, nil
	case <-l.done:
		return nil, io.EOF
	}
}

// Close is part of net.Listener.
func (l *Listener) Close() error {
	l.close.Do(func() { close(l.done) })
	return nil
}

// Addr is part of net.Listener.
func (*Listener) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 80} }
