package balancer

import "math"

// loadFactor is how far above its fair share of the group's requests in flight
// a backend may be and still be given more for affinity's sake.
const loadFactor = 1.25

// minLoadBound is how many requests in flight are no crowd, whatever the others have:
// with few in flight, shares of them say nothing.
const minLoadBound = 16

// byAffinity orders the group by weighted rendezvous with the affinity number,
// so that its owner is the head, and whoever it falls to without the owner the
// next. Those that would be overloaded stand behind the others.
func byAffinity(group []Candidate, q *Query) {
	var inFlight, weight float64
	for i := range group {
		inFlight += float64(q.Load.InFlight(group[i].Backend.Slot))
		weight += weightOf(group[i].Backend)
	}
	for i := range group {
		c := &group[i]
		own := weightOf(c.Backend)
		c.rank = -math.Log(unitInterval(hashName(q.Affinity, c.Backend.Name))) / own
		fair := (inFlight + 1) * own / weight
		if float64(q.Load.InFlight(c.Backend.Slot))+1 > max(math.Ceil(fair*loadFactor), minLoadBound) {
			c.rank += overloadPenalty
		}
	}
	byRank(group)
}

// overloadPenalty is more than any rank: -ln of the smallest unit is under 37.
const overloadPenalty = 1e6

// hashName hashes a backend's name into the affinity number (FNV-1a, then a finish
// that spreads the last bytes over all bits).
func hashName(affinity uint64, name string) uint64 {
	h := affinity ^ 14695981039346656037
	for i := range len(name) {
		h = (h ^ uint64(name[i])) * 1099511628211
	}
	h ^= h >> 33
	h *= 0xff51afd7ed558ccd
	h ^= h >> 33
	h *= 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}

// unitInterval maps to (0, 1].
func unitInterval(h uint64) float64 { return (float64(h>>11) + 1) / (1 << 53) }
