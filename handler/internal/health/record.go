package health

import "time"

// Schema is the version of the records that this program writes.
const Schema = 2

// Record is what all instances share of one slot. The zero Record is healthy,
// and is the same as one that was never written.
type Record struct {
	Circuit       Circuit
	Windows       ThrottleWindows
	Saturation    Saturation
	Override      OperatorOverride
	ResetAt       int64 // of an operator's last reset: what instances saw before it is void; 0 = never
	LastChange    Change
	Schema        int    // of its last writer; above ours = we know only a part of it
	UnknownFields string // fields of a newer version as a JSON object, carried along unread
}

// Change is who last changed a record, when, and why: for people.
type Change struct {
	At     int64
	By     string
	Reason string

	Evidence string // of a circuit that is not closed: the failures that opened it
}

// Equal reports whether the two are the same in every field.
func (r Record) Equal(o Record) bool {
	return r.Circuit.Equal(o.Circuit) && r.Windows == o.Windows && r.Saturation == o.Saturation && r.Override == o.Override &&
		r.ResetAt == o.ResetAt && r.LastChange == o.LastChange && r.Schema == o.Schema && r.UnknownFields == o.UnknownFields
}

// Spent reports whether the record says nothing any more that a missing one does
// not, and has been seen by all: its last change is longer than that ago.
func (r Record) Spent(now TimeBounds, seenAfter time.Duration) bool {
	suspicions, _ := r.Circuit.current(now)
	return suspicions == 0 && r.quiet(now) && r.Schema <= Schema && now.Earliest >= r.LastChange.At+seenAfter.Milliseconds()
}

// quiet reports whether nothing of the record is in force.
func (r Record) quiet(now TimeBounds) bool {
	until, _, _ := r.Windows.Combined(now.Earliest)
	return r.Circuit.State == Closed && now.Earliest >= r.Circuit.Leased && until == 0 && !r.Saturation.current(now.Earliest) && !r.Override.Drained
}

// abandonedAfter is how long after the end of all that is in force a record is
// kept that no instance seems to have in its configuration any more.
const abandonedAfter = 30 * time.Second

// Abandoned reports whether the record is of a slot that nobody uses: whatever it
// holds ended long ago, and nobody has changed it since.
func (r Record) Abandoned(now TimeBounds) bool {
	r.Circuit.State = Closed
	return r.quiet(now) && r.Schema <= Schema && now.Earliest >= max(r.LastChange.At, r.Circuit.Until)+abandonedAfter.Milliseconds()
}

// OperatorOverride is an operator's last command for a slot. It outlives trips
// and resets. The zero OperatorOverride is none.
type OperatorOverride struct {
	Drained  bool
	Operator string // who gave it, for people
	At       int64
}
