package quota

import "sync/atomic"

// concurrencyLimit counts a consumer's requests under way on this instance, which is what
// their limit is about.
type concurrencyLimit struct{ inFlight atomic.Int64 }

// acquire lets a request in unless as many as the limit are inside already; a
// limit of 0 is none. leave must be called once.
func (g *concurrencyLimit) acquire(limit int) (leave func(), ok bool) {
	if limit <= 0 {
		return func() {}, true
	}
	if g.inFlight.Add(1) > int64(limit) {
		g.inFlight.Add(-1)
		return nil, false
	}
	return func() { g.inFlight.Add(-1) }, true
}
