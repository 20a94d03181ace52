package health

import "cmp"

// OperatorOverride is what an operator last said of a backend × model. It outlives trips
// and resets; the later word stands. The zero OperatorOverride is that nobody said anything.
type OperatorOverride struct {
	Sequence uint64 // counts the words
	Drained  bool
	Operator string // who said it, for people
	At       int64  // when, Unix milliseconds of the table service's clock
}

// Merge is the later word. It is commutative, associative and idempotent.
func (w OperatorOverride) Merge(o OperatorOverride) OperatorOverride {
	if cmp.Or(cmp.Compare(w.Sequence, o.Sequence), cmp.Compare(w.At, o.At), cmp.Compare(w.Operator, o.Operator), compareBools(w.Drained, o.Drained)) < 0 {
		return o
	}
	return w
}

func compareBools(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}
