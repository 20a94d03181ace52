package health

import (
	"cmp"
	"slices"
)

// Circuit is the breaker of one backend × model as all instances share it. The
// zero Circuit is closed and was never written.
//
// Circuits are ordered by (Incarnation, Epoch): every transition is the next
// epoch, won by compare-and-swap, so two instances that know the same epoch
// know the same circuit. A new incarnation begins when a record is made, made
// readable again, or reset by an operator.
type Circuit struct {
	Incarnation   uint64
	Epoch         uint64
	State         CircuitState
	Until         int64  // Open: earliest probe; HalfOpen: end of the probe's lease
	Since         int64  // when the phase began; Closed: when the ramp began
	Trips         int    // consecutive trips, the present or last one included
	ProbeDueSince int64  // not Closed: since when it has cooled without a request coming for its probe; 0 = one came, or it has not
	Owner         string // HalfOpen: the instance whose probe it is
	Lease         uint64 // HalfOpen: the epoch in which the lease was taken; renewals keep it
	Nonce         string // of the write that made this epoch
	Reports       []FailureReport
	LastObjection int64 // when an instance last contradicted the suspicion; 0 = nobody did
}

// Supersedes reports whether c is of a later epoch than d.
func (c Circuit) Supersedes(d Circuit) bool {
	return c.Incarnation > d.Incarnation || c.Incarnation == d.Incarnation && c.Epoch > d.Epoch
}

// SameEpoch reports whether results obtained under one hold for the other.
func (c Circuit) SameEpoch(d Circuit) bool {
	return c.Incarnation == d.Incarnation && c.Epoch == d.Epoch
}

// Merge is what is known when both are: the later epoch, and of one epoch all
// suspicions. It is commutative, associative and idempotent.
func (c Circuit) Merge(d Circuit) Circuit {
	switch {
	case c.Supersedes(d):
		return c
	case d.Supersedes(c):
		return d
	}
	if c.compare(d) < 0 {
		c, d = d, c
	}
	c.Reports = mergeReports(c.Reports, d.Reports)
	c.LastObjection = max(c.LastObjection, d.LastObjection)
	return c
}

// compare breaks the ties that compare-and-swap never lets happen, so that
// Join is a function even of circuits that nobody could have written.
func (c Circuit) compare(d Circuit) int {
	return cmp.Or(
		cmp.Compare(c.State, d.State), cmp.Compare(c.Until, d.Until), cmp.Compare(c.Since, d.Since),
		cmp.Compare(c.Trips, d.Trips), cmp.Compare(c.ProbeDueSince, d.ProbeDueSince), cmp.Compare(c.Owner, d.Owner), cmp.Compare(c.Lease, d.Lease),
		cmp.Compare(c.Nonce, d.Nonce),
	)
}

// Equal reports whether the two are the same in every field.
func (c Circuit) Equal(d Circuit) bool {
	return c.SameEpoch(d) && c.compare(d) == 0 && c.LastObjection == d.LastObjection && slices.Equal(c.Reports, d.Reports)
}
