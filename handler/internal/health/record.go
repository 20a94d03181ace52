package health

import (
	"cmp"
)

// Schema is the version of the records that this program writes.
const Schema = 1

// Record is what all instances share of one slot. The zero Record is healthy,
// and is the same as one that was never written.
type Record struct {
	Circuit       Circuit
	Windows       ThrottleWindows
	Saturation    Saturation
	Override      OperatorOverride
	LastChange    Change
	Schema        int    // of its last writer; above ours = we know only a part of it
	UnknownFields string // fields of a newer version as a JSON object, carried along unread
}

// Change is who last changed a record, when, and why: for people.
type Change struct {
	At     int64
	By     string
	Reason string
}

func (c Change) merge(o Change) Change {
	if cmp.Or(cmp.Compare(c.At, o.At), cmp.Compare(c.By, o.By), cmp.Compare(c.Reason, o.Reason)) < 0 {
		return o
	}
	return c
}

// Merge combines what two copies of a record contain. It is commutative,
// associative and idempotent, so updates may arrive twice, late, or in another
// order.
func (r Record) Merge(o Record) Record {
	return Record{
		Circuit:       r.Circuit.Merge(o.Circuit),
		Windows:       r.Windows.Merge(o.Windows),
		Saturation:    r.Saturation.Merge(o.Saturation),
		Override:      r.Override.Merge(o.Override),
		LastChange:    r.LastChange.merge(o.LastChange),
		Schema:        max(r.Schema, o.Schema),
		UnknownFields: max(r.UnknownFields, o.UnknownFields),
	}
}

// Equal reports whether the two are the same in every field.
func (r Record) Equal(o Record) bool {
	return r.Circuit.Equal(o.Circuit) && r.Windows == o.Windows && r.Saturation == o.Saturation &&
		r.Override == o.Override && r.LastChange == o.LastChange && r.Schema == o.Schema && r.UnknownFields == o.UnknownFields
}

// OperatorOverride is an operator's last command for a slot. It outlives trips
// and resets; the later command wins. The zero OperatorOverride is none.
type OperatorOverride struct {
	Sequence uint64 // counts the commands
	Drained  bool
	Operator string // who gave it, for people
	At       int64
}

// Merge returns the later command. It is commutative, associative and
// idempotent.
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
