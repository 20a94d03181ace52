package balancer

import (
	"cmp"
	"math"
	"slices"
	"time"
)

// arrange orders one group in place. Affinity bends the best group only: a
// request that has to leave it has lost its cache anyway.
func (p *Pool) arrange(group []Candidate, q *Query, best bool) {
	if len(group) == 1 {
		return
	}
	switch p.Strategy {
	case Weighted:
		byWeight(group, q.Rand)
	case RoundRobin:
		roundRobin(group, q.Sequence)
	case LeastBusy:
		leastBusy(group, q)
	case LowestLatency:
		p.lowestLatency(group, q)
	}
	if best && q.Affinity != 0 && p.Affinity == PromptCache {
		byAffinity(group, q)
	}
}

// weightOf is a backend's weight. One without any is in the line only for what it
// holds already, and then counts like the least.
func weightOf(b *Backend) float64 { return float64(max(b.Weight, 1)) }

func byRank(group []Candidate) {
	slices.SortFunc(group, func(a, b Candidate) int { return cmp.Compare(a.rank, b.rank) })
}

// byWeight draws an exponential key for each, so that the whole order follows
// the weights, whoever drops out of it.
func byWeight(group []Candidate, chance func() float64) {
	for i := range group {
		group[i].rank = -math.Log1p(-chance()) / weightOf(group[i].Backend)
	}
	byRank(group)
}

// roundRobin gives turn n of every W consecutive turns to each backend exactly as
// often as it has weight, spread over the W turns; the others follow in order.
func roundRobin(group []Candidate, turn uint64) {
	var total uint64
	for i := range group {
		total += uint64(weightOf(group[i].Backend))
	}
	at := turn % total * stride(total) % total
	first := 0
	for ; at >= uint64(weightOf(group[first].Backend)); first++ {
		at -= uint64(weightOf(group[first].Backend))
	}
	rotate(group, first)
}

// stride is the step nearest to the golden section that visits all of n.
func stride(n uint64) uint64 {
	step := uint64(float64(n) * (math.Sqrt(5) - 1) / 2)
	for step > 1 && gcd(step, n) != 1 {
		step--
	}
	return max(step, 1)
}

func gcd(a, b uint64) uint64 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

func rotate(group []Candidate, first int) {
	slices.Reverse(group[:first])
	slices.Reverse(group[first:])
	slices.Reverse(group)
}

// leastBusy is the better of two drawn by weight: fewest in flight for its
// weight. Of two choices, not the minimum of all: instances that do not see
// each other's load would all run to the same one.
func leastBusy(group []Candidate, q *Query) {
	byWeight(group, q.Rand)
	if loadPerWeight(&group[1], q) < loadPerWeight(&group[0], q) {
		group[0], group[1] = group[1], group[0]
	}
}

func loadPerWeight(c *Candidate, q *Query) float64 {
	return float64(q.Load.InFlight(c.Backend.Slot)) / weightOf(c.Backend)
}

// lowestLatency is Front Door's rule: all within the sensitivity of the
// fastest share by weight, the slower ones follow, fastest first. One whose
// latency is unknown counts as fast, or it would never be known.
func (p *Pool) lowestLatency(group []Candidate, q *Query) {
	fastest := time.Duration(math.MaxInt64)
	for i := range group {
		if known := q.Load.FirstToken(group[i].Backend.Slot); known > 0 {
			fastest = min(fastest, known)
		}
	}
	excess := func(c *Candidate) time.Duration {
		known := q.Load.FirstToken(c.Backend.Slot)
		if known-fastest <= p.LatencySensitivity {
			return 0
		}
		return known
	}
	byWeight(group, q.Rand)
	slices.SortStableFunc(group, func(a, b Candidate) int { return cmp.Compare(excess(&a), excess(&b)) })
}

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
