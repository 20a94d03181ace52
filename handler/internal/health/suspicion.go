package health

import (
	"cmp"
	"slices"
)

// MaxSuspicions bounds the list of a circuit: as many instances as can matter
// for any sum that opens it.
const MaxSuspicions = 32

// Suspicion is an instance's evidence against a backend that is too thin to
// open the circuit by itself. It is published because the sum over the fleet may
// do what no single instance can. The zero Suspicion is none.
type Suspicion struct {
	Reporter string // short id of the instance
	Since    int64  // its first failure of those that it counts
	At       int64  // its newest failure
	Failures int
}

// suspect returns c with the reporter's suspicion in place of its former one.
func (c Circuit) suspect(s Suspicion, now TimeBounds) Circuit {
	if sum, _ := c.current(now); sum == 0 {
		c.SuspectedAt = now.Latest
	}
	kept := slices.DeleteFunc(slices.Clone(c.Suspicions), func(o Suspicion) bool { return o.Reporter == s.Reporter })
	kept = append(kept, s)
	slices.SortFunc(kept, func(a, b Suspicion) int { return cmp.Or(cmp.Compare(a.At, b.At), cmp.Compare(a.Reporter, b.Reporter)) })
	c.Suspicions = kept[max(0, len(kept)-MaxSuspicions):]
	return c
}

// hasSuspicion reports whether the suspicion is in the list already.
func (c Circuit) hasSuspicion(s Suspicion) bool { return slices.Contains(c.Suspicions, s) }

// current are the suspicions that count: not voided by a later objection, and no
// older than the failures of a run. Where nobody was served since they were written,
// they are a run of the fleet, however rare its requests are.
func (c Circuit) current(now TimeBounds) (sum int, first int64) {
	for _, s := range c.Suspicions {
		if !c.counts(s, now) {
			continue
		}
		sum += s.Failures
		if first == 0 || s.Since < first {
			first = s.Since
		}
	}
	return sum, first
}

func (c Circuit) counts(s Suspicion, now TimeBounds) bool {
	return s.At > now.Earliest-MaxRunAge.Milliseconds() && s.Since > c.LastObjection
}

// SuspectedSince is the instant from which an objection would say something new: of the
// first suspicion that counts, or of the opening; 0 = there is nothing to object to.
func (c Circuit) SuspectedSince(now TimeBounds) int64 {
	if c.State != Closed {
		return c.Since
	}
	_, first := c.current(now)
	return first
}

// openedBySum reports whether the suspicions open the circuit: they add up to
// the policy's failures, and the first of them was written grace milliseconds ago,
// the time in which an instance that is being served would have objected.
func (c Circuit) openedBySum(now TimeBounds, p BreakerPolicy, grace int64) bool {
	sum, _ := c.current(now)
	return sum >= p.Failures && now.Earliest >= c.SuspectedAt+grace
}

// object records that an instance was served by an attempt that began at began:
// what came before is void, and the circuit is closed without a ramp.
func (c Circuit) object(began int64, now TimeBounds) Circuit {
	if c.State != Closed {
		c = c.Reset(now)
	}
	c.LastObjection = max(c.LastObjection, began)
	c.Suspicions = slices.DeleteFunc(slices.Clone(c.Suspicions), func(s Suspicion) bool { return s.Since <= c.LastObjection })
	if len(c.Suspicions) == 0 {
		c.Suspicions = nil
	}
	if _, first := c.current(now); first > c.SuspectedAt {
		c.SuspectedAt = first // what is left must stand as long
	}
	return c
}
