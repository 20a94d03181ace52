package telemetry

import "sync"

// cache finds the value of a key without allocating once it is made. It is for a few
// thousand keys that come from configuration.
type cache[K comparable, V any] struct {
	mu      sync.RWMutex
	entries map[K]*V
}

// maxEntries bounds a cache: beyond it, it starts over.
const maxEntries = 16384

func (c *cache[K, V]) get(key K, make func(K) *V) *V {
	c.mu.RLock()
	v, ok := c.entries[key]
	c.mu.RUnlock()
	if ok {
		return v
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if v, ok := c.entries[key]; ok {
		return v
	}
	if c.entries == nil || len(c.entries) >= maxEntries {
		c.entries = map[K]*V{}
	}
	v = make(key)
	c.entries[key] = v
	return v
}
