package fleet

import (
	"time"

	"spillway/handler/internal/health"
)

// fail counts a failure of the present epoch. Each one is told to the fleet,
// as far as it can matter; when this instance alone has seen enough for a
// trip, it stays away at once, whatever the fleet makes of it.
func (k *Keeper) fail(s *slot, o health.Outcome, now reading) {
	s.asked.add(now.local)
	s.failed.add(now.local)
	s.fresh++
	s.why = o.Why
	if k.enough(s, now) && s.own.phase == health.Closed {
		s.own.trip(now.local, k.cfg.Breaker, o.Why)
	}
}

// enough reports whether this instance's own window is worth a trip.
func (k *Keeper) enough(s *slot, now reading) bool {
	p := k.cfg.Breaker
	failed := s.failed.since(now.local-p.Interval, now.local)
	return failed >= int64(p.Failures) || k.shareReached(s, now)
}

func (k *Keeper) shareReached(s *slot, now reading) bool {
	p := k.cfg.Breaker
	from := now.local - p.Interval
	asked, failed := s.asked.since(from, now.local), s.failed.since(from, now.local)
	return p.Percentage > 0 && asked >= int64(p.MinimumRequests) && failed*100 >= int64(p.Percentage)*asked
}

// accuse makes the failures since the last batch into one that keeps its name
// until it is seen in the table, so that writing it twice counts once. What
// this instance has said already counts up to a trip's worth and no further:
// more would be writes without news.
func (k *Keeper) accuse(s *slot, now reading, span health.Span) {
	p := k.cfg.Breaker
	if s.batch.Failures > 0 && s.record.Circuit.Accused(s.batch) {
		s.batch = health.Suspect{}
	}
	if s.fresh == 0 || s.batch.Failures > 0 {
		return
	}
	said := s.record.Circuit.Accuses(k.voice, span, p)
	if said >= p.Failures {
		s.fresh = 0
		return
	}
	failures := min(s.fresh, p.Failures-said)
	if k.shareReached(s, now) {
		failures = p.Failures - said
	}
	s.batch = health.Suspect{Who: k.voice, At: span.Mid(), Failures: failures}
	s.fresh = 0
}

// servedSince is the service's instant at which this instance was last served,
// when it saw no failure in the window: only then may it contradict others.
func (k *Keeper) servedSince(s *slot, now reading) int64 {
	served := s.served.Load()
	if served == 0 || s.failed.since(now.local-k.cfg.Breaker.Interval, now.local) > 0 {
		return 0
	}
	return k.clock.service(time.Duration(served))
}

// newsOf is what this instance has to say about the slot.
func (k *Keeper) newsOf(s *slot, now reading, span health.Span) health.News {
	k.accuse(s, now, span)
	k.date(s)
	n := health.News{
		Owner: k.owner, Accuser: k.voice, Mark: s.mark, Epoch: s.record.Circuit, Batch: s.batch,
		Condemn: s.doom, Served: k.servedSince(s, now), Poison: s.poison,
		Claim: k.claims(s, now, span), Probe: s.probe.news, Lease: s.probe.lease,
	}
	n.Windows.Generation = s.record.Windows.Generation
	for kind, t := range s.told {
		if t.until > now.local && t.service > 0 {
			n.Windows = n.Windows.With(health.LimitKind(kind), health.Term{Until: t.service, Room: t.room})
		}
	}
	return n
}
