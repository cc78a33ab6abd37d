package pictures

import (
	"sync"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// blob is a small file in memory. It never changes.
type blob struct {
	data      []byte
	mediaType string
	etag      string
	immutable bool
}

// cache keeps what was used last, up to so many bytes.
type cache[T any] struct {
	maxBytes int
	size     func(T) int

	mu    sync.Mutex
	bytes int                       // guarded by mu
	kept  *simplelru.LRU[string, T] // guarded by mu
}

// entryBytes is what an entry costs beside its content, about.
const entryBytes = 512

func newCache[T any](maxBytes int, size func(T) int) *cache[T] {
	c := &cache[T]{maxBytes: maxBytes, size: size}
	evicted := func(_ string, value T) { c.bytes -= size(value) + entryBytes }
	kept, err := simplelru.NewLRU(maxBytes/entryBytes, evicted)
	if err != nil {
		panic(err) // only for a size below 1
	}
	c.kept = kept
	return c
}

func (c *cache[T]) get(key string) (T, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.kept.Get(key)
}

func (c *cache[T]) add(key string, value T) {
	size := c.size(value) + entryBytes
	if size > c.maxBytes/4 {
		return // it would drive out all others
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.kept.Remove(key)
	c.kept.Add(key, value)
	c.bytes += size
	for c.bytes > c.maxBytes {
		c.kept.RemoveOldest()
	}
}
