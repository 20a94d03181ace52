package ledger

import "sync/atomic"

// gate counts a consumer's requests under way on this instance.
type gate struct{ inside atomic.Int64 }

// enter lets a request in unless this instance's share of the limit is inside
// already. leave must be called once.
func (g *gate) enter(limit, instances int) (leave func(), ok bool) {
	if limit <= 0 {
		return func() {}, true
	}
	share := int64((limit + instances - 1) / instances)
	if g.inside.Add(1) > share {
		g.inside.Add(-1)
		return nil, false
	}
	return func() { g.inside.Add(-1) }, true
}

// instances is how many instances share a limit on requests at once.
func (l *Ledger) instances() int {
	if l.cfg.Fleet == nil {
		return 1
	}
	return max(1, l.cfg.Fleet())
}
