package health

// Update is what one instance has to say about a backend × model that the table
// may not know yet. The zero Update says nothing. Folding it in again, or into
// what others wrote meanwhile, is harmless: what the record says already, or
// what belongs to an older epoch, changes nothing.
type Update struct {
	Owner         string        // the instance's name as an owner of leases
	Reporter      string        // … and as an accuser, short
	Windows       RetryWindows  // waits it was told
	Saturation    Saturation    // how full it saw the backend; At 0 = did not look
	BasedOn       Circuit       // the circuit in which the four below were seen: only its epoch counts
	Report        FailureReport // failures; Failures 0 = none
	Misconfigured bool          // the backend is misconfigured
	ServedAt      int64         // when it was last served without failures besides; 0 = it was not
	ClaimProbe    bool          // it wants the probe of a cooled circuit
	Probe         ProbeResult   // what became of the probe that it holds
	Lease         uint64        // the lease of that probe, in the incarnation of Epoch
	Unreadable    bool          // the stored record cannot be read
}

// ProbeResult is what became of a probe.
type ProbeResult uint8

// The news of a probe. The zero value is none: it is under way, or was none.
const (
	NoProbeResult      ProbeResult = iota
	ProbeServed                    // it was answered: close the circuit
	ProbeFailed                    // open it again
	ProbeMisconfigured             // open it for long: misconfigured
	ProbeReturned                  // no request came for it: somebody else may
	ProbeRunning                   // it takes long: renew the lease
)

// Policy is what the rules are to be applied with.
type Policy struct {
	Breaker  BreakerPolicy
	Throttle ThrottlePolicy
}

// Apply is the record after the news, and whether it differs: healthy traffic
// writes nothing. At most one transition of the circuit is made.
func (r Record) Apply(n Update, now TimeBounds, p BreakerPolicy) (Record, bool) {
	next := r
	next.Windows = r.Windows.MergeActive(n.Windows, now.Midpoint())
	if n.Saturation.At > 0 && r.Saturation.WorthPublishing(n.Saturation) {
		next.Saturation = r.Saturation.Merge(n.Saturation)
	}
	next.Circuit = n.nextCircuit(r.Circuit, now, p)
	return next, n.Unreadable || next.Windows != r.Windows || next.Saturation != r.Saturation || !next.Circuit.Equal(r.Circuit)
}

// nextCircuit is the circuit after the news.
func (n Update) nextCircuit(c Circuit, now TimeBounds, p BreakerPolicy) Circuit {
	switch {
	case n.Unreadable:
		return c.Quarantine(now, p)
	case n.holdsLease(c):
		return n.finishProbe(c, now, p)
	case n.ClaimProbe && c.UnprobedTooLong(now):
		return c.CloseUnprobed(now)
	case n.ClaimProbe && c.ProbeDue(now):
		return c.ClaimProbe(n.Owner, now, p)
	case n.Misconfigured && n.BasedOn.SameEpoch(c):
		return c.TripMisconfigured(now, p)
	case c.State == Closed && n.BasedOn.SameEpoch(c):
		return n.countFailures(c, now, p)
	}
	return c
}

// holdsLease reports whether the circuit is half-open by the very lease that the
// news is about: a result published under any other would be another probe's.
func (n Update) holdsLease(c Circuit) bool {
	return n.Probe != NoProbeResult && c.State == HalfOpen && c.Owner == n.Owner &&
		c.Lease == n.Lease && c.Incarnation == n.BasedOn.Incarnation
}

func (n Update) finishProbe(c Circuit, now TimeBounds, p BreakerPolicy) Circuit {
	switch n.Probe {
	case ProbeServed:
		return c.CloseAfterProbe(now)
	case ProbeFailed:
		return c.Reopen(now, p)
	case ProbeMisconfigured:
		return c.TripMisconfigured(now, p)
	case ProbeReturned:
		return c.ReturnProbe(now)
	case ProbeRunning:
		return c.RenewLease(now, p)
	case NoProbeResult:
	}
	return c
}

// countFailures adds what this instance says to what the others said of a closed
// circuit, and trips it when that is enough. Only an accuser trips it, so that
// the whole fleet does not write at once when a hearing ends.
func (n Update) countFailures(c Circuit, now TimeBounds, p BreakerPolicy) Circuit {
	if n.Report.Failures > 0 && !c.HasReport(n.Report) {
		c = c.AddReport(n.Report, now, p)
	}
	if c.FailuresReportedBy(n.Reporter, now, p) > 0 {
		if c.ShouldTrip(now, p) {
			return c.Trip(now, p)
		}
		return c
	}
	if first, ok := c.FirstUnopposedReport(now, p); ok && n.ServedAt >= first {
		return c.Object(n.ServedAt)
	}
	return c
}
