package admin

import (
	"sync"
	"time"
)

// maxCallers bounds how many consumers are counted apart.
const maxCallers = 1000

// callers is the last minute by consumer. The zero callers has seen nobody.
type callers struct {
	mu sync.RWMutex
	by map[string]*minute
}

func (c *callers) add(name string, at time.Time, n counts) {
	if m := c.of(name); m != nil {
		m.add(at, n, noToken)
	}
}

// of is the consumer's minute, made when it is new; nil when there are too many.
func (c *callers) of(name string) *minute {
	c.mu.RLock()
	m := c.by[name]
	c.mu.RUnlock()
	if m != nil {
		return m
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if m = c.by[name]; m == nil && len(c.by) < maxCallers {
		if c.by == nil {
			c.by = map[string]*minute{}
		}
		m = new(minute)
		c.by[name] = m
	}
	return m
}

func (c *callers) sum(name string, now time.Time) counts {
	c.mu.RLock()
	m := c.by[name]
	c.mu.RUnlock()
	if m == nil {
		return counts{}
	}
	n, _ := m.sum(now)
	return n
}
