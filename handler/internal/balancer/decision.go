package balancer

import (
	"cmp"
	"slices"
	"time"

	"spillway/handler/internal/health"
)

// Query is what a decision depends on, besides the health of the backends.
type Query struct {
	Now         time.Time
	Rand        func() float64 // in [0, 1)
	Sequence    uint64         // number of the request in this pool, for RoundRobin
	Tokens      int64          // estimated
	Model       string         // as the caller named it, in lower case
	Geographies []string       // permitted; empty = all
	MinPriority int            // of the permitted groups; 0 = all
	Affinity    uint64         // hash of what should share a prompt cache; 0 = nothing
	PinnedTo    string         // the only backend that can serve; "" = any can
	ReadsStored bool           // reads stored data, which uses no capacity
	OpenAIOnly  bool           // an operation that Azure OpenAI does not have
	Load        Load
	Unfit       Unfit // nil = every backend is fit
}

// Unfit reports until when, and why, a backend is not to be used for an operation that it
// lately refused, although another backend serves it.
type Unfit func(slot health.Slot) (until time.Time, cause string, unfit bool)

// Load is what this process measured of the backends lately.
type Load interface {
	InFlight(slot health.Slot) int64
	FirstToken(slot health.Slot) time.Duration // recent time to first token; 0 = unknown
}

// Decide orders the backends, best first: groups by ascending priority, each
// ordered by the strategy and by affinity; within a group a backend whose probe this
// instance holds is first. Recovering backends of which this request is not among the
// share that they take follow, then those that were skipped. dst is reused when it is large enough.
func (p *Pool) Decide(q *Query, s *health.Snapshot, dst []Candidate) Decision {
	candidates := slices.Grow(dst[:0], len(p.Backends))
	sorted := true // mostly they are: all are eligible, and listed by priority
	for i := range p.Backends {
		candidates = append(candidates, p.Backends[i].evaluate(q, s))
		sorted = sorted && (i == 0 || inOrder(&candidates[i-1], &candidates[i]) <= 0)
	}
	if !sorted {
		slices.SortStableFunc(candidates, func(a, b Candidate) int { return inOrder(&a, &b) })
	}
	d := Decision{Model: p.Model, Version: s.Version, Candidates: candidates}
	for d.Eligible < len(candidates) && candidates[d.Eligible].Eligible() {
		d.Eligible++
	}
	best := true
	for rest := candidates[:d.Eligible]; len(rest) > 0; best = false {
		n := groupLength(rest)
		p.arrange(rest[:n], q, best)
		probesFirst(rest[:n])
		rest = rest[n:]
	}
	return d
}

// evaluate decides about one backend alone.
func (b *Backend) evaluate(q *Query, s *health.Snapshot) Candidate {
	c := Candidate{Backend: b}
	h := s.Of(b.Slot)
	switch {
	case len(q.Geographies) > 0 && !slices.Contains(q.Geographies, b.Geography):
		c.Reason = OutsideGeographies
	case b.Priority < q.MinPriority:
		c.Reason = ReservedPriority
	case q.OpenAIOnly && !b.OpenAI:
		c.Reason = UnsupportedOperation
	case q.PinnedTo != "" && b.Name != q.PinnedTo:
		c.Reason = NotPinned
	case q.ReadsStored:
		if h.Drained {
			c.Reason = health.SkipDrained
		}
	case b.Weight <= 0 && q.PinnedTo == "": // what only it holds, it serves
		c.Reason = ZeroWeight
	default:
		throttle := h.ThrottleOf(q.Model)
		throttled := throttle.Blocks(q.Now, q.Tokens)
		c.Reason = h.SkipReason(q.Now, q.Tokens)
		c.probe = h.Probe && c.Reason == health.NotSkipped
		c.CircuitOnly = (c.Reason == health.SkipOpen || c.Reason == health.SkipProbing) && !h.Throttle.Blocks(q.Now, q.Tokens) && !throttled
		if c.Reason == health.SkipOpen || c.Reason == health.SkipProbing {
			c.Cause, c.Own = h.Reason, h.Own
		}
		if c.Reason != health.NotSkipped {
			c.Until = h.AvailableAt()
		} else if throttled {
			c.Reason, c.Until = health.SkipThrottled, throttle.Until
		} else if until, cause, unfit := q.unfit(b.Slot); unfit {
			c.Reason, c.Until, c.Cause = UnfitForOperation, until, cause
		} else if h.TrafficPercent > 0 && q.PinnedTo == "" && q.Rand()*100 >= float64(h.TrafficPercent) {
			c.Reason = Recovering
		}
	}
	return c
}

func (q *Query) unfit(slot health.Slot) (until time.Time, cause string, unfit bool) {
	if q.Unfit == nil {
		return time.Time{}, "", false
	}
	return q.Unfit(slot)
}

// inOrder compares the places of candidates: by tier, and then by priority.
func inOrder(a, b *Candidate) int {
	return cmp.Or(cmp.Compare(tier(a), tier(b)), cmp.Compare(a.Backend.Priority, b.Backend.Priority))
}

// probesFirst moves a backend that waits for its probe to the head of its group: the
// whole fleet waits for the result, and the lease is short.
func probesFirst(group []Candidate) {
	if !slices.ContainsFunc(group, func(c Candidate) bool { return c.probe }) {
		return
	}
	slices.SortStableFunc(group, func(a, b Candidate) int {
		switch {
		case a.probe == b.probe:
			return 0
		case a.probe:
			return -1
		}
		return 1
	})
}

// tier sorts candidates before their priority does: what may be tried, what is tried last,
// what is skipped.
func tier(c *Candidate) int {
	if c.Reason == health.NotSkipped {
		return 0
	}
	if c.Reason == Recovering {
		return 1
	}
	return 2
}

// groupLength is how many candidates at the head share tier and priority.
func groupLength(candidates []Candidate) int {
	n := 1
	for n < len(candidates) && candidates[n].Backend.Priority == candidates[0].Backend.Priority && tier(&candidates[n]) == tier(&candidates[0]) {
		n++
	}
	return n
}

// Reasons of this package to skip a candidate, or to try it last.
const (
	OutsideGeographies   health.SkipReason = "outside the consumer's geographies"
	ReservedPriority     health.SkipReason = "priority group reserved for other consumers"
	ZeroWeight           health.SkipReason = "weight 0"
	NotPinned            health.SkipReason = "does not hold what the request refers to"
	UnsupportedOperation health.SkipReason = "no OpenAI-compatible backend, which alone may know this operation"
	UnfitForOperation    health.SkipReason = "misconfigured for this operation"
	Recovering           health.SkipReason = "recovering, takes a share only" // tried last, not skipped
)

// Candidate is a backend with the reason for its place.
type Candidate struct {
	Backend *Backend
	Reason  health.SkipReason // "" = none: it is tried in its place
	Until   time.Time         // when the reason ends; zero = unknown or never
	// CircuitOnly is that its circuit alone keeps it out: it is neither drained nor
	// throttled, and may be tried when no other backend is left.
	CircuitOnly bool
	Cause       string // of a circuit that keeps it out, for people: "503", "401"
	Own         bool   // that circuit is this instance's own, and binds no other

	rank  float64 // within its group, lowest first
	probe bool    // its probe is this instance's
}

// Eligible reports whether the candidate may be tried.
func (c *Candidate) Eligible() bool { return c.Reason == health.NotSkipped || c.Reason == Recovering }

// Permits reports whether a consumer with these bounds may use the backend: its
// geographies (empty = all) and its least priority (0 = all groups).
func (b *Backend) Permits(geographies []string, minPriority int) bool {
	return (len(geographies) == 0 || slices.Contains(geographies, b.Geography)) && b.Priority >= minPriority
}

// Decision is the order in which a request tries backends, and why. The log, the
// explain header and the status page show it.
type Decision struct {
	Model      string
	Version    uint64      // of the snapshot
	Candidates []Candidate // the eligible ones first, in order
	Eligible   int         // how many are eligible
}

// ConstrainedOut reports whether every backend was skipped for what the request or
// its consumer requires, so that neither waiting nor retrying helps.
func (d *Decision) ConstrainedOut() bool {
	return !slices.ContainsFunc(d.Candidates, func(c Candidate) bool {
		return !slices.Contains([]health.SkipReason{OutsideGeographies, ReservedPriority, NotPinned, UnsupportedOperation}, c.Reason)
	})
}

// ReopensAt is when the first skipped candidate becomes available; zero when that is
// unknown. With throttledOnly, it considers throttled candidates alone.
func (d *Decision) ReopensAt(throttledOnly bool) time.Time {
	var soonest time.Time
	for i := range d.Candidates {
		c := &d.Candidates[i]
		if c.Until.IsZero() || throttledOnly && c.Reason != health.SkipThrottled {
			continue
		}
		if soonest.IsZero() || c.Until.Before(soonest) {
			soonest = c.Until
		}
	}
	return soonest
}
