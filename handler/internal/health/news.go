package health

// News is what one instance has to say about a backend × model that the table
// may not know yet. The zero News says nothing. Folding it in again, or into
// what others wrote meanwhile, is harmless: what the record says already, or
// what belongs to an older epoch, changes nothing.
type News struct {
	Owner   string    // the instance's name as an owner of leases
	Accuser string    // … and as an accuser, short
	Windows Windows   // waits it was told
	Mark    Mark      // how full it saw the backend; At 0 = did not look
	Epoch   Circuit   // the circuit in which the four below were seen: only its epoch counts
	Batch   Suspect   // failures; Failures 0 = none
	Condemn bool      // the backend is misconfigured
	Served  int64     // when it was last served without failures besides; 0 = it was not
	Claim   bool      // it wants the probe of a cooled circuit
	Probe   ProbeNews // what became of the probe that it holds
	Lease   uint64    // the lease of that probe, in the incarnation of Epoch
	Poison  bool      // the stored record cannot be read
}

// ProbeNews is what became of a probe.
type ProbeNews uint8

// The news of a probe. The zero value is none: it is under way, or was none.
const (
	NoProbe        ProbeNews = iota
	ProbeServed              // it was answered: close the circuit
	ProbeFailed              // open it again
	ProbeCondemned           // open it for long: misconfigured
	ProbeReturned            // no request came for it: somebody else may
	ProbeLasting             // it takes long: renew the lease
)

// Policy is what the rules are to be applied with.
type Policy struct {
	Breaker  BreakerPolicy
	Throttle ThrottlePolicy
}

// Apply is the record after the news, and whether it differs: healthy traffic
// writes nothing. At most one transition of the circuit is made.
func (r Record) Apply(n News, now Span, p BreakerPolicy) (Record, bool) {
	next := r
	next.Windows = r.Windows.Told(n.Windows, now.Mid())
	if n.Mark.At > 0 && r.Mark.News(n.Mark) {
		next.Mark = r.Mark.Join(n.Mark)
	}
	next.Circuit = n.turn(r.Circuit, now, p)
	return next, n.Poison || next.Windows != r.Windows || next.Mark != r.Mark || !next.Circuit.Equal(r.Circuit)
}

// turn is the circuit after the news.
func (n News) turn(c Circuit, now Span, p BreakerPolicy) Circuit {
	switch {
	case n.Poison:
		return c.Quarantine(now, p)
	case n.holds(c):
		return n.finish(c, now, p)
	case n.Claim && c.Lapsed(now):
		return c.Lapse(now)
	case n.Claim && c.Cooled(now):
		return c.Claim(n.Owner, now, p)
	case n.Condemn && n.Epoch.SameEpoch(c):
		return c.Condemn(now, p)
	case c.Phase == Closed && n.Epoch.SameEpoch(c):
		return n.judge(c, now, p)
	}
	return c
}

// holds reports whether the circuit is half-open by the very lease that the
// news is about: a result published under any other would be another probe's.
func (n News) holds(c Circuit) bool {
	return n.Probe != NoProbe && c.Phase == HalfOpen && c.Owner == n.Owner &&
		c.Lease == n.Lease && c.Incarnation == n.Epoch.Incarnation
}

func (n News) finish(c Circuit, now Span, p BreakerPolicy) Circuit {
	switch n.Probe {
	case ProbeServed:
		return c.Heal(now)
	case ProbeFailed:
		return c.Relapse(now, p)
	case ProbeCondemned:
		return c.Condemn(now, p)
	case ProbeReturned:
		return c.GiveBack(now)
	case ProbeLasting:
		return c.Renew(now, p)
	case NoProbe:
	}
	return c
}

// judge adds what this instance says to what the others said of a closed
// circuit, and trips it when that is enough. Only an accuser trips it, so that
// the whole fleet does not write at once when a hearing ends.
func (n News) judge(c Circuit, now Span, p BreakerPolicy) Circuit {
	if n.Batch.Failures > 0 && !c.Accused(n.Batch) {
		c = c.Accuse(n.Batch, now, p)
	}
	if c.Accuses(n.Accuser, now, p) > 0 {
		if c.Guilty(now, p) {
			return c.Trip(now, p)
		}
		return c
	}
	if first, ok := c.Uncontradicted(now, p); ok && n.Served >= first {
		return c.Contradict(n.Served)
	}
	return c
}
