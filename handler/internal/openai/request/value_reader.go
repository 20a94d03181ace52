package request

import (
	"strconv"

	"spillway/handler/internal/openai/jsonscan"
)

// maxStringLength bounds the strings that are copied out of a body: no model,
// id, key or tier is longer.
const maxStringLength = 1024

// valueReader is a walk that can read what the members hold. Where the text itself
// is at fault its methods return nil: the walk has ended and knows why.
type valueReader struct {
	jsonscan.Iterator
	discount int // bytes passed that do not weigh as a prompt
}

// name is the present member's name for people.
func (r *valueReader) name() string { return jsonscan.Unquote(r.Key) }

// skipMeasured passes a value and notes the bytes of it that do not weigh.
func (r *valueReader) skipMeasured() {
	end, weight, why := jsonscan.MeasureValue(r.Data, r.Offset)
	if why != jsonscan.OK {
		r.Fail(end, why)
		return
	}
	r.discount += end - r.Offset - weight
	r.SkipTo(end)
}

// skipInner goes on behind a value that an inner walk went over.
func (r *valueReader) skipInner(in *valueReader) {
	r.discount += in.discount
	if in.Reason != jsonscan.OK {
		r.Fail(in.Offset, in.Reason)
		return
	}
	r.SkipTo(in.Offset)
}

// readSpan passes the present value and returns its place, or false when the text
// is at fault.
func (r *valueReader) readSpan() (Span, bool) {
	at := Span{From: r.Offset}
	at.To = r.Skip()
	return at, r.Reason == jsonscan.OK
}

// readString reads a string that may be null.
func (r *valueReader) readString(into *string) error {
	at, ok := r.readSpan()
	if !ok || r.Data[at.From] == 'n' {
		return nil
	}
	if r.Data[at.From] != '"' || at.To-at.From-2 > maxStringLength {
		return wrongType(at.From, r.name(), "a string of at most 1,024 bytes")
	}
	*into = jsonscan.Unquote(r.Data[at.From+1 : at.To-1])
	return nil
}

// readBool reads true, false, or null for false.
func (r *valueReader) readBool(into *bool) error {
	at, ok := r.readSpan()
	if !ok {
		return nil
	}
	switch r.Data[at.From] {
	case 't':
		*into = true
	case 'f', 'n':
		*into = false
	default:
		return wrongType(at.From, r.name(), "true or false")
	}
	return nil
}

// readMaxInt reads a whole number that is not negative, and keeps the readMaxInt of
// those that mean the same.
func (r *valueReader) readMaxInt(into *int64) error {
	at, ok := r.readSpan()
	if !ok || r.Data[at.From] == 'n' {
		return nil
	}
	n, ok := parseDigits(r.Data[at.From:at.To])
	if !ok {
		return wrongType(at.From, r.name(), "a whole number from 0 to 9223372036854775807")
	}
	*into = max(*into, n)
	return nil
}

// parseDigits reads digits and nothing else.
func parseDigits(b []byte) (int64, bool) {
	if len(b) > len("9223372036854775807") || b[0] < '0' || b[0] > '9' {
		return 0, false
	}
	n, err := strconv.ParseInt(string(b), 10, 64)
	return n, err == nil
}
