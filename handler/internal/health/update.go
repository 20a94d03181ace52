package health

// Update is what one instance has to add to a slot's record. The zero Update
// adds nothing. Applying it again is harmless: what the record contains already
// changes nothing.
type Update struct {
	Owner      string          // the instance as an owner of leases
	Windows    ThrottleWindows // waits of its own 429s
	Saturation Saturation      // how full it saw the backend; At 0 = not seen
	Open       bool            // its own circuit has just opened
	Trips      int             // the consecutive trip that an opening would be
	Suspicion  Suspicion       // Failures 0 = none
	Grace      int64           // milliseconds that suspicions must stand
	ServedFrom int64           // start of its last attempt that was served, if it may object; 0 = it may not
	ClaimProbe bool            // it wants the probe that is due
	Probe      ProbeResult     // the result of the probe that it holds
	Lease      uint64          // the lease of that probe
	Unreadable bool            // the stored record cannot be read
}

// ProbeResult is how a probe ended.
type ProbeResult uint8

// The results. The zero value is none: no probe, or one that is in flight.
const (
	NoProbeResult ProbeResult = iota
	ProbeServed               // close the circuit
	ProbeFailed               // open it again
	ProbeSilent               // open it again: it may still be under way until its lease ends
	ProbeReturned             // no request used it: another instance may claim it
	ProbeRunning              // it takes long: renew the lease
)

// Apply returns the record after the update, written in the row's given
// revision, and whether it differs. At most one transition of the circuit is made.
func (r Record) Apply(u Update, now TimeBounds, p BreakerPolicy, revision uint64) (Record, bool) {
	next := r
	next.Windows = r.Windows.MergeActive(u.Windows, now.Midpoint())
	if u.Saturation.current(now.Midpoint()) && r.Saturation.WorthPublishing(u.Saturation) {
		next.Saturation = r.Saturation.Merge(u.Saturation)
	}
	next.Circuit = u.nextCircuit(r.Circuit, now, p).WrittenIn(revision)
	return next, u.Unreadable || next.Windows != r.Windows || next.Saturation != r.Saturation || !next.Circuit.Equal(r.Circuit)
}

func (u Update) nextCircuit(c Circuit, now TimeBounds, p BreakerPolicy) Circuit {
	since := c.SuspectedSince(now)
	switch {
	case u.Unreadable:
		return c.Quarantine(now, p)
	case u.holdsLease(c):
		return u.finishProbe(c, now, p)
	case since > 0 && u.ServedFrom > since:
		return c.object(u.ServedFrom, now)
	case u.ClaimProbe && c.probeStarved(now):
		return c.closeForRamp(now)
	case u.ClaimProbe && c.ProbeDue(now):
		return c.claimProbe(u.Owner, now, p)
	case c.State == Closed:
		return u.accuse(c, now, p)
	}
	return c
}

// holdsLease reports whether the circuit is half-open under the lease of the
// update's probe. Under any other lease the result would be another probe's.
func (u Update) holdsLease(c Circuit) bool {
	return u.Probe != NoProbeResult && c.State == HalfOpen && c.Owner == u.Owner && c.Lease == u.Lease
}

func (u Update) finishProbe(c Circuit, now TimeBounds, p BreakerPolicy) Circuit {
	switch u.Probe {
	case ProbeServed:
		return c.closeForRamp(now)
	case ProbeFailed:
		return c.reopen(now, p)
	case ProbeSilent:
		c.Leased = c.Until
		return c.reopen(now, p)
	case ProbeReturned:
		return c.returnProbe(now)
	case ProbeRunning:
		return c.renewLease(now, p)
	case NoProbeResult:
	}
	return c
}

// accuse adds this instance's evidence against a closed circuit. Only an instance
// that suspects opens it by the sum, so that not all write when the grace ends.
func (u Update) accuse(c Circuit, now TimeBounds, p BreakerPolicy) Circuit {
	if u.Open {
		return c.trip(now, p, u.Trips)
	}
	if u.Suspicion.Failures == 0 || u.Suspicion.Since <= c.LastObjection {
		return c
	}
	if sum, _ := c.current(now); sum < p.Failures && !c.hasSuspicion(u.Suspicion) {
		c = c.suspect(u.Suspicion, now) // more than the sum would change nothing, and all would write it
	}
	if c.openedBySum(now, p, u.Grace) {
		return c.trip(now, p, u.Trips)
	}
	return c
}
