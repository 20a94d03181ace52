package telemetry

import (
	"maps"
	"sync"
	"sync/atomic"
)

// cache finds the value of a key without a lock and without allocating once it
// is made. It is for a few thousand keys that come from configuration.
type cache[K comparable, V any] struct {
	entries atomic.Pointer[map[K]*V]
	mu      sync.Mutex
}

// maxEntries bounds a cache: beyond it, it starts over.
const maxEntries = 4096

func (c *cache[K, V]) get(key K, make func(K) *V) *V {
	if made := c.entries.Load(); made != nil {
		if v, ok := (*made)[key]; ok {
			return v
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	next := map[K]*V{}
	if made := c.entries.Load(); made != nil {
		if v, ok := (*made)[key]; ok {
			return v
		}
		if len(*made) < maxEntries {
			next = maps.Clone(*made)
		}
	}
	v := make(key)
	next[key] = v
	c.entries.Store(&next)
	return v
}
