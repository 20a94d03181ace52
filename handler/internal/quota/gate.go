package quota

import "sync/atomic"

// gate counts a consumer's requests under way on this instance, which is what
// their limit is about.
type gate struct{ inside atomic.Int64 }

// enter lets a request in unless as many as the limit are inside already; a
// limit of 0 is none. leave must be called once.
func (g *gate) enter(limit int) (leave func(), ok bool) {
	if limit <= 0 {
		return func() {}, true
	}
	if g.inside.Add(1) > int64(limit) {
		g.inside.Add(-1)
		return nil, false
	}
	return func() { g.inside.Add(-1) }, true
}
