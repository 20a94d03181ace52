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
	Sequence    uint64         // of this pool: grows by one with each request
	Tokens      int64          // estimate of the request
	Geographies []string       // the consumer's fence; empty = none
	MinPriority int            // groups below are kept for others; 0 = none are
	Affinity    uint64         // requests with the same number stay together; 0 = anywhere
	PinnedTo    string         // the backend that holds what the request needs; "" = any can serve
	ReadsStored bool           // it asks for what is held already, and costs no capacity
	OpenAIOnly  bool           // it is none of Azure's operations
	Load        Load
}

// Load is what this process has seen of the backends lately.
type Load interface {
	InFlight(slot health.Slot) int64
	FirstToken(slot health.Slot) time.Duration // recent time to first token; 0 = unknown
}

// Decide puts the backends worth trying in order, best first: groups by
// ascending priority, each arranged by the pool's strategy and bent by
// affinity, behind those whose probe this instance holds; then those that may only be a last resort; then, with the reason,
// those passed over. dst is reused when it is large enough.
func (p *Pool) Decide(q *Query, s *health.Snapshot, dst []Candidate) Decision {
	candidates := dst[:0]
	for i := range p.Backends {
		candidates = append(candidates, p.Backends[i].evaluate(q, s))
	}
	slices.SortStableFunc(candidates, func(a, b Candidate) int {
		return cmp.Or(cmp.Compare(tier(&a), tier(&b)), cmp.Compare(a.Backend.Priority, b.Backend.Priority))
	})
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

// evaluate looks at one backend alone.
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
	case b.Weight <= 0 && q.PinnedTo == "": // what a drained backend holds already is still served
		c.Reason = ZeroWeight
	default:
		c.Reason = h.SkipReason(q.Now, q.Tokens)
		c.probe = h.Probe && c.Reason == health.NotSkipped
		if c.Reason != health.NotSkipped {
			c.Until = h.AvailableAt()
		} else if h.Share > 0 && q.PinnedTo == "" && q.Rand()*100 >= float64(h.Share) {
			c.Reason = Recovering
		}
	}
	return c
}

// probesFirst puts a backend that waits for its probe ahead of its group: the
// whole fleet waits with it, and the lease ends soon. One request is enough.
func probesFirst(group []Candidate) {
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

// tier is the coarse order: the line, the last resorts, the passed over.
func tier(c *Candidate) int {
	if c.Reason == health.NotSkipped {
		return 0
	}
	if c.Reason == Recovering {
		return 1
	}
	return 2
}

// groupLength is how many candidates at the head share standing and priority.
func groupLength(line []Candidate) int {
	n := 1
	for n < len(line) && line[n].Backend.Priority == line[0].Backend.Priority && tier(&line[n]) == tier(&line[0]) {
		n++
	}
	return n
}

// Reasons for which a candidate is passed over that are not its health.
const (
	OutsideGeographies   health.SkipReason = "outside the consumer's geographies"
	ReservedPriority     health.SkipReason = "priority group reserved for other consumers"
	ZeroWeight           health.SkipReason = "weight 0"
	NotPinned            health.SkipReason = "does not hold what the request refers to"
	UnsupportedOperation health.SkipReason = "no OpenAI-compatible backend, which alone may know this operation"
	Recovering           health.SkipReason = "recovering, takes a share only" // placed last, not skipped
)

// Candidate is a backend with the reason it was placed or passed over.
type Candidate struct {
	Backend *Backend
	Reason  health.SkipReason // "" = placed by priority and strategy
	Until   time.Time         // when a health reason ends; zero = unknown or none
	rank    float64           // inside its group, lowest first
	probe   bool              // this request may be its probe
}

// Eligible reports whether the candidate is in the line at all.
func (c *Candidate) Eligible() bool { return c.Reason == health.NotSkipped || c.Reason == Recovering }

// Permits reports whether a consumer with these bounds may use the backend: its
// geographies (empty = all) and its least priority (0 = all groups).
func (b *Backend) Permits(geographies []string, minPriority int) bool {
	return (len(geographies) == 0 || slices.Contains(geographies, b.Geography)) && b.Priority >= minPriority
}

// Decision is who is tried in which order, and why. The log, the explain
// header and the status page print this same value.
type Decision struct {
	Model      string
	Version    uint64      // of the snapshot it was made on
	Candidates []Candidate // the line first, then those passed over
	Eligible   int         // how many are in the line
}

// ConstrainedOut reports whether every backend that could serve was passed over for
// the consumer's own rules, so that neither waiting nor retrying can help.
func (d *Decision) ConstrainedOut() bool {
	return !slices.ContainsFunc(d.Candidates, func(c Candidate) bool {
		return !slices.Contains([]health.SkipReason{OutsideGeographies, ReservedPriority, NotPinned, UnsupportedOperation}, c.Reason)
	})
}

// ReopensAt is the soonest instant at which a passed-over candidate may be worth
// another look; zero when none is known. throttledOnly looks at those alone
// that asked to be left alone.
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
