package request

import (
	"math"
	"strconv"

	"spillway/handler/internal/openai/jsonscan"
)

// maxStringLength bounds the strings that are copied from a body: no model, id,
// key or tier is longer.
const maxStringLength = 1024

// valueReader is an iterator that reads typed values. Where the text itself is at
// fault its methods return nil: the iteration has ended, with the reason.
type valueReader struct {
	jsonscan.Iterator
	watch    *jsonscan.Watch // finds members in what skipMeasured passes; nil = none
	discount int             // bytes passed that do not count as a prompt
}

// name is the current member's name.
func (r *valueReader) name() string { return jsonscan.Unquote(r.Key) }

// skipMeasured passes a value and adds the bytes of it that do not count.
func (r *valueReader) skipMeasured() {
	end, size, reason := jsonscan.MeasureWatched(r.Data, r.Offset, r.watch)
	if reason != jsonscan.OK {
		r.Fail(end, reason)
		return
	}
	r.discount += end - r.Offset - size
	r.SkipTo(end)
}

// skipInner continues behind a value that an inner reader went over.
func (r *valueReader) skipInner(in *valueReader) {
	r.discount += in.discount
	if in.Reason != jsonscan.OK {
		r.Fail(in.Offset, in.Reason)
		return
	}
	r.SkipTo(in.Offset)
}

// readSpan passes the current value and returns its span, or false when the text
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

// readMaxInt reads a number, rounded up, and keeps the larger of it and *into:
// several members set the same limit. A negative one is none, as OpenAI-compatible
// servers have it.
func (r *valueReader) readMaxInt(into *int64) error {
	at, ok := r.readSpan()
	if !ok || r.Data[at.From] == 'n' {
		return nil
	}
	n, ok := parseLimit(r.Data[at.From:at.To])
	if !ok {
		return wrongType(at.From, r.name(), "a number up to 9223372036854775807")
	}
	*into = max(*into, n)
	return nil
}

// parseLimit reads a JSON number, rounded up; a negative one is 0.
func parseLimit(b []byte) (int64, bool) {
	if n, err := strconv.ParseInt(string(b[:min(len(b), 32)]), 10, 64); err == nil {
		return max(n, 0), true
	}
	f, err := strconv.ParseFloat(string(b[:min(len(b), 32)]), 64)
	if err != nil || len(b) > 32 || b[0] != '-' && (b[0] < '0' || b[0] > '9') || f >= math.MaxInt64 {
		return 0, false
	}
	return int64(math.Ceil(max(f, 0))), true
}
