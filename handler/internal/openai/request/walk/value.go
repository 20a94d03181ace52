package walk

// MaxDepth is how many brackets may be open at once inside one value, as in
// the standard library's decoder.
const MaxDepth = 10_000

// Value walks over the value that begins at b[i], white space before it
// included. It returns the place behind it, or the place and reason of a fault.
func Value(b []byte, i int) (int, Reason) {
	end, _, why := Weigh(b, i)
	return end, why
}

// Weigh is Value, and says how heavy the value is as a prompt: its length in
// bytes, but with attachments (see heavy) counted as AttachmentWeight each.
func Weigh(b []byte, i int) (end, weight int, why Reason) {
	i = Space(b, i)
	s := skipper{b: b}
	end, why = s.container(i)
	return end, end - i - s.light, why
}

// AttachmentWeight is what an attachment weighs: a picture costs the same
// thousand tokens or so however many bytes describe it.
const AttachmentWeight = 4096

// skipper walks over one container. Its zero value but for b is ready.
type skipper struct {
	b     []byte
	open  brackets
	light int // bytes of attachments that do not weigh
}

// container walks over the object or array that begins at i.
func (s *skipper) container(i int) (int, Reason) {
	for {
		i = Space(s.b, i)
		empty := true
		var why Reason
		switch {
		case i == len(s.b):
			return i, Truncated
		case s.b[i] == '"':
			i, why = s.text(i)
		case s.b[i] == '{' || s.b[i] == '[':
			i, empty, why = s.enter(i)
		default:
			i, why = scalar(s.b, i)
		}
		if why == OK && empty {
			i, why = s.settle(i)
		}
		if why != OK || s.open.depth == 0 {
			return i, why
		}
	}
}

// enter opens the bracket at i. It returns the place of the first value in it,
// or the place behind it when it is empty.
func (s *skipper) enter(i int) (end int, empty bool, why Reason) {
	object := s.b[i] == '{'
	if s.open.depth == MaxDepth {
		return i, false, TooDeep
	}
	i = Space(s.b, i+1)
	if i < len(s.b) && s.b[i] == closing(object) {
		return i + 1, true, OK
	}
	s.open.push(object)
	if object {
		i, why = name(s.b, i)
	}
	return i, false, why
}

// settle goes on behind a value: to the place where the next one begins, or
// behind the bracket that ends them all.
func (s *skipper) settle(i int) (int, Reason) {
	for s.open.depth > 0 {
		i = Space(s.b, i)
		if i == len(s.b) {
			return i, Truncated
		}
		object := s.open.object()
		switch s.b[i] {
		case ',':
			return following(s.b, i+1, object)
		case closing(object):
			s.open.pop()
			i++
		default:
			return i, NoComma
		}
	}
	return i, OK
}

// text walks over a string and notes an attachment.
func (s *skipper) text(i int) (int, Reason) {
	end, why := text(s.b, i)
	if end-i > AttachmentWeight && why == OK && attachment(s.b[i:end]) {
		s.light += end - i - AttachmentWeight
	}
	return end, why
}

// following is the place of the value behind a comma.
func following(b []byte, i int, object bool) (int, Reason) {
	i = Space(b, i)
	if i < len(b) && b[i] == closing(object) {
		return i, TrailingComma
	}
	if object {
		return name(b, i)
	}
	return i, OK
}

// name walks over a member's name and its colon.
func name(b []byte, i int) (int, Reason) {
	if i == len(b) {
		return i, Truncated
	}
	if b[i] != '"' {
		return i, NoKey
	}
	i, why := text(b, i)
	if why != OK {
		return i, why
	}
	i = Space(b, i)
	if i == len(b) {
		return i, Truncated
	}
	if b[i] != ':' {
		return i, NoColon
	}
	return i + 1, OK
}

func closing(object bool) byte {
	if object {
		return '}'
	}
	return ']'
}
