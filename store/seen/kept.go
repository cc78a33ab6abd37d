package seen

import (
	"sync"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// cache keeps what was used last, within a number of bytes. It is safe for concurrent use.
type cache[K comparable, V any] struct {
	mostBytes int

	mu    sync.Mutex // guards the fields below
	kept  *simplelru.LRU[K, sized[V]]
	bytes int
}

type sized[V any] struct {
	value V
	bytes int
}

func newCache[K comparable, V any](mostBytes int) *cache[K, V] {
	c := &cache[K, V]{mostBytes: mostBytes}
	kept, err := simplelru.NewLRU(mostBytes, func(_ K, gone sized[V]) { c.bytes -= gone.bytes })
	if err != nil {
		panic(err) // only for a size below 1
	}
	c.kept = kept
	return c
}

func (c *cache[K, V]) get(key K) (V, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	found, ok := c.kept.Get(key)
	return found.value, ok
}

// add keeps a value of about so many bytes, together with its key, unless it is too large to leave
// room for some others.
func (c *cache[K, V]) add(key K, value V, bytes int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.kept.Remove(key)
	if bytes > c.mostBytes/8 {
		return
	}
	c.kept.Add(key, sized[V]{value, bytes})
	c.bytes += bytes
	for c.bytes > c.mostBytes {
		c.kept.RemoveOldest()
	}
}

// Form is the form in which clients get something that was read. For what is kept it is made once.
// It is safe for concurrent use, and nil for what is not kept.
type Form struct {
	once sync.Once
	body []byte
	err  error
}

// Of returns what encode makes, which is always of the same thing and is not changed later.
func (f *Form) Of(encode func() ([]byte, error)) ([]byte, error) {
	if f == nil {
		return encode()
	}
	f.once.Do(func() { f.body, f.err = encode() })
	return f.body, f.err
}
