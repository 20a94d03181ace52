package jsonscan

import "unicode/utf16"

// escape is the length of the escape that b begins with; a surrogate pair is
// one escape. What is no escape is a control character.
func escape(b []byte) (int, Reason) {
	switch {
	case b[0] != '\\':
		return 0, ControlCharacter
	case len(b) < 2:
		return 0, Truncated
	case isLetter(b[1]):
		return 2, OK
	case b[1] == 'u':
		_, n, why := codePoint(b)
		return n, why
	}
	return 0, BadEscape
}

// codePoint reads \uXXXX, or two of them that are a surrogate pair.
func codePoint(b []byte) (rune, int, Reason) {
	first, ok := unit(b)
	if !ok {
		return 0, 0, BadEscape
	}
	if !utf16.IsSurrogate(first) {
		return first, 6, OK
	}
	second, ok := unit(b[6:])
	if !ok {
		return 0, 0, LoneSurrogate
	}
	r := utf16.DecodeRune(first, second)
	if r == '\uFFFD' {
		return 0, 0, LoneSurrogate
	}
	return r, 12, OK
}

// unit reads one \uXXXX.
func unit(b []byte) (rune, bool) {
	if len(b) < 6 || b[0] != '\\' || b[1] != 'u' {
		return 0, false
	}
	var r rune
	for _, c := range b[2:6] {
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c|0x20 && c|0x20 <= 'f':
			c = c | 0x20 - 'a' + 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}

// isLetter reports whether a backslash and c are an escape by themselves.
func isLetter(c byte) bool {
	const (
		low  = 1<<'"' | 1<<'/'
		high = 1<<('\\'-64) | 1<<('b'-64) | 1<<('f'-64) | 1<<('n'-64) | 1<<('r'-64) | 1<<('t'-64)
	)
	set := uint64(low)
	if c >= 64 {
		set = high
	}
	return c < 128 && set>>(c&63)&1 == 1
}
