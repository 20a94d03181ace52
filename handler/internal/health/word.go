package health

import "cmp"

// Word is what an operator last said of a backend × model. It outlives trips
// and resets; the later word stands. The zero Word is that nobody said anything.
type Word struct {
	Sequence uint64 // counts the words
	Drained  bool
	Who      string // who said it, for people
	At       int64  // when, Unix milliseconds of the table service's clock
}

// Join is the later word. It is commutative, associative and idempotent.
func (w Word) Join(o Word) Word {
	if cmp.Or(cmp.Compare(w.Sequence, o.Sequence), cmp.Compare(w.At, o.At), cmp.Compare(w.Who, o.Who), compareBool(w.Drained, o.Drained)) < 0 {
		return o
	}
	return w
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}
