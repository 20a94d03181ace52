package health

import "strings"

// The reasons of transitions that no outcome of an attempt is the reason of, for people.
const (
	ReasonProbeDue      = "probe due"
	ReasonProbeUnused   = "probe not used"
	ReasonProbeAnswered = "probe answered"
	ReasonUnprobed      = "closed unprobed: no request for 8 s" // unprobedLimit
)

// ProbeReason is why a circuit went from before to c, if it did because of a probe that
// proves nothing; "" = it went for another reason, or not at all.
func (c Circuit) ProbeReason(before Circuit) string {
	switch {
	case c.State == before.State:
	case c.State == HalfOpen:
		return ReasonProbeDue
	case c.State == Open && before.State == HalfOpen && c.ProbeDueSince > 0:
		return ReasonProbeUnused
	}
	return ""
}

// ProbeEvidence is the evidence of a circuit that a probe opened again, by what it was.
func ProbeEvidence(before string) string {
	const probe = "its probe; before: "
	return probe + strings.TrimPrefix(before, probe)
}

// NextEvidence is the evidence of a record that goes from r to the circuit; opening is
// that of an opening now.
func (r Record) NextEvidence(to Circuit, opening string) string {
	switch {
	case to.State == Closed:
		return ""
	case r.Circuit.State == Closed:
		return opening
	case to.State == Open && r.Circuit.State == HalfOpen && to.ProbeReason(r.Circuit) == "":
		return ProbeEvidence(r.LastChange.Evidence)
	}
	return r.LastChange.Evidence
}

// NextReason is what a record that goes from r to the circuit says is its reason; the
// latest outcome's where that is one. While the circuit stays open, it is what opened it.
func (r Record) NextReason(to Circuit, outcome string) string {
	switch {
	case to.ProbeReason(r.Circuit) != "":
		return r.LastChange.Reason
	case to.State != Closed || r.Circuit.State == Closed || to.LastObjection > r.Circuit.LastObjection:
		return outcome
	case r.Circuit.State == HalfOpen:
		return ReasonProbeAnswered
	}
	return ReasonUnprobed
}
