package health

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"strings"
	"unicode/utf8"
)

// ErrPoison is a column that is no record: cut off, edited by hand, of values
// that no version wrote. It must never be acted on (facts/table-state.md §3
// rule 6).
var ErrPoison = errors.New("health: unreadable record")

// wire is a record as a JSON column. The meaning of a name never changes; a
// newer version adds names.
type wire struct {
	Schema      int           `json:"v"`
	Incarnation uint64        `json:"i,omitempty"`
	Epoch       uint64        `json:"e,omitempty"`
	Phase       Phase         `json:"p,omitempty"`
	Until       int64         `json:"u,omitempty"`
	Since       int64         `json:"s,omitempty"`
	Trips       int           `json:"n,omitempty"`
	Ready       int64         `json:"r,omitempty"`
	Owner       string        `json:"lo,omitempty"`
	Lease       uint64        `json:"le,omitempty"`
	Nonce       string        `json:"o,omitempty"`
	Suspects    []wireSuspect `json:"su,omitempty"`
	Dissent     int64         `json:"d,omitempty"`
	Generation  uint64        `json:"tg,omitempty"`
	Terms       []wireTerm    `json:"t,omitempty"`
	Mark        int64         `json:"m,omitempty"`
	Level       uint8         `json:"ml,omitempty"`
	Word        *wireWord     `json:"w,omitempty"`
	At          int64         `json:"at,omitempty"`
	By          string        `json:"b,omitempty"`
	Why         string        `json:"y,omitempty"`
}

type wireSuspect struct {
	Who      string `json:"w"`
	At       int64  `json:"t"`
	Failures int    `json:"n"`
}

type wireTerm struct {
	Kind  LimitKind `json:"k,omitempty"`
	Until int64     `json:"u"`
	Room  int64     `json:"r,omitempty"`
}

type wireWord struct {
	Sequence uint64 `json:"q"`
	Drained  bool   `json:"d,omitempty"`
	Who      string `json:"w,omitempty"`
	At       int64  `json:"t,omitempty"`
}

// Encode is the record as one column. Strings that are no UTF-8 are mended, so
// that what is decoded again is what was meant.
func (r Record) Encode() string {
	column, err := json.Marshal(r.wire())
	if err != nil {
		panic("health: a record of plain values did not encode: " + err.Error())
	}
	if r.Beyond == "" {
		return string(column)
	}
	return strings.TrimSuffix(string(column), "}") + "," + strings.TrimPrefix(r.Beyond, "{")
}

func (r Record) wire() wire {
	c := r.Circuit
	w := wire{
		Schema: max(r.Schema, Schema), Incarnation: c.Incarnation, Epoch: c.Epoch, Phase: c.Phase, Until: c.Until,
		Since: c.Since, Trips: c.Trips, Ready: c.Ready, Owner: c.Owner, Lease: c.Lease, Nonce: c.Nonce, Dissent: c.Dissent,
		Generation: r.Windows.Generation, Mark: r.Mark.At, Level: uint8(r.Mark.Level),
		At: r.Stamp.At, By: r.Stamp.By, Why: r.Stamp.Why,
	}
	for _, s := range c.Suspects {
		w.Suspects = append(w.Suspects, wireSuspect(s))
	}
	for k, t := range r.Windows.By {
		if t != (Term{}) {
			w.Terms = append(w.Terms, wireTerm{LimitKind(k), t.Until, t.Room})
		}
	}
	if r.Word != (Word{}) {
		word := wireWord(r.Word)
		w.Word = &word
	}
	return w
}

// Decode reads a column. A record of a newer schema is read as far as it is
// understood; what is not understood at all, of whatever schema, is ErrPoison,
// and Newer tells whether it is somebody's all the same.
func Decode(column string) (Record, error) {
	var w wire
	if err := json.Unmarshal([]byte(column), &w); err != nil {
		return Record{Schema: schemaOf(column)}, fmt.Errorf("%w: %w", ErrPoison, err)
	}
	if why := w.implausible(); why != "" {
		return Record{Schema: w.Schema}, fmt.Errorf("%w: %s", ErrPoison, why)
	}
	r := w.record()
	if w.Schema > Schema {
		r.Beyond = beyond(column)
	}
	return r, nil
}

// Newer reports whether a record that cannot be read was written by a newer
// version: it is ignored then, and not replaced.
func (r Record) Newer() bool { return r.Schema > Schema }

func (w wire) record() Record {
	r := Record{
		Circuit: Circuit{
			Incarnation: w.Incarnation, Epoch: w.Epoch, Phase: w.Phase, Until: w.Until, Since: w.Since, Trips: w.Trips, Ready: w.Ready,
			Owner: w.Owner, Lease: w.Lease, Nonce: w.Nonce, Dissent: w.Dissent,
		},
		Windows: Windows{Generation: w.Generation},
		Mark:    Mark{At: w.Mark, Level: Level(w.Level)},
		Stamp:   Stamp{w.At, w.By, w.Why},
		Schema:  w.Schema,
	}
	for _, s := range w.Suspects {
		r.Circuit.Suspects = append(r.Circuit.Suspects, Suspect(s))
	}
	for _, t := range w.Terms {
		r.Windows.By[t.Kind] = Term{Until: t.Until, Room: t.Room}
	}
	if w.Word != nil {
		r.Word = Word(*w.Word)
	}
	return r
}

// What no version writes, so that arithmetic on it cannot overflow and texts
// cannot grow a row beyond the service's limits (facts/table-state.md §2).
const (
	largest = 1 << 53
	longest = 256
)

// implausible says what is wrong with a record that is JSON; "" = nothing.
func (w wire) implausible() string {
	switch {
	case w.Schema < 1:
		return "no schema version"
	case w.Phase > HalfOpen, w.Level > uint8(Filled):
		return "unknown phase or level"
	case w.Trips < 0, w.Trips > 1<<20, len(w.Suspects) > MaxSuspects, len(w.Terms) > len(Windows{}.By):
		return "a count out of bounds"
	case !small(w.Incarnation, w.Epoch, w.Lease, w.Generation) || !moment(w.Until, w.Since, w.Dissent, w.Mark, w.At, w.Ready):
		return "a number out of bounds"
	case !short(w.Owner, w.Nonce, w.By, w.Why):
		return "a text out of bounds"
	case w.Phase == HalfOpen && w.Owner == "", w.Epoch > 0 && w.Incarnation == 0:
		return "an owner or incarnation missing"
	}
	return w.implausibleParts()
}

func (w wire) implausibleParts() string {
	for _, s := range w.Suspects {
		if !short(s.Who) || !moment(s.At) || s.Failures < 1 || s.Failures > 1<<20 {
			return "a suspect out of bounds"
		}
	}
	for _, t := range w.Terms {
		if int(t.Kind) >= len(Windows{}.By) || !moment(t.Until, t.Room) {
			return "a throttle window out of bounds"
		}
	}
	if w.Word != nil && (!short(w.Word.Who) || !small(w.Word.Sequence) || !moment(w.Word.At)) {
		return "an operator's word out of bounds"
	}
	return ""
}

func small(numbers ...uint64) bool {
	for _, n := range numbers {
		if n > largest {
			return false
		}
	}
	return true
}

func moment(instants ...int64) bool {
	for _, t := range instants {
		if t < 0 || t > largest {
			return false
		}
	}
	return true
}

func short(texts ...string) bool {
	for _, s := range texts {
		if len(s) > longest || !utf8.ValidString(s) {
			return false
		}
	}
	return true
}

// schemaOf is the version of a column whose other fields cannot be read.
func schemaOf(column string) int {
	var v struct {
		Schema int `json:"v"`
	}
	if json.Unmarshal([]byte(column), &v) != nil {
		return 0
	}
	return v.Schema
}

// beyond is the part of a newer record that this version does not know.
func beyond(column string) string {
	var all map[string]json.RawMessage
	if json.Unmarshal([]byte(column), &all) != nil {
		return ""
	}
	maps.DeleteFunc(all, func(name string, _ json.RawMessage) bool { return known(name) })
	if len(all) == 0 {
		return ""
	}
	rest, err := json.Marshal(all)
	if err != nil {
		return ""
	}
	return string(rest)
}

// known reports whether wire would take the name, in any spelling that
// encoding/json accepts for it.
func known(name string) bool {
	for field := range reflect.TypeFor[wire]().Fields() {
		tag, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		if strings.EqualFold(tag, name) {
			return true
		}
	}
	return false
}
