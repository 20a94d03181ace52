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
	Chance      func() float64 // in [0, 1)
	Turn        uint64         // of this pool: grows by one with each request
	Tokens      int64          // estimate of the request
	Geographies []string       // the consumer's fence; empty = none
	MinPriority int            // groups below are kept for others; 0 = none are
	Affinity    uint64         // requests with the same number stay together; 0 = anywhere
	Holder      string         // the backend that holds what the request needs; "" = any can serve
	Stored      bool           // it asks for what is held already, and costs no capacity
	Foreign     bool           // it is none of Azure's operations
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
	line := dst[:0]
	for i := range p.Backends {
		line = append(line, p.Backends[i].candidate(q, s))
	}
	slices.SortStableFunc(line, func(a, b Candidate) int {
		return cmp.Or(cmp.Compare(standing(&a), standing(&b)), cmp.Compare(a.Backend.Priority, b.Backend.Priority))
	})
	d := Decision{Model: p.Model, Version: s.Version, Candidates: line}
	for d.Line < len(line) && line[d.Line].Tried() {
		d.Line++
	}
	best := true
	for rest := line[:d.Line]; len(rest) > 0; best = false {
		n := groupLen(rest)
		p.arrange(rest[:n], q, best)
		probesFirst(rest[:n])
		rest = rest[n:]
	}
	return d
}

// candidate looks at one backend alone.
func (b *Backend) candidate(q *Query, s *health.Snapshot) Candidate {
	c := Candidate{Backend: b}
	h := s.Of(b.Slot)
	switch {
	case len(q.Geographies) > 0 && !slices.Contains(q.Geographies, b.Geography):
		c.Reason = OutsideFence
	case b.Priority < q.MinPriority:
		c.Reason = Reserved
	case q.Foreign && !b.OpenAI:
		c.Reason = Unable
	case q.Holder != "" && b.Name != q.Holder:
		c.Reason = Elsewhere
	case q.Stored:
		if h.Drained {
			c.Reason = health.RefusedDrained
		}
	case b.Weight <= 0 && q.Holder == "": // what a drained backend holds already is still served
		c.Reason = NoWeight
	default:
		c.Reason = h.Refuses(q.Now, q.Tokens)
		c.probe = h.Probe && c.Reason == health.Admitted
		if c.Reason != health.Admitted {
			c.Until = h.Reopens()
		} else if h.Share > 0 && q.Holder == "" && q.Chance()*100 >= float64(h.Share) {
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

// standing is the coarse order: the line, the last resorts, the passed over.
func standing(c *Candidate) int {
	if c.Reason == health.Admitted {
		return 0
	}
	if c.Reason == Recovering {
		return 1
	}
	return 2
}

// groupLen is how many candidates at the head share standing and priority.
func groupLen(line []Candidate) int {
	n := 1
	for n < len(line) && line[n].Backend.Priority == line[0].Backend.Priority && standing(&line[n]) == standing(&line[0]) {
		n++
	}
	return n
}
