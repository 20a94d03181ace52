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

// ErrUnreadable is a column that is no record: truncated, edited by hand, or with
// values that no version writes. It must never be acted on
// (docs/shared-state.md#rules).
var ErrUnreadable = errors.New("health: unreadable record")

// recordJSON is a record as a JSON column. The meaning of a name never changes; a
// newer version adds names (docs/shared-state.md#entities).
type recordJSON struct {
	Schema        int             `json:"v"`
	Epoch         uint64          `json:"e,omitempty"`
	State         CircuitState    `json:"p,omitempty"`
	Until         int64           `json:"u,omitempty"`
	Leased        int64           `json:"lu,omitempty"`
	Since         int64           `json:"s,omitempty"`
	Trips         int             `json:"n,omitempty"`
	ProbeDueSince int64           `json:"r,omitempty"`
	Owner         string          `json:"lo,omitempty"`
	Lease         uint64          `json:"le,omitempty"`
	Nonce         string          `json:"o,omitempty"`
	FailedBy      string          `json:"fb,omitempty"`
	Suspicions    []suspicionJSON `json:"su,omitempty"`
	SuspectedAt   int64           `json:"sa,omitempty"`
	LastObjection int64           `json:"d,omitempty"`
	Windows       []windowJSON    `json:"t,omitempty"`
	SaturationAt  int64           `json:"m,omitempty"`
	Level         uint8           `json:"ml,omitempty"`
	Override      *overrideJSON   `json:"w,omitempty"`
	ResetAt       int64           `json:"ra,omitempty"`
	At            int64           `json:"at,omitempty"`
	By            string          `json:"b,omitempty"`
	Reason        string          `json:"y,omitempty"`
	Evidence      string          `json:"ye,omitempty"`
}

type suspicionJSON struct {
	Reporter string `json:"w"`
	Since    int64  `json:"s"`
	At       int64  `json:"t"`
	Failures int    `json:"n"`
}

type windowJSON struct {
	Kind      LimitKind `json:"k,omitempty"`
	Until     int64     `json:"u"`
	MaxTokens int64     `json:"r,omitempty"`
}

type overrideJSON struct {
	Drained  bool   `json:"d,omitempty"`
	Operator string `json:"w,omitempty"`
	At       int64  `json:"t,omitempty"`
}

// Encode returns the record as one column. Strings that are not UTF-8 are
// repaired, as encoding/json does.
func (r Record) Encode() string {
	column, err := json.Marshal(r.toJSON())
	if err != nil {
		panic("health: a record of plain values did not encode: " + err.Error())
	}
	if r.UnknownFields == "" {
		return string(column)
	}
	return strings.TrimSuffix(string(column), "}") + "," + strings.TrimPrefix(r.UnknownFields, "{")
}

func (r Record) toJSON() recordJSON {
	c := r.Circuit
	w := recordJSON{
		Schema: max(r.Schema, Schema), Epoch: c.Epoch, State: c.State, Until: c.Until, Leased: c.Leased,
		Since: c.Since, Trips: c.Trips, ProbeDueSince: c.ProbeDueSince, Owner: c.Owner, Lease: c.Lease, Nonce: c.Nonce, LastObjection: c.LastObjection, SuspectedAt: c.SuspectedAt,
		FailedBy: c.FailedBy, ResetAt: r.ResetAt, SaturationAt: r.Saturation.At, Level: uint8(r.Saturation.Level),
		At: r.LastChange.At, By: r.LastChange.By, Reason: r.LastChange.Reason, Evidence: r.LastChange.Evidence,
	}
	for _, s := range c.Suspicions {
		w.Suspicions = append(w.Suspicions, suspicionJSON(s))
	}
	for k, t := range r.Windows.ByKind {
		if t != (ThrottleWindow{}) {
			w.Windows = append(w.Windows, windowJSON{LimitKind(k), t.Until, t.MaxTokens})
		}
	}
	if r.Override != (OperatorOverride{}) {
		override := overrideJSON(r.Override)
		w.Override = &override
	}
	return w
}

// Decode reads a column. A record of a newer schema is read as far as it is
// understood. One that cannot be read at all, of any schema, is ErrUnreadable;
// Newer then reports whether a newer version wrote it.
func Decode(column string) (Record, error) {
	var w recordJSON
	if err := json.Unmarshal([]byte(column), &w); err != nil {
		return Record{Schema: schemaOf(column)}, fmt.Errorf("%w: %w", ErrUnreadable, err)
	}
	if fault := w.invalid(); fault != "" {
		return Record{Schema: w.Schema}, fmt.Errorf("%w: %s", ErrUnreadable, fault)
	}
	r := w.toRecord()
	if w.Schema > Schema {
		r.UnknownFields = unknownFields(column)
	}
	return r, nil
}

// Newer reports whether a newer version wrote the record. One that cannot be
// read is then ignored and not replaced.
func (r Record) Newer() bool { return r.Schema > Schema }

func (w recordJSON) toRecord() Record {
	r := Record{
		Circuit: Circuit{
			Epoch: w.Epoch, State: w.State, Until: w.Until, Leased: w.Leased, Since: w.Since, Trips: w.Trips, ProbeDueSince: w.ProbeDueSince,
			Owner: w.Owner, Lease: w.Lease, Nonce: w.Nonce, LastObjection: w.LastObjection, SuspectedAt: w.SuspectedAt, FailedBy: w.FailedBy,
		},
		ResetAt:    w.ResetAt,
		Saturation: Saturation{At: w.SaturationAt, Level: SaturationLevel(w.Level)},
		LastChange: Change{w.At, w.By, w.Reason, w.Evidence},
		Schema:     w.Schema,
	}
	for _, s := range w.Suspicions {
		r.Circuit.Suspicions = append(r.Circuit.Suspicions, Suspicion(s))
	}
	for _, t := range w.Windows {
		r.Windows.ByKind[t.Kind] = ThrottleWindow{Until: t.Until, MaxTokens: t.MaxTokens}
	}
	if w.Override != nil {
		r.Override = OperatorOverride(*w.Override)
	}
	return r
}

// The bounds of what any version writes. Within them arithmetic cannot overflow,
// and texts cannot grow a row beyond the service's limits
// (docs/shared-state.md#limits-and-cost).
const (
	maxInteger    = 1 << 53
	maxTextLength = 256
)

// invalid returns what is wrong with a record that is JSON; "" = nothing.
func (w recordJSON) invalid() string {
	switch {
	case w.Schema < 1:
		return "no schema version"
	case w.State > HalfOpen, w.Level > uint8(AtLimit):
		return "unknown phase or level"
	case w.Trips < 0, w.Trips > 1<<20, len(w.Suspicions) > MaxSuspicions, len(w.Windows) > len(ThrottleWindows{}.ByKind):
		return "a count out of bounds"
	case !integersInRange(w.Epoch, w.Lease) || !instantsInRange(w.Until, w.Leased, w.Since, w.LastObjection, w.SaturationAt, w.At, w.ProbeDueSince, w.ResetAt, w.SuspectedAt):
		return "a number out of bounds"
	case !textsInRange(w.Owner, w.Nonce, w.By, w.Reason, w.Evidence, w.FailedBy):
		return "a text out of bounds"
	case w.State == HalfOpen && w.Owner == "", w.State != Closed && w.Epoch == 0:
		return "an owner or epoch missing"
	}
	return w.invalidParts()
}

func (w recordJSON) invalidParts() string {
	for _, s := range w.Suspicions {
		if !textsInRange(s.Reporter) || !instantsInRange(s.At, s.Since) || s.Failures < 1 || s.Failures > 1<<20 {
			return "a suspicion out of bounds"
		}
	}
	for _, t := range w.Windows {
		if int(t.Kind) >= len(ThrottleWindows{}.ByKind) || !instantsInRange(t.Until, t.MaxTokens) {
			return "a throttle window out of bounds"
		}
	}
	if w.Override != nil && (!textsInRange(w.Override.Operator) || !instantsInRange(w.Override.At)) {
		return "an operator's override out of bounds"
	}
	return ""
}

func integersInRange(numbers ...uint64) bool {
	for _, n := range numbers {
		if n > maxInteger {
			return false
		}
	}
	return true
}

func instantsInRange(instants ...int64) bool {
	for _, t := range instants {
		if t < 0 || t > maxInteger {
			return false
		}
	}
	return true
}

func textsInRange(texts ...string) bool {
	for _, s := range texts {
		if len(s) > maxTextLength || !utf8.ValidString(s) {
			return false
		}
	}
	return true
}

// schemaOf is the version of a column whose other fields cannot be read; 0 =
// unknown.
func schemaOf(column string) int {
	var v struct {
		Schema int `json:"v"`
	}
	if json.Unmarshal([]byte(column), &v) != nil {
		return 0
	}
	return v.Schema
}

// unknownFields is the part of a newer record that this version does not have.
func unknownFields(column string) string {
	var all map[string]json.RawMessage
	if json.Unmarshal([]byte(column), &all) != nil {
		return ""
	}
	maps.DeleteFunc(all, func(name string, _ json.RawMessage) bool { return isKnownField(name) })
	if len(all) == 0 {
		return ""
	}
	rest, err := json.Marshal(all)
	if err != nil {
		return ""
	}
	return string(rest)
}

// isKnownField reports whether wire has the name, in any case, as encoding/json
// accepts it.
func isKnownField(name string) bool {
	for field := range reflect.TypeFor[recordJSON]().Fields() {
		tag, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		if strings.EqualFold(tag, name) {
			return true
		}
	}
	return false
}
