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
	Circuit Circuit
	Windows Windows
	Mark    Mark
	Word    Word
	Stamp   Stamp
	Schema  int    // of its last writer; higher than ours = we know only a part of it
	Beyond  string // what a newer version wrote besides, as a JSON object, carried along unread
}

// Stamp says for people who changed a record last, when, and why.
type Stamp struct {
	At  int64
	By  string
	Why string
}

func (s Stamp) join(o Stamp) Stamp {
	if cmp.Or(cmp.Compare(s.At, o.At), cmp.Compare(s.By, o.By), cmp.Compare(s.Why, o.Why)) < 0 {
		return o
	}
	return s
}

// Join is what is known when both are. It is commutative, associative and
// idempotent, so news may be folded in twice, late, or in another order.
func (r Record) Join(o Record) Record {
	return Record{
		Circuit: r.Circuit.Join(o.Circuit),
		Windows: r.Windows.Join(o.Windows),
		Mark:    r.Mark.Join(o.Mark),
		Word:    r.Word.Join(o.Word),
		Stamp:   r.Stamp.join(o.Stamp),
		Schema:  max(r.Schema, o.Schema),
		Beyond:  max(r.Beyond, o.Beyond),
	}
}

// Equal reports whether the two are the same in every field.
func (r Record) Equal(o Record) bool {
	return r.Circuit.Equal(o.Circuit) && r.Windows == o.Windows && r.Mark == o.Mark &&
		r.Word == o.Word && r.Stamp == o.Stamp && r.Schema == o.Schema && r.Beyond == o.Beyond
}
