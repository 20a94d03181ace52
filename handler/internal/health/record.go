package health

import (
	"cmp"
)

// Schema is the version of the records that this program writes.
const Schema = 1

// Record is what all instances share of one backend × model. Instants are Unix
// milliseconds of the table service's clock. The zero Record is healthy, and
// stands for one never written.
type Record struct {
	Circuit       Circuit
	Windows       RetryWindows
	Saturation    Saturation
	Override      OperatorOverride
	LastChange    Change
	Schema        int    // of its last writer; higher than ours = we know only a part of it
	UnknownFields string // what a newer version wrote besides, as a JSON object, carried along unread
}

// Change says for people who changed a record last, when, and why.
type Change struct {
	At     int64
	By     string
	Reason string
}

func (s Change) merge(o Change) Change {
	if cmp.Or(cmp.Compare(s.At, o.At), cmp.Compare(s.By, o.By), cmp.Compare(s.Reason, o.Reason)) < 0 {
		return o
	}
	return s
}

// Merge is what is known when both are. It is commutative, associative and
// idempotent, so news may be folded in twice, late, or in another order.
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
