package server

import (
	"net/netip"
	"strconv"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// Bounds of what is remembered about wrong keys.
const (
	// triesPerMinute is how many wrong keys of a client are answered with 401 in a minute, and how
	// many different ones make it a guesser.
	triesPerMinute                    = 10
	triesWindow                       = time.Minute
	rememberedClients, rememberedKeys = 4096, 1024
	// refusalsPerMinute bounds the audit entries of all clients together.
	refusalsPerMinute = 60
)

// tries limits the wrong keys of each client. A wrong key beyond the limit is told to come later; a
// right key is refused only to a client that is guessing, which sends many different ones, and has
// not sent this key before: a program that goes on with an old key locks out nobody behind the same
// address. What is remembered is bounded, and forgetting refuses nobody.
type tries struct {
	limit int

	mu      sync.Mutex
	clients *simplelru.LRU[string, *clientTries] // guarded by mu
	known   *simplelru.LRU[knownKey, struct{}]   // guarded by mu; keys that were right
	since   time.Time                            // guarded by mu; of refused
	refused int                                  // guarded by mu; audit entries since then
}

type clientTries struct {
	since  time.Time
	failed int
	wrong  map[keyHash]struct{} // different ones, up to the limit
}

type knownKey struct {
	client string
	key    keyHash
}

func newTries(limit int) *tries {
	if limit == 0 {
		limit = triesPerMinute
	}
	clients, clientsErr := simplelru.NewLRU[string, *clientTries](rememberedClients, nil)
	known, knownErr := simplelru.NewLRU[knownKey, struct{}](rememberedKeys, nil)
	if clientsErr != nil || knownErr != nil {
		panic("tries: sizes below 1")
	}
	return &tries{limit: limit, clients: clients, known: known}
}

// right returns how long a client with a right key has to wait: not at all unless it is guessing.
func (t *tries) right(ip string, key keyHash, now time.Time) (wait time.Duration) {
	client := clientOf(ip)
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.known.Contains(knownKey{client, key}) {
		t.known.Add(knownKey{client, key}, struct{}{})
		return 0
	}
	if found, ok := t.clients.Get(client); ok && found.isOf(now) && len(found.wrong) >= t.limit {
		return found.since.Add(triesWindow).Sub(now)
	}
	t.known.Add(knownKey{client, key}, struct{}{})
	return 0
}

// wrong counts a wrong key and returns how long its client has to wait, and whether this is to be
// put on record.
func (t *tries) wrong(ip string, key keyHash, now time.Time) (wait time.Duration, record bool) {
	client := clientOf(ip)
	t.mu.Lock()
	defer t.mu.Unlock()
	found, ok := t.clients.Get(client)
	if !ok || !found.isOf(now) {
		found = &clientTries{since: now, wrong: map[keyHash]struct{}{}}
		t.clients.Add(client, found)
		record = t.mayRecord(now)
	}
	found.failed++
	if len(found.wrong) < t.limit {
		found.wrong[key] = struct{}{}
	}
	if found.failed > t.limit {
		wait = found.since.Add(triesWindow).Sub(now)
	}
	return wait, record
}

// isOf tells whether now is in the minute of the tries. A clock that was set back begins a new one.
func (c *clientTries) isOf(now time.Time) bool {
	passed := now.Sub(c.since)
	return passed >= 0 && passed < triesWindow
}

func (t *tries) mayRecord(now time.Time) bool {
	if passed := now.Sub(t.since); passed < 0 || passed >= triesWindow {
		t.since, t.refused = now, 0
	}
	t.refused++
	return t.refused <= refusalsPerMinute
}

// clientOf is what counts as one client: an address, or the network that a home gets of IPv6, of
// which it may use any address.
func clientOf(ip string) string {
	address, err := netip.ParseAddr(ip)
	if err != nil || address.Is4() {
		return ip
	}
	const homeBits = 64
	network, err := address.WithZone("").Prefix(homeBits)
	if err != nil {
		return ip
	}
	return network.String()
}

// wholeSeconds rounds up, as Retry-After needs it.
func wholeSeconds(d time.Duration) string {
	return strconv.FormatInt(max(1, int64((d+time.Second-1)/time.Second)), 10)
}
