package jsonscan

import "bytes"

// MaxDepth is how many brackets may be open at once inside one value, as in
// the standard library's decoder.
const MaxDepth = 10_000

// SkipValue passes the value that begins at b[i], and white space before it. It
// returns the offset behind the value, or the offset and reason of a fault.
func SkipValue(b []byte, i int) (int, Reason) {
	end, _, reason := MeasureWatched(b, i, nil)
	return end, reason
}

// MeasureWatched is [SkipValue], has w find members in the value, and returns its size
// as a prompt: its length in bytes, with each attachment counted as AttachmentSize at
// most. A nil w finds nothing and knows no attachments.
func MeasureWatched(b []byte, i int, w *Watch) (end, size int, reason Reason) {
	i = SkipSpace(b, i)
	s := skipper{b: b, watch: w}
	end, reason = s.value(i)
	return end, end - i - s.discount, reason
}

// skipper passes one value. Its zero value but for b is ready.
type skipper struct {
	b        []byte
	open     bracketStack
	discount int    // bytes of attachments that do not count
	watch    *Watch // nil = none
}

// value passes the value that begins at i, and all that is inside it.
func (s *skipper) value(i int) (int, Reason) {
	for {
		i = SkipSpace(s.b, i)
		whole := true
		var reason Reason
		switch {
		case i == len(s.b):
			return i, Truncated
		case s.b[i] == '"':
			i, reason = s.stringValue(i)
		case s.b[i] == '{' || s.b[i] == '[':
			i, whole, reason = s.opening(i)
		default:
			i, reason = s.scalarValue(i)
		}
		if reason == OK && whole {
			i, reason = s.next(i)
		}
		if reason != OK || s.open.depth == 0 {
			return i, reason
		}
	}
}

// opening passes the opening bracket at i. It returns the offset of the first
// value inside, or, with empty true, the offset behind an empty container.
func (s *skipper) opening(i int) (end int, empty bool, reason Reason) {
	object := s.b[i] == '{'
	if s.open.depth == MaxDepth {
		return i, false, TooDeep
	}
	i = SkipSpace(s.b, i+1)
	if i < len(s.b) && s.b[i] == closingBracket(object) {
		if s.watch != nil {
			s.watch.empty()
		}
		return i + 1, true, OK
	}
	s.open.push(object)
	if s.watch != nil {
		if reason := s.watch.enter(s.b, !object); reason != OK {
			return i, false, reason
		}
	}
	if object {
		i, reason = s.memberName(i)
	}
	return i, false, reason
}

// memberName passes a member's name and its colon, and has it watched.
func (s *skipper) memberName(i int) (int, Reason) {
	end, reason := memberName(s.b, i)
	if s.watch == nil || reason != OK {
		return end, reason
	}
	if reason = s.watch.member(s.b[i+1 : quoteBefore(s.b, end)]); reason != OK {
		return i, reason
	}
	return end, OK
}

// next continues behind a value: at the offset of the next one, or behind the
// bracket that closes the outermost container.
func (s *skipper) next(i int) (int, Reason) {
	for s.open.depth > 0 {
		i = SkipSpace(s.b, i)
		if i == len(s.b) {
			return i, Truncated
		}
		object := s.open.object()
		switch s.b[i] {
		case ',':
			return s.afterComma(i+1, object)
		case closingBracket(object):
			s.open.pop()
			if s.watch != nil {
				s.discount += s.watch.encoded(s.b)
				if s.watch.leave(s.b) != OK {
					return i, TooManyMatches
				}
			}
			i++
		default:
			return i, MissingComma
		}
	}
	return i, OK
}

// stringValue passes a string, and takes off what does not count of an
// attachment.
func (s *skipper) stringValue(i int) (int, Reason) {
	end, reason := skipString(s.b, i)
	if s.watch == nil || reason != OK {
		return end, reason
	}
	if end-i > AttachmentSize {
		s.discount += s.watch.attachment(s.b[i:end])
	}
	return end, s.watch.text(s.b, i, end)
}

// scalarValue passes a number or literal.
func (s *skipper) scalarValue(i int) (int, Reason) {
	end, reason := scalar(s.b, i)
	if s.watch == nil || reason != OK {
		return end, reason
	}
	return end, s.watch.scalar(s.b, i, end)
}

// afterComma is the offset of the value behind a comma.
func (s *skipper) afterComma(i int, object bool) (int, Reason) {
	i = SkipSpace(s.b, i)
	if i < len(s.b) && s.b[i] == closingBracket(object) {
		return i, TrailingComma
	}
	if object {
		return s.memberName(i)
	}
	return i, OK
}

// memberName passes a member's name and its colon.
func memberName(b []byte, i int) (int, Reason) {
	if i == len(b) {
		return i, Truncated
	}
	if b[i] != '"' {
		return i, MissingKey
	}
	i, reason := skipString(b, i)
	if reason != OK {
		return i, reason
	}
	i = SkipSpace(b, i)
	if i == len(b) {
		return i, Truncated
	}
	if b[i] != ':' {
		return i, MissingColon
	}
	return i + 1, OK
}

func closingBracket(object bool) byte {
	if object {
		return '}'
	}
	return ']'
}

// bracketStack holds the open brackets, one bit each. Depths beyond 64 are rare
// and held apart, so that the common case is one word.
type bracketStack struct {
	depth int
	top   uint64                   // the innermost, lowest bit first
	rest  *[MaxDepth/64 + 1]uint64 // full words below it
}

func (o *bracketStack) push(object bool) {
	if o.depth > 0 && o.depth%64 == 0 {
		if o.rest == nil {
			o.rest = new([MaxDepth/64 + 1]uint64)
		}
		o.rest[o.depth/64-1] = o.top
		o.top = 0
	}
	o.depth++
	o.top <<= 1
	if object {
		o.top |= 1
	}
}

func (o *bracketStack) pop() {
	o.depth--
	o.top >>= 1
	if o.depth > 0 && o.depth%64 == 0 {
		o.top = o.rest[o.depth/64-1]
	}
}

// object reports whether the innermost bracket is a brace.
func (o *bracketStack) object() bool { return o.top&1 == 1 }

// scalar passes the number or literal that begins at b[i].
func scalar(b []byte, i int) (int, Reason) {
	switch c := b[i]; {
	case c == '-' || isDigit(c):
		return number(b, i)
	case c == 't':
		return literal(b, i, "true")
	case c == 'f':
		return literal(b, i, "false")
	case c == 'n':
		return literal(b, i, "null")
	case c == '}' || c == ']' || c == ',' || c == ':':
		return i, MissingValue
	}
	return i, BadLiteral
}

func literal(b []byte, i int, text string) (int, Reason) {
	if bytes.HasPrefix(b[i:], []byte(text)) {
		return i + len(text), OK
	}
	return i, BadLiteral
}

// number passes -?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?.
func number(b []byte, i int) (int, Reason) {
	from := i
	if b[i] == '-' {
		i++
	}
	whole := digits(b, i)
	if whole == i || (b[i] == '0' && whole > i+1) {
		return from, BadNumber
	}
	i = whole
	if i < len(b) && b[i] == '.' {
		end := digits(b, i+1)
		if end == i+1 {
			return from, BadNumber
		}
		i = end
	}
	if i < len(b) && b[i]|0x20 == 'e' {
		i++
		if i < len(b) && (b[i] == '+' || b[i] == '-') {
			i++
		}
		end := digits(b, i)
		if end == i {
			return from, BadNumber
		}
		i = end
	}
	return i, OK
}

// digits is the offset behind the digits that begin at b[i].
func digits(b []byte, i int) int {
	for i < len(b) && isDigit(b[i]) {
		i++
	}
	return i
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }
