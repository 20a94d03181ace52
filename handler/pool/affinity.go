package pool

import "math"

// loadBound is how far above its fair share of the group's requests in flight
// a backend may be and still be given more for affinity's sake.
const loadBound = 1.25

// stayTogether moves the backend that owns the affinity number by weighted
// rendezvous to the head, unless that would overload it: then the next owner.
func stayTogether(group []Candidate, q *Query) {
	var inFlight, weight float64
	for i := range group {
		c := &group[i]
		c.rank = -math.Log(unit(mix(q.Affinity, c.Backend.Name))) / float64(c.Backend.Weight)
		inFlight += float64(q.Load.InFlight(c.Backend.Slot))
		weight += float64(c.Backend.Weight)
	}
	owner := -1
	for i := range group {
		c := &group[i]
		fair := (inFlight + 1) * float64(c.Backend.Weight) / weight
		crowded := float64(q.Load.InFlight(c.Backend.Slot))+1 > math.Ceil(fair*loadBound)
		if !crowded && (owner < 0 || c.rank < group[owner].rank) {
			owner = i
		}
	}
	if owner > 0 {
		mine := group[owner]
		copy(group[1:owner+1], group[:owner])
		group[0] = mine
	}
}

// mix hashes a backend's name into the affinity number (FNV-1a, then a finish
// that spreads the last bytes over all bits).
func mix(affinity uint64, name string) uint64 {
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

// unit maps to (0, 1].
func unit(h uint64) float64 { return (float64(h>>11) + 1) / (1 << 53) }
