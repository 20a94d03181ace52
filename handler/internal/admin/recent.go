package admin

import (
	"sync"
	"time"

	"spillway/handler/internal/api"
	"spillway/handler/internal/health"
	"spillway/handler/internal/proxy"
)

var _ api.Watcher = (*Recent)(nil)

// Recent is what this instance remembers of its requests: the last decisions
// one by one, the last minute in sums, and the last changes of the backends'
// state. It is bounded, and forgets everything with the process. It is safe for
// concurrent use.
type Recent struct {
	now     func() time.Time
	slots   []minute
	full    []fullness // by slot
	callers callers

	mu   sync.Mutex
	ring []decision // in the order of arrival, around next
	next int
	seen uint64

	turned changes
}

// NewRecent remembers up to keep decisions over so many slots.
func NewRecent(slots, keep int, now func() time.Time) *Recent {
	return &Recent{now: now, slots: make([]minute, slots), full: make([]fullness, slots), ring: make([]decision, keep)}
}

// Saw remembers a request that is over.
func (r *Recent) Saw(x *api.Exchange) {
	r.count(x)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ring[r.next].take(x)
	r.next = (r.next + 1) % len(r.ring)
	r.seen++
}

// count folds the exchange into the sums of the last minute.
func (r *Recent) count(x *api.Exchange) {
	end := x.Began.Add(x.Took)
	c := counts{Attempts: 1}
	if x.Result != nil {
		c.Served, c.Tokens = one(x.Result.ServedBy != nil), x.Result.Delivery.Usage.Total()
		for i := range x.Result.Attempts {
			r.attempt(x.Result, i, end)
		}
	}
	if x.Consumer != nil {
		c.Throttled = one(x.Code == "quota_exceeded")
		r.callers.add(x.Consumer.Name, end, c)
	}
}

func (r *Recent) attempt(story *proxy.Result, i int, end time.Time) {
	a := &story.Attempts[i]
	slot := int(a.Backend.Slot)
	if slot < 0 || slot >= len(r.slots) {
		return
	}
	c, first := counts{Attempts: 1}, noToken
	switch a.Outcome.Verdict {
	case health.Throttled:
		c.Throttled = 1
	case health.Failed, health.Misconfigured:
		c.Failed = 1
	case health.Served, health.Abandoned:
	}
	if i == len(story.Attempts)-1 && a.Backend == story.ServedBy {
		c.Served, c.Tokens = 1, story.Delivery.Usage.Total()
		if at := story.Delivery.FirstToken; !at.IsZero() {
			first = max(at.Sub(a.Began), 0)
		}
	}
	r.slots[slot].add(end, c, first)
	r.full[slot].saw(end, a.Outcome.Signals)
}

// noToken is the time to the first token where there was none.
const noToken = time.Duration(-1)

func one(yes bool) int64 {
	if yes {
		return 1
	}
	return 0
}
