package lease

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"strings"
)

// recordVersion is the version of the records that this program writes: since 2
// they hold what was spent.
const recordVersion = 2

// maxWriters is of how many instances a record holds the last write, so that a
// writer whose answer was lost can find out whether its write landed. One write
// each is enough, because all uncertain writes of an instance were made against
// one version: at most one of them landed, and it was its last.
const maxWriters = 512

// maxHolders is of how many instances a record says what they hold; others hand what they
// have under way over to the next window themselves. A column has 32,000 characters.
const maxHolders = 256

// ErrInvalidRecord is a record that cannot be read, or that no writer writes.
var ErrInvalidRecord = errors.New("invalid quota record")

// Record is one row of the table: one shard of one limit of one consumer,
// reused from window to window. The zero Record is a limit that was never used.
type Record struct {
	V       int              `json:"v"`
	Window  int64            `json:"w"`
	Granted int64            `json:"g"`           // leased or booked in Window, carried debt included
	Spent   int64            `json:"s,omitempty"` // what requests that ended used in Window, of a month; the rest of Granted is reserved, or owed from before
	Owed    int64            `json:"u,omitempty"` // corrections that came before what they correct: the next Spent is less by it
	Early   int64            `json:"e,omitempty"` // returned before it was booked: the next Granted is less by it
	Debt    int64            `json:"d"`           // the part of Granted that earlier windows overspent
	Spare   int64            `json:"p,omitempty"` // what the windows before left unspent: late bookings are taken from it first
	Limit   int64            `json:"l,omitempty"` // the largest limit of those who wrote in Window; 0 = not known
	Ops     map[string]int64 `json:"o,omitempty"` // each instance's last write, nonce to chunk; nonces sort by age
	Held    map[string]int64 `json:"h,omitempty"` // of a ceiling: what each instance that wrote in Window then held for requests under way and later ones; part of Granted
	Carried map[string]int64 `json:"c,omitempty"` // what those that have not written in Window held at the end of the one before; part of Granted
}

// Op is one write: a chunk leased, and spending booked. It is applied once,
// however often its writer must find out whether it landed, because its nonce
// is in the record afterwards.
type Op struct {
	Nonce      string
	Window     int64
	Limit      int64 // of the writer
	Held       int64 // of a ceiling: what the writer holds when this has landed
	AllWrote   bool  // Window is so old that who has not written in it has crashed
	Chunk      int64 // leased for spending later
	Booked     int64 // spent in Window already; negative returns
	Spent      int64 // used in Window by requests that ended
	BookedLate int64 // spent in windows that have ended; negative returns
}

// Parse reads a record; "" is the zero Record. It returns ErrInvalidRecord for
// anything else that Record.String does not write.
func Parse(s string) (Record, error) {
	if s == "" {
		return Record{}, nil
	}
	var r Record
	err := json.Unmarshal([]byte(s), &r)
	if err != nil {
		return Record{}, fmt.Errorf("%w: %w", ErrInvalidRecord, err)
	}
	if r.V < 1 || r.Window < 0 || !inRange(r.Granted) || !inRange(r.Debt) || !inRange(r.Spent) || !inRange(r.Owed) || !inRange(r.Early) || !inRange(r.Spare) || !inRange(r.Limit) || len(r.Ops) > 4*maxWriters {
		return Record{}, ErrInvalidRecord
	}
	for _, amounts := range [...]map[string]int64{r.Ops, r.Held, r.Carried} {
		for _, n := range amounts {
			if !inRange(n) {
				return Record{}, ErrInvalidRecord
			}
		}
	}
	return r, nil
}

func inRange(n int64) bool { return n >= 0 && n <= MaxAmount }

// String is the record as it is stored.
func (r Record) String() string {
	if r.V == 0 {
		r.V = recordVersion
	}
	b, err := json.Marshal(r)
	if err != nil {
		panic("lease: a record of numbers does not marshal: " + err.Error())
	}
	return string(b)
}

// Left is what the window has left of this limit.
func (r Record) Left(limit int64) int64 { return max(0, limit-r.Granted) }

// RolledTo is the record at the beginning of a later window: what exceeded the
// limit that was valid when it was spent is carried, what was left is held for late
// bookings; windows in which nobody wrote had the whole limit left. What instances hold
// of a ceiling they hold in the next window too, until they write again. Who does not has
// crashed, and what it held counts as used. An earlier window changes nothing.
func (r Record) RolledTo(window, limit int64) Record {
	if window <= r.Window {
		return r
	}
	capacity := r.Limit
	if capacity == 0 {
		capacity = limit
	}
	if r.Window > 0 {
		capacity = addSaturating(capacity, mulSaturating(limit, min(window-r.Window, 10)-1))
	}
	var carried int64
	r.Carried, r.Held = r.Held, nil
	if window > r.Window+1 {
		r.Carried = nil
	}
	for _, n := range r.Carried {
		carried = addSaturating(carried, n)
	}
	used := max(0, r.Granted-carried)
	r.Window, r.Limit, r.Spent, r.Owed, r.Early, r.V = window, 0, 0, 0, 0, recordVersion
	r.Spare = max(0, capacity-used)
	r.Debt = max(0, used-capacity)
	r.Granted = addSaturating(r.Debt, carried)
	return r
}

// without is the record without what the writer, or everybody, held before Window, and that.
func (r Record) without(writer string, everybody bool) (_ Record, held int64) {
	if len(r.Carried) == 0 {
		return r, 0
	}
	r.Carried = maps.Clone(r.Carried)
	for other, n := range r.Carried {
		if everybody || other == writer {
			delete(r.Carried, other)
			held = addSaturating(held, n)
		}
	}
	r.Granted = max(0, r.Granted-held)
	return r, held
}

// holding is the record in which the writer holds so much.
func (r Record) holding(writer string, held int64) Record {
	if held == r.Held[writer] || held > 0 && len(r.Held) >= maxHolders {
		return r
	}
	r.Held = maps.Clone(r.Held)
	if r.Held == nil {
		r.Held = map[string]int64{}
	}
	r.Held[writer] = held
	if held == 0 {
		delete(r.Held, writer)
	}
	return r
}

// Applied is the record with the operation applied. It must have been rolled to
// the operation's window. The receiver is not changed.
func (r Record) Applied(op Op) Record {
	if r.V < recordVersion && r.Window > 0 { // nobody has counted
		r.Spent, r.V = r.Granted, recordVersion
	}
	writer := writerOf(op.Nonce)
	r, held := r.without(writer, op.AllWrote)
	r = r.holding(writer, op.Held)
	op.BookedLate = addSaturating(op.BookedLate, held)
	spent := addSaturating(r.Spent-r.Owed, op.Spent)
	r.Spent, r.Owed = Clamp(spent), Clamp(-spent)
	late := max(op.BookedLate-r.Spare, min(0, op.BookedLate), -r.Debt)
	r.Spare = max(0, addSaturating(r.Spare, late-op.BookedLate))
	r.Debt = addSaturating(r.Debt, late)
	r.Limit = max(r.Limit, op.Limit)
	granted := addSaturating(addSaturating(r.Granted-r.Early, op.Chunk), addSaturating(op.Booked, late))
	r.Granted, r.Early = Clamp(granted), Clamp(-granted)
	r.Debt = min(r.Debt, r.Granted)
	ops := make(map[string]int64, len(r.Ops)+1)
	for nonce, chunk := range r.Ops {
		if writerOf(nonce) != writer {
			ops[nonce] = chunk
		}
	}
	ops[op.Nonce] = op.Chunk
	for len(ops) > maxWriters {
		delete(ops, oldest(ops))
	}
	r.Ops = ops
	return r
}

// writers is how many instances have written lately: those of the last hundred
// writes.
func (r Record) writers() int {
	var last uint64
	for nonce := range r.Ops {
		last = max(last, sequenceOf(nonce))
	}
	n := 0
	for nonce := range r.Ops {
		if sequenceOf(nonce)+100 > last {
			n++
		}
	}
	return n
}

// Contains reports whether the write with this nonce is in the record.
func (r Record) Contains(nonce string) bool {
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

// nonce is new for every write: a sequence number, the writer, and what
// distinguishes the writer's writes.
func (r Record) nonce(id string, seq uint64) string {
	var last uint64
	for n := range r.Ops {
		last = max(last, sequenceOf(n))
	}
	return fmt.Sprintf("%08x-%s-%x", last+1, id, seq)
}

func sequenceOf(nonce string) uint64 {
	n, err := strconv.ParseUint(nonce[:min(8, len(nonce))], 16, 64)
	if err != nil {
		return 0
	}
	return n
}

func writerOf(nonce string) string {
	_, rest, _ := strings.Cut(nonce, "-")
	id, _, _ := strings.Cut(rest, "-")
	return id
}
