package health

// Update is what one instance has to add to a slot's record. The zero Update
// adds nothing. Applying it again, or to what other instances wrote in between,
// is harmless: what the record contains already, or what belongs to an older
// epoch, changes nothing.
type Update struct {
	Owner         string          // the instance as an owner of leases
	Reporter      string          // the instance as a reporter of failures
	Windows       ThrottleWindows // waits of its own 429s
	Saturation    Saturation      // how full it saw the backend; At 0 = not seen
	BasedOn       Circuit         // the circuit in which the fields below were observed: only its epoch counts
	Report        FailureReport   // failures; Failures 0 = none
	Misconfigured bool            // the credential or the deployment is wrong
	ServedAt      int64           // when it was last served, without failures in the window; 0 = it was not
	ClaimProbe    bool            // it wants the probe that is due
	Probe         ProbeResult     // the result of the probe that it holds
	Lease         uint64          // the lease of that probe, in the incarnation of BasedOn
	Unreadable    bool            // the stored record cannot be read
}

// ProbeResult is how a probe ended.
type ProbeResult uint8

// The results. The zero value is none: no probe, or one that is in flight.
const (
	NoProbeResult      ProbeResult = iota
	ProbeServed                    // close the circuit
	ProbeFailed                    // open it again
	ProbeMisconfigured             // open it for the longest time
	ProbeReturned                  // no request used it: another instance may claim it
	ProbeRunning                   // it takes long: renew the lease
)

// Apply returns the record after the update, and whether it differs. At most
// one transition of the circuit is made.
func (r Record) Apply(u Update, now TimeBounds, p BreakerPolicy) (Record, bool) {
	next := r
	next.Windows = r.Windows.MergeActive(u.Windows, now.Midpoint())
	if u.Saturation.At > 0 && r.Saturation.WorthPublishing(u.Saturation) {
		next.Saturation = r.Saturation.Merge(u.Saturation)
	}
	next.Circuit = u.nextCircuit(r.Circuit, now, p)
	return next, u.Unreadable || next.Windows != r.Windows || next.Saturation != r.Saturation || !next.Circuit.Equal(r.Circuit)
}

func (u Update) nextCircuit(c Circuit, now TimeBounds, p BreakerPolicy) Circuit {
	switch {
	case u.Unreadable:
		return c.Quarantine(now, p)
	case u.holdsLease(c):
		return u.finishProbe(c, now, p)
	case u.ClaimProbe && c.ProbeStarved(now):
		return c.CloseWithoutProbe(now)
	case u.ClaimProbe && c.ProbeDue(now):
		return c.ClaimProbe(u.Owner, now, p)
	case u.Misconfigured && u.BasedOn.SameEpoch(c):
		return c.TripMisconfigured(now, p)
	case c.State == Closed && u.BasedOn.SameEpoch(c):
		return u.countFailures(c, now, p)
	}
	return c
}

// holdsLease reports whether the circuit is half-open under the lease of the
// update's probe. Under any other lease the result would be another probe's.
func (u Update) holdsLease(c Circuit) bool {
	return u.Probe != NoProbeResult && c.State == HalfOpen && c.Owner == u.Owner &&
		c.Lease == u.Lease && c.Incarnation == u.BasedOn.Incarnation
}

func (u Update) finishProbe(c Circuit, now TimeBounds, p BreakerPolicy) Circuit {
	switch u.Probe {
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

// countFailures adds this instance's failures to those that others reported of
// a closed circuit, and trips it when they are enough. Only a reporter trips
// it, so that not all instances write when an objection period ends.
func (u Update) countFailures(c Circuit, now TimeBounds, p BreakerPolicy) Circuit {
	if u.Report.Failures > 0 && !c.HasReport(u.Report) {
		c = c.AddReport(u.Report, now, p)
	}
	if c.FailuresReportedBy(u.Reporter, now, p) > 0 {
		if c.ShouldTrip(now, p) {
			return c.Trip(now, p)
		}
		return c
	}
	if first, ok := c.FirstUnopposedReport(now, p); ok && u.ServedAt >= first {
		return c.Object(u.ServedAt)
	}
	return c
}
