// Package live tells clients what changes. The Hub reads each new position once, encodes its frame
// once and keeps the last ones for all clients; whoever is further behind reads the table. A client
// costs a position and no queue, so that a slow one holds nothing up.
package live

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"hsi.home.arpa/store/live"
)

// source is the store's Sequencer.
type source interface {
	// State is where the stream stands, and a channel that is closed when that has changed.
	State() (live.State, <-chan struct{})
	Read(ctx context.Context, after live.Position, limit int) ([]live.Change, live.State, error)
	Events(ctx context.Context, ids []int64) (map[int64]live.Event, error)
	Cameras(ctx context.Context, ids []string) (map[string]live.CameraState, error)
}

// ErrFull says that as many clients follow as may.
var ErrFull = errors.New("too many live clients")

const (
	// DefaultMaxClients is how many clients may follow at once.
	DefaultMaxClients = 1000
	// keptFrames and keptBytes bound the frames that are kept for all clients.
	keptFrames, keptBytes = 1024, 8 << 20
	// batchSize is how many positions are read from the table at once, and how many frames a client
	// is given at once.
	batchSize = 64
	// pageReaders is how many clients read the table at once, keptPages how many pages they share,
	// when all come back together.
	pageReaders, keptPages = 4, 32
	// retryRead is how soon a failed read is tried again.
	retryRead = time.Second
)

// Options of a Hub.
type Options struct {
	Source source
	Status StatusSources
	// MaxClients defaults to the constant.
	MaxClients int
	// CameraOfflineAfter is after how long without a picture a camera counts as offline; 0: nobody
	// knows.
	CameraOfflineAfter time.Duration
	Log                *slog.Logger
	// Now is the clock of the status. Defaults to time.Now.
	Now func() time.Time
}

// Hub fans out the stream of changes.
type Hub struct {
	options Options
	readers chan struct{} // has room for those who read the table
	pages   *lru.Cache[live.Position, []*frame]
	joined  chan struct{} // holds one value when a client has come
	cameras chan struct{} // holds one value when a camera has changed
	closed  chan struct{}
	close   sync.Once

	mu       sync.RWMutex
	epoch    string         // guarded by mu; empty until the stream is known
	head     int64          // guarded by mu; the newest position that was read
	frames   []*frame       // guarded by mu; the last positions, up to head, without a gap
	bytes    int            // guarded by mu; of frames
	status   *statusFrame   // guarded by mu; nil until there is one
	services []*statusFrame // guarded by mu; the last changes of services
	clients  int            // guarded by mu
	changed  chan struct{}  // guarded by mu; closed when there is something new
}

// New makes a hub.
func New(options Options) *Hub {
	if options.MaxClients == 0 {
		options.MaxClients = DefaultMaxClients
	}
	if options.Now == nil {
		options.Now = time.Now
	}
	pages, _ := lru.New[live.Position, []*frame](keptPages) // it refuses only a size below 1
	return &Hub{
		options: options, readers: make(chan struct{}, pageReaders), pages: pages,
		joined: make(chan struct{}, 1), cameras: make(chan struct{}, 1), closed: make(chan struct{}), changed: make(chan struct{}),
	}
}

// Close ends all streams, and refuses more, at once.
func (h *Hub) Close() { h.close.Do(func() { close(h.closed) }) }

// Run reads what is new until ctx ends.
func (h *Hub) Run(ctx context.Context) error {
	done := make(chan struct{})
	go func() { defer close(done); h.watchStatus(ctx) }()
	defer func() { <-done }()
	for {
		state, moved := h.options.Source.State()
		var retry <-chan time.Time
		if err := h.advance(ctx, state); err != nil {
			h.options.Log.DebugContext(ctx, "live frames not read", "error", err)
			retry = time.After(retryRead)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-moved:
		case <-retry:
		}
	}
}

// advance brings the kept frames up to a state. Without clients nothing is read: the first one that
// comes back reads the table.
func (h *Hub) advance(ctx context.Context, state live.State) error {
	for state.Epoch != "" {
		h.mu.Lock()
		if h.epoch != state.Epoch || h.clients == 0 && h.head != state.Head {
			h.jump(state)
		}
		at := live.Position{Epoch: h.epoch, Number: h.head}
		h.mu.Unlock()
		if at.Number >= state.Head {
			return nil
		}
		changes, now, err := h.options.Source.Read(ctx, at, batchSize)
		if errors.Is(err, live.ErrResync) { // another database, or the positions in between are gone
			h.mu.Lock()
			h.jump(now)
			h.mu.Unlock()
			return nil
		}
		if err != nil {
			return err
		}
		frames, err := h.encode(ctx, at.Epoch, changes)
		if err != nil {
			return err
		}
		h.keep(frames)
	}
	return nil
}

// jump goes on from a state, with no frames. mu must be held.
func (h *Hub) jump(state live.State) {
	h.epoch, h.head, h.frames, h.bytes = state.Epoch, state.Head, nil, 0
	h.announce()
}

// announce wakes all clients. mu must be held.
func (h *Hub) announce() {
	close(h.changed)
	h.changed = make(chan struct{})
}

// keep adds frames and lets the oldest go that are too many.
func (h *Hub) keep(frames []*frame) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, f := range frames {
		h.frames, h.bytes, h.head = append(h.frames, f), h.bytes+len(f.sse)+len(f.message), f.number
		if f.isCamera {
			nudge(h.cameras)
		}
	}
	drop := 0
	for ; len(h.frames)-drop > keptFrames || h.bytes > keptBytes && len(h.frames) > drop; drop++ {
		h.bytes -= len(h.frames[drop].sse) + len(h.frames[drop].message)
	}
	if drop > 0 { // a new array, so that the old frames can be freed
		h.frames = slices.Clone(h.frames[drop:])
	}
	h.announce()
}

func nudge(signal chan struct{}) {
	select {
	case signal <- struct{}{}:
	default:
	}
}

// Position is the newest position, empty until it is known.
func (h *Hub) Position() string {
	h.mu.RLock()
	defer h.mu.RUnlock()
	if h.epoch == "" {
		return ""
	}
	return live.Position{Epoch: h.epoch, Number: h.head}.String()
}
