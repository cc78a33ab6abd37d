package live

import (
	"context"
	"fmt"

	"hsi.home.arpa/store"
	"hsi.home.arpa/store/live"
)

// Wants is what a subscriber is to be told.
type Wants struct{ Changes, Status, Services bool }

// Subscriber is one client. It is used by one goroutine.
type Subscriber struct {
	hub   *Hub
	wants Wants
	at    live.Position
	// resync is said first, when the position that was sent is worth nothing.
	resync string
	// unsure: the position is above what the hub knows. The table decides.
	unsure bool
	// keepsUp: it has read everything once since it came, so that falling behind is its own doing.
	keepsUp          bool
	status, services int64 // the last that was told
}

// Join takes in a client behind the position that it sent, or from now on when that is empty. It
// must Leave. The error is ErrFull, or a store.ErrUnavailable before the stream is known and after
// Close.
func (h *Hub) Join(after string, wants Wants) (*Subscriber, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	select {
	case <-h.closed:
		return nil, fmt.Errorf("join the live stream: %w: the server stops", store.ErrUnavailable)
	default:
	}
	if h.epoch == "" {
		return nil, fmt.Errorf("join the live stream: %w: not read yet", store.ErrUnavailable)
	}
	if h.clients >= h.options.MaxClients {
		return nil, ErrFull
	}
	at := live.Position{Epoch: h.epoch, Number: h.head}
	s := &Subscriber{hub: h, wants: wants, at: at, keepsUp: after == ""}
	if h.status != nil && h.options.Now().Sub(h.status.at) >= statusEvery {
		s.status = h.status.version // old news; a new one is on its way
	}
	if len(h.services) > 0 {
		s.services = h.services[len(h.services)-1].version
	}
	if after != "" {
		position, ok := live.ParsePosition(after)
		switch {
		case !ok || position.Epoch != h.epoch:
			s.resync = reasonForeign
		default:
			s.unsure = position.Number > h.head
			s.at = position
		}
	}
	h.clients++
	nudge(h.joined)
	return s, nil
}

// Leave ends it.
func (s *Subscriber) Leave() {
	s.hub.mu.Lock()
	defer s.hub.mu.Unlock()
	s.hub.clients--
}

// Messages returns what the WebSockets are to send now, and a channel that is closed when there may
// be more.
func (s *Subscriber) Messages(ctx context.Context) ([][]byte, <-chan struct{}) {
	for {
		b, more := s.poll(ctx)
		if messages := b.messages(); len(messages) > 0 {
			return messages, more
		}
		if b.isEmpty() {
			return nil, more
		}
	}
}

// Closed is closed when the hub is.
func (h *Hub) Closed() <-chan struct{} { return h.closed }

// batch is what is to be told next.
type batch struct {
	status   *statusFrame
	services []*statusFrame
	lagged   int64 // how many positions it is behind; 0: not
	frames   []*frame
}

func (b batch) isEmpty() bool {
	return b.status == nil && b.services == nil && b.lagged == 0 && b.frames == nil
}

// poll returns what there is, and a channel that is closed when there may be more. It waits only
// when it has to read the table.
func (s *Subscriber) poll(ctx context.Context) (batch, <-chan struct{}) {
	h := s.hub
	h.mu.RLock()
	b, behind, more := s.kept()
	h.mu.RUnlock()
	if behind == 0 {
		return b, more
	}
	if s.keepsUp && behind > 0 {
		b.lagged = behind
	}
	s.keepsUp = false
	var ok bool
	if b.frames, ok = s.page(ctx); !ok {
		s.unsure = s.unsure || behind < 0
	}
	if len(b.frames) > 0 {
		more = closedChannel
	}
	return b, more
}

// kept returns what the hub has. behind is not 0 when the table has to be read. mu must be held.
func (s *Subscriber) kept() (b batch, behind int64, changed <-chan struct{}) {
	h := s.hub
	changed = h.changed
	if s.wants.Status && h.status != nil && h.status.version > s.status {
		b.status, s.status = h.status, h.status.version
	}
	if s.wants.Services {
		for _, f := range h.services {
			if f.version > s.services {
				b.services, s.services = append(b.services, f), f.version
			}
		}
	}
	first := h.head - int64(len(h.frames)) // what comes behind it is kept
	switch {
	case !s.wants.Changes:
	case s.resync != "" || s.at.Epoch != h.epoch:
		reason := s.resync
		if reason == "" {
			reason = reasonForeign
		}
		s.resync, s.at, s.keepsUp = "", live.Position{Epoch: h.epoch, Number: h.head}, true
		b.frames = []*frame{resyncFrame(s.at, reason)}
	case s.unsure:
		s.unsure = false
		behind = -1
	case s.at.Number >= h.head:
		s.keepsUp = true
	case s.at.Number >= first:
		from := int(s.at.Number - first)
		to := min(from+batchSize, len(h.frames))
		b.frames = h.frames[from:to:to]
		if to < len(h.frames) {
			changed = closedChannel
		}
		s.at.Number = h.frames[to-1].number
		s.keepsUp = s.keepsUp || to == len(h.frames)
	default:
		behind = h.head - s.at.Number
	}
	return b, behind, changed
}

// page returns the next frames of the table. Not ok: the database is away, and the next try comes
// with the next news.
func (s *Subscriber) page(ctx context.Context) (frames []*frame, ok bool) {
	h := s.hub
	if frames := s.sharedPage(); frames != nil {
		return frames, true
	}
	select {
	case h.readers <- struct{}{}:
		defer func() { <-h.readers }()
	case <-ctx.Done():
		return nil, false
	case <-h.closed:
		return nil, false
	}
	if frames := s.sharedPage(); frames != nil { // somebody else has read it meanwhile
		return frames, true
	}
	from := s.pageStart()
	changes, now, err := h.options.Source.Read(ctx, from, batchSize)
	if err != nil && from != s.at { // the beginning of the page may be gone
		from = s.at
		changes, now, err = h.options.Source.Read(ctx, from, batchSize)
	}
	if err == nil && s.at.Number > now.Head {
		err = live.ErrAhead
	}
	if reason, missing := resyncReason(err); missing {
		s.at, s.keepsUp = now.Position(), true
		return []*frame{resyncFrame(s.at, reason)}, true
	}
	if err != nil {
		return nil, false
	}
	if frames, err = h.encode(ctx, s.at.Epoch, changes); err != nil {
		return nil, false
	}
	if len(frames) == batchSize { // it will always be the same
		h.pages.Add(from, frames)
	}
	return s.goOn(frames), true
}

// pageStart is where the page begins that holds the next position: all who come back share pages.
func (s *Subscriber) pageStart() live.Position {
	return live.Position{Epoch: s.at.Epoch, Number: s.at.Number / batchSize * batchSize}
}

// sharedPage returns the next frames when somebody has read them already.
func (s *Subscriber) sharedPage() []*frame {
	frames, _ := s.hub.pages.Get(s.pageStart())
	return s.goOn(frames)
}

// goOn takes the frames behind the position that was told last.
func (s *Subscriber) goOn(frames []*frame) []*frame {
	for i, f := range frames {
		if f.number > s.at.Number {
			s.at.Number = frames[len(frames)-1].number
			return frames[i:]
		}
	}
	return nil
}

// messages are those of the WebSockets.
func (b batch) messages() [][]byte {
	var messages [][]byte
	if b.status != nil {
		messages = append(messages, b.status.message)
	}
	for _, f := range b.services {
		messages = append(messages, f.message)
	}
	for _, f := range b.frames {
		if f.message != nil {
			messages = append(messages, f.message)
		}
	}
	return messages
}
