package balancer

import (
	"cmp"
	"math"
	"math/bits"
	"slices"
	"time"
)

// arrange orders one group. Affinity applies to the best group only: a request that
// leaves it finds no cache anyway.
func (p *Pool) arrange(group []Candidate, q *Query, best bool) {
	if len(group) == 1 {
		return
	}
	if best && q.Affinity != 0 && p.Affinity == PromptCache {
		byAffinity(group, q)
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
}

// weightOf is the weight of a backend. One with weight 0 is eligible only for what it
// holds, and counts as 1.
func weightOf(b *Backend) float64 { return float64(max(b.Weight, 1)) }

// byRank orders the group. The ranks, which are not negative, are sorted apart from the
// candidates, which are large: as uint64 bit patterns, which sort alike, with the index of
// the candidate in the lowest bits.
func byRank(group []Candidate) {
	var few [64]uint64
	ranks, mask := few[:0], uint64(1)<<bits.Len(uint(len(group)))-1
	for i := range group {
		ranks = append(ranks, math.Float64bits(group[i].rank)&^mask|uint64(i))
	}
	slices.Sort(ranks)
	for to, rank := range ranks {
		from := int(rank & mask)
		for from < to { // that one was moved to make place
			from = int(ranks[from] & mask)
		}
		group[to], group[from] = group[from], group[to]
	}
}

// byWeight draws an exponential key for each backend, so that the whole order follows
// the weights, whichever of them are skipped later.
func byWeight(group []Candidate, rand func() float64) {
	equal := true
	for i := range group {
		group[i].rank = rand()
		equal = equal && group[i].Backend.Weight == group[0].Backend.Weight
	}
	if !equal { // else the keys are in the order of what was drawn
		for i := range group {
			group[i].rank = -math.Log1p(-group[i].rank) / weightOf(group[i].Backend)
		}
	}
	byRank(group)
}

// roundRobin makes each backend the first in exactly as many of every W consecutive
// requests as it has weight, spread over them; W is the sum of the weights.
func roundRobin(group []Candidate, sequence uint64) {
	var total uint64
	for i := range group {
		total += uint64(weightOf(group[i].Backend))
	}
	at := sequence % total * stride(total) % total
	first := 0
	for ; at >= uint64(weightOf(group[first].Backend)); first++ {
		at -= uint64(weightOf(group[first].Backend))
	}
	rotate(group, first)
}

// stride is the step nearest to the golden ratio of n that visits all of n.
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

// leastBusy is the less loaded of two backends drawn by weight, not the least loaded
// of all: instances do not see each other's load, and would all choose the same.
func leastBusy(group []Candidate, q *Query) {
	byWeight(group, q.Rand)
	if loadPerWeight(&group[1], q) < loadPerWeight(&group[0], q) {
		group[0], group[1] = group[1], group[0]
	}
}

func loadPerWeight(c *Candidate, q *Query) float64 {
	return float64(q.Load.InFlight(c.Backend.Slot)) / weightOf(c.Backend)
}

// lowestLatency draws by weight among the backends within LatencySensitivity of the
// fastest, as Azure Front Door does; the slower ones follow, fastest first. One of
// unknown latency counts as fast, so that its latency becomes known.
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

// loadFactor is how far above its share of the group's requests in flight a backend
// may be and still be preferred by affinity.
const loadFactor = 1.25

// minLoadBound is how many requests in flight are never too many.
const minLoadBound = 16

// byAffinity orders the group by weighted rendezvous hashing. Backends that would be
// overloaded follow the others.
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

// overloadPenalty is more than any rank: -ln of the smallest interval is below 37.
const overloadPenalty = 1e6

// hashName hashes a backend's name into the affinity number: FNV-1a, and a finalizer
// that spreads the last bytes over all bits.
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

// unitInterval maps h to (0, 1].
func unitInterval(h uint64) float64 { return (float64(h>>11) + 1) / (1 << 53) }
