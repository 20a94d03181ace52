package request

import (
	"strconv"

	"spillway/handler/internal/openai/request/walk"
)

// longestString bounds the strings that are copied out of a body: no model,
// id, key or tier is longer.
const longestString = 1024

// reader is a walk that can read what the members hold. Where the text itself
// is at fault its methods return nil: the walk has ended and knows why.
type reader struct {
	walk.Walk
	light int // bytes passed that do not weigh as a prompt
}

// name is the present member's name for people.
func (r *reader) name() string { return walk.Unquote(r.Key) }

// pass passes a value and notes the bytes of it that do not weigh.
func (r *reader) pass() {
	end, weight, why := walk.Weigh(r.Text, r.At)
	if why != walk.OK {
		r.Fail(end, why)
		return
	}
	r.light += end - r.At - weight
	r.Past(end)
}

// pastInner goes on behind a value that an inner walk went over.
func (r *reader) pastInner(in *reader) {
	r.light += in.light
	if in.Why != walk.OK {
		r.Fail(in.At, in.Why)
		return
	}
	r.Past(in.At)
}

// span passes the present value and returns its place, or false when the text
// is at fault.
func (r *reader) span() (Span, bool) {
	at := Span{From: r.At}
	at.To = r.Skip()
	return at, r.Why == walk.OK
}

// short reads a string that may be null.
func (r *reader) short(into *string) error {
	at, ok := r.span()
	if !ok || r.Text[at.From] == 'n' {
		return nil
	}
	if r.Text[at.From] != '"' || at.To-at.From-2 > longestString {
		return wrongType(at.From, r.name(), "a string of at most 1,024 bytes")
	}
	*into = walk.Unquote(r.Text[at.From+1 : at.To-1])
	return nil
}

// boolean reads true, false, or null for false.
func (r *reader) boolean(into *bool) error {
	at, ok := r.span()
	if !ok {
		return nil
	}
	switch r.Text[at.From] {
	case 't':
		*into = true
	case 'f', 'n':
		*into = false
	default:
		return wrongType(at.From, r.name(), "true or false")
	}
	return nil
}

// largest reads a whole number that is not negative, and keeps the largest of
// those that mean the same.
func (r *reader) largest(into *int64) error {
	at, ok := r.span()
	if !ok || r.Text[at.From] == 'n' {
		return nil
	}
	n, ok := whole(r.Text[at.From:at.To])
	if !ok {
		return wrongType(at.From, r.name(), "a whole number from 0 to 9223372036854775807")
	}
	*into = max(*into, n)
	return nil
}

// whole reads digits and nothing else.
func whole(b []byte) (int64, bool) {
	if len(b) > len("9223372036854775807") || b[0] < '0' || b[0] > '9' {
		return 0, false
	}
	n, err := strconv.ParseInt(string(b), 10, 64)
	return n, err == nil
}
