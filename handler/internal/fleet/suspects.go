package fleet

import (
	"time"

	"spillway/handler/internal/health"
)

// recordFailure counts a failure of the present epoch. Each one is told to the fleet,
// as far as it can matter; when this instance alone has seen enough for a
// trip, it stays away at once, whatever the fleet makes of it.
func (r *Replica) recordFailure(s *slot, o health.Outcome, now clockReading) {
	s.outcomes.add(now.local)
	s.failures.add(now.local)
	s.unreportedFailures++
	s.reason = o.Reason
	if r.thresholdReached(s, now) && s.override.state == health.Closed {
		s.override.open(now.local, r.cfg.Breaker, o.Reason)
	}
}

// thresholdReached reports whether this instance's own window is worth a trip.
func (r *Replica) thresholdReached(s *slot, now clockReading) bool {
	p := r.cfg.Breaker
	failed := s.failures.since(now.local-p.Interval, now.local)
	return failed >= int64(p.Failures) || r.percentageReached(s, now)
}

func (r *Replica) percentageReached(s *slot, now clockReading) bool {
	p := r.cfg.Breaker
	from := now.local - p.Interval
	asked, failed := s.outcomes.since(from, now.local), s.failures.since(from, now.local)
	return p.Percentage > 0 && asked >= int64(p.MinimumRequests) && failed*100 >= int64(p.Percentage)*asked
}

// prepareReport makes the failures since the last batch into one that keeps its name
// until it is seen in the table, so that writing it twice counts once. What
// this instance has said already counts up to a trip's worth and no further:
// more would be writes without news.
func (r *Replica) prepareReport(s *slot, now clockReading, span health.TimeBounds) {
	p := r.cfg.Breaker
	if s.report.Failures > 0 && s.record.Circuit.HasReport(s.report) {
		s.report = health.FailureReport{}
	}
	if s.unreportedFailures == 0 || s.report.Failures > 0 {
		return
	}
	said := s.record.Circuit.FailuresReportedBy(r.reporterID, span, p)
	if said >= p.Failures {
		s.unreportedFailures = 0
		return
	}
	failures := min(s.unreportedFailures, p.Failures-said)
	if r.percentageReached(s, now) {
		failures = p.Failures - said
	}
	s.report = health.FailureReport{Reporter: r.reporterID, At: span.Midpoint(), Failures: failures}
	s.unreportedFailures = 0
}

// objectionAt is the service's instant at which this instance was last served,
// when it saw no failure in the window: only then may it contradict others.
func (r *Replica) objectionAt(s *slot, now clockReading) int64 {
	served := s.servedAt.Load()
	if served == 0 || s.failures.since(now.local-r.cfg.Breaker.Interval, now.local) > 0 {
		return 0
	}
	return r.clock.toService(time.Duration(served))
}

// pendingUpdate is what this instance has to say about the slot.
func (r *Replica) pendingUpdate(s *slot, now clockReading, span health.TimeBounds) health.Update {
	r.prepareReport(s, now, span)
	r.dateWaits(s)
	n := health.Update{
		Owner: r.leaseOwner, Reporter: r.reporterID, Saturation: s.saturation, BasedOn: s.record.Circuit, Report: s.report,
		Misconfigured: s.misconfigured, ServedAt: r.objectionAt(s, now), Unreadable: s.unreadable,
		ClaimProbe: r.shouldClaimProbe(s, now, span), Probe: s.probe.result, Lease: s.probe.lease,
	}
	n.Windows.Generation = s.record.Windows.Generation
	for kind, t := range s.localWindows {
		if t.until > now.local && t.serviceUntil > 0 {
			n.Windows = n.Windows.Add(health.LimitKind(kind), health.RetryWindow{Until: t.serviceUntil, MaxTokens: t.maxTokens})
		}
	}
	return n
}
