package jsonscan

import (
	"bytes"
	"unicode/utf16"
	"unicode/utf8"
)

// Unquote is the text of a string that was skipped, given without its quotes.
// It copies, so it does not hold b.
func Unquote(b []byte) string {
	if bytes.IndexByte(b, '\\') < 0 {
		return string(b)
	}
	return string(AppendUnquoted(make([]byte, 0, len(b)), b))
}

// EqualUnquoted reports whether the string that is written as b, without its
// quotes, reads name, which may have up to 21 bytes.
func EqualUnquoted(b []byte, name string) bool {
	if string(b) == name {
		return true
	}
	var text [128]byte
	if bytes.IndexByte(b, '\\') < 0 || len(b) > len(text) {
		return false
	}
	return string(AppendUnquoted(text[:0], b)) == name
}

// AppendUnquoted appends to dst the text of a string that was skipped, given
// without its quotes. The text is never longer than b.
func AppendUnquoted(dst, b []byte) []byte {
	for {
		n := bytes.IndexByte(b, '\\')
		if n < 0 || n+1 == len(b) {
			return append(dst, b...)
		}
		dst = append(dst, b[:n]...)
		b = b[n:]
		if b[1] != 'u' {
			dst = append(dst, unescaped(b[1]))
			b = b[2:]
			continue
		}
		r, size, reason := codePoint(b)
		if reason != OK {
			return append(dst, b...)
		}
		dst = utf8.AppendRune(dst, r)
		b = b[size:]
	}
}

// unescaped is what a backslash and c stand for.
func unescaped(c byte) byte {
	switch c {
	case 'b':
		return '\b'
	case 'f':
		return '\f'
	case 'n':
		return '\n'
	case 'r':
		return '\r'
	case 't':
		return '\t'
	}
	return c
}

// escapeLength is the length of the escape that b begins with; a surrogate pair
// is one escape. A byte that begins no escape is a control character.
func escapeLength(b []byte) (int, Reason) {
	if b[0] != '\\' {
		return 0, ControlCharacter
	}
	if len(b) < 2 {
		return 0, Truncated
	}
	switch b[1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return 2, OK
	case 'u':
		_, n, reason := codePoint(b)
		return n, reason
	}
	return 0, BadEscape
}

// codePoint reads \uXXXX, or two of them that are a surrogate pair.
func codePoint(b []byte) (rune, int, Reason) {
	first, ok := codeUnit(b)
	if !ok {
		return 0, 0, BadEscape
	}
	if !utf16.IsSurrogate(first) {
		return first, 6, OK
	}
	second, ok := codeUnit(b[6:])
	if !ok {
		return 0, 0, LoneSurrogate
	}
	r := utf16.DecodeRune(first, second)
	if r == utf8.RuneError {
		return 0, 0, LoneSurrogate
	}
	return r, 12, OK
}

// codeUnit reads one \uXXXX.
func codeUnit(b []byte) (rune, bool) {
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
