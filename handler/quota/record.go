package quota

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// ring is how many operations a record remembers, so that a writer whose
// answer was lost can tell whether its write landed.
const ring = 64

// ErrPoison is a record that cannot be read, or says what no writer says.
var ErrPoison = errors.New("quota: record makes no sense")

// Record is one row of the table: one limit of one consumer (one shard of it),
// reused from window to window (facts/table-state.md §3). The zero Record is a
// limit nobody has used.
type Record struct {
	V       int              `json:"v"`
	Window  int64            `json:"w"`
	Granted int64            `json:"g"`           // leased or booked in Window, carried debt included
	Debt    int64            `json:"d"`           // the part of Granted that earlier windows overspent
	Spare   int64            `json:"p,omitempty"` // what the windows before left unspent: late bills go there first
	Ops     map[string]int64 `json:"o,omitempty"` // the last writes, nonce to chunk; nonces sort by age
}

// Op is one write: a chunk leased, and bills booked. It is applied once however
// often its writer must ask whether it landed, because its nonce is in the
// record afterwards.
type Op struct {
	Nonce  string
	Window int64
	Chunk  int64 // leased for spending later
	Owed   int64 // spent in Window already; negative gives back
	Late   int64 // spent in windows that have ended
}

// Parse reads a record; "" is the zero Record. It returns ErrPoison for
// anything else that Record.String never wrote.
func Parse(s string) (Record, error) {
	if s == "" {
		return Record{}, nil
	}
	var r Record
	err := json.Unmarshal([]byte(s), &r)
	if err != nil {
		return Record{}, fmt.Errorf("%w: %w", ErrPoison, err)
	}
	if r.V < 1 || r.Window < 0 || !sane(r.Granted) || !sane(r.Debt) || !sane(r.Spare) || len(r.Ops) > 4*ring {
		return Record{}, ErrPoison
	}
	for _, chunk := range r.Ops {
		if !sane(chunk) {
			return Record{}, ErrPoison
		}
	}
	return r, nil
}

func sane(n int64) bool { return n >= 0 && n <= Most }

// String is the record as the table keeps it.
func (r Record) String() string {
	if r.V == 0 {
		r.V = 1
	}
	b, err := json.Marshal(r)
	if err != nil {
		panic("quota: a record of numbers cannot fail to marshal: " + err.Error())
	}
	return string(b)
}

// Left is what the window still has of this limit.
func (r Record) Left(limit int64) int64 { return max(0, limit-r.Granted) }

// Rolled is the record at the beginning of a later window: what was overspent
// is carried, what was left is kept for late bills; windows in which nobody
// wrote had the whole limit to spare. An earlier window changes nothing.
func (r Record) Rolled(window, limit int64) Record {
	if window <= r.Window {
		return r
	}
	room := limit
	if r.Window > 0 {
		room = times(limit, min(window-r.Window, 10))
	}
	r.Window = window
	r.Spare = max(0, room-r.Granted)
	r.Granted = max(0, r.Granted-room)
	r.Debt = r.Granted
	return r
}

// Posted is the record with the operation applied. It must have been rolled to
// the operation's window. The receiver is not changed.
func (r Record) Posted(op Op) Record {
	late := max(0, op.Late-r.Spare)
	r.Spare = max(0, r.Spare-op.Late)
	r.Debt = plus(r.Debt, late)
	r.Granted = max(0, plus(plus(r.Granted, op.Chunk), plus(op.Owed, late)))
	r.Debt = min(r.Debt, r.Granted)
	ops := make(map[string]int64, len(r.Ops)+1)
	for nonce, chunk := range r.Ops {
		ops[nonce] = chunk
	}
	ops[op.Nonce] = op.Chunk
	for len(ops) > ring {
		delete(ops, oldest(ops))
	}
	r.Ops = ops
	return r
}

// writers is how many instances made the last writes.
func (r Record) writers() int {
	names := make(map[string]bool, 8)
	for nonce := range r.Ops {
		_, rest, _ := strings.Cut(nonce, "-")
		name, _, _ := strings.Cut(rest, "-")
		names[name] = true
	}
	return len(names)
}

// Landed reports whether the write with this nonce is in the record.
func (r Record) Landed(nonce string) bool {
	_, ok := r.Ops[nonce]
	return ok
}

func oldest(ops map[string]int64) string {
	first := ""
	for nonce := range ops {
		if first == "" || nonce < first {
			first = nonce
		}
	}
	return first
}
