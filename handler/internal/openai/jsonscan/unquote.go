package jsonscan

import (
	"bytes"
	"unicode/utf8"
)

// Unquote is the text of a string that a walk has passed over, given without
// its quotes. It copies, so it does not hold b.
func Unquote(b []byte) string {
	if bytes.IndexByte(b, '\\') < 0 {
		return string(b)
	}
	return string(AppendUnquoted(make([]byte, 0, len(b)), b))
}

// EqualUnquoted reports whether the string that is written as b, without its quotes,
// reads name, which may have up to 21 bytes.
func EqualUnquoted(b []byte, name string) bool {
	if string(b) == name {
		return true
	}
	var plain [128]byte
	if bytes.IndexByte(b, '\\') < 0 || len(b) > len(plain) {
		return false
	}
	return string(AppendUnquoted(plain[:0], b)) == name
}

// AppendUnquoted appends to dst the text of a string that a walk has passed
// over, given without its quotes. The text is never longer than b.
func AppendUnquoted(dst, b []byte) []byte {
	for {
		n := bytes.IndexByte(b, '\\')
		if n < 0 || n+1 == len(b) {
			return append(dst, b...)
		}
		dst = append(dst, b[:n]...)
		b = b[n:]
		if b[1] != 'u' {
			dst = append(dst, plain(b[1]))
			b = b[2:]
			continue
		}
		r, size, why := codePoint(b)
		if why != OK {
			return append(dst, b...)
		}
		dst = utf8.AppendRune(dst, r)
		b = b[size:]
	}
}

// plain is what a one-letter escape stands for.
func plain(c byte) byte {
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
