package health

import (
	"testing"
	"time"
)

// A probe that no request used proves nothing: the record goes on to say what opened
// the circuit. A circuit that closes says why it may.
func TestReasonOfATransition(t *testing.T) {
	p := BreakerPolicy{TripDuration: 10 * time.Second, MaxTripDuration: time.Minute, ProbeLease: 30 * time.Second}
	at := func(ms int64) TimeBounds { return TimeBounds{Earliest: ms, Latest: ms} }
	open := Circuit{}.trip(at(0), p, 1)
	probing := open.claimProbe("i-1", at(10_000), p)
	returned := probing.returnProbe(at(10_800))
	for name, c := range map[string]struct {
		from, to              Circuit
		probe, next, evidence string
	}{
		"opened":            {Circuit{}, open, "", "outcome", "now"},
		"the probe is due":  {open, probing, ReasonProbeDue, "503", "then"},
		"it was not used":   {probing, returned, ReasonProbeUnused, "503", "then"},
		"it failed":         {probing, probing.reopen(at(11_000), p), "", "outcome", "its probe; before: then"},
		"it was answered":   {probing, probing.closeForRamp(at(11_000)), "", ReasonProbeAnswered, ""},
		"nobody probed":     {returned, returned.closeForRamp(at(19_000)), "", ReasonUnprobed, ""},
		"nothing happened":  {open, open, "", "outcome", "then"},
		"it was read later": {Circuit{}, returned, "", "outcome", "now"},
	} {
		r := Record{Circuit: c.from, LastChange: Change{Reason: "503", Evidence: "then"}}
		if probe, next := c.to.ProbeReason(c.from), r.NextReason(c.to, "outcome"); probe != c.probe || next != c.next {
			t.Errorf("%s: %q, %q, want %q, %q", name, probe, next, c.probe, c.next)
		}
		if got := r.NextEvidence(c.to, "now"); got != c.evidence || got != "" && ProbeEvidence(ProbeEvidence(got)) != ProbeEvidence(got) {
			t.Errorf("%s: evidence %q, want %q", name, got, c.evidence)
		}
	}
}
