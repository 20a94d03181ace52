package jsonscan

// MaxDepth is how many brackets may be open at once inside one value, as in
// the standard library's decoder.
const MaxDepth = 10_000

// SkipValue walks over the value that begins at b[i], white space before it
// included. It returns the place behind it, or the place and reason of a fault.
func SkipValue(b []byte, i int) (int, Reason) {
	end, _, why := MeasureValue(b, i)
	return end, why
}

// MeasureValue is Value, and says how heavy the value is as a prompt: its length in
// bytes, but with attachments (see heavy) counted as AttachmentWeight each.
func MeasureValue(b []byte, i int) (end, weight int, why Reason) {
	i = SkipSpace(b, i)
	s := skipper{b: b}
	end, why = s.value(i)
	return end, end - i - s.discount, why
}

// AttachmentSize is what an attachment weighs: a picture costs the same
// thousand tokens or so however many bytes describe it.
const AttachmentSize = 4096

// skipper walks over one container. Its zero value but for b is ready.
type skipper struct {
	b        []byte
	open     bracketStack
	discount int // bytes of attachments that do not weigh
}

// value walks over the object or array that begins at i.
func (s *skipper) value(i int) (int, Reason) {
	for {
		i = SkipSpace(s.b, i)
		empty := true
		var why Reason
		switch {
		case i == len(s.b):
			return i, Truncated
		case s.b[i] == '"':
			i, why = s.stringValue(i)
		case s.b[i] == '{' || s.b[i] == '[':
			i, empty, why = s.opening(i)
		default:
			i, why = scalar(s.b, i)
		}
		if why == OK && empty {
			i, why = s.next(i)
		}
		if why != OK || s.open.depth == 0 {
			return i, why
		}
	}
}

// opening opens the bracket at i. It returns the place of the first value in it,
// or the place behind it when it is empty.
func (s *skipper) opening(i int) (end int, empty bool, why Reason) {
	object := s.b[i] == '{'
	if s.open.depth == MaxDepth {
		return i, false, TooDeep
	}
	i = SkipSpace(s.b, i+1)
	if i < len(s.b) && s.b[i] == closingBracket(object) {
		return i + 1, true, OK
	}
	s.open.push(object)
	if object {
		i, why = memberName(s.b, i)
	}
	return i, false, why
}

// next goes on behind a value: to the place where the next one begins, or
// behind the bracket that ends them all.
func (s *skipper) next(i int) (int, Reason) {
	for s.open.depth > 0 {
		i = SkipSpace(s.b, i)
		if i == len(s.b) {
			return i, Truncated
		}
		object := s.open.object()
		switch s.b[i] {
		case ',':
			return afterComma(s.b, i+1, object)
		case closingBracket(object):
			s.open.pop()
			i++
		default:
			return i, MissingComma
		}
	}
	return i, OK
}

// stringValue walks over a string and notes an attachment.
func (s *skipper) stringValue(i int) (int, Reason) {
	end, why := text(s.b, i)
	if end-i > AttachmentSize && why == OK && isAttachment(s.b[i:end]) {
		s.discount += end - i - AttachmentSize
	}
	return end, why
}

// afterComma is the place of the value behind a comma.
func afterComma(b []byte, i int, object bool) (int, Reason) {
	i = SkipSpace(b, i)
	if i < len(b) && b[i] == closingBracket(object) {
		return i, TrailingComma
	}
	if object {
		return memberName(b, i)
	}
	return i, OK
}

// memberName walks over a member's memberName and its colon.
func memberName(b []byte, i int) (int, Reason) {
	if i == len(b) {
		return i, Truncated
	}
	if b[i] != '"' {
		return i, MissingKey
	}
	i, why := text(b, i)
	if why != OK {
		return i, why
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
