package jsonscan

import (
	"encoding/binary"
	"unicode/utf8"
)

// invalid is the place of the first byte of b that begins no character of
// UTF-8, or len(b). The scripts of two and three bytes a letter go through
// twice as fast as with [utf8.Valid].
func invalid(b []byte) int {
	i := 0
	for i+4 <= len(b) {
		w := binary.LittleEndian.Uint32(b[i:])
		switch lead := byte(w); {
		case w&0x80808080 == 0:
			i += 4
		case w&0xc0c0f0 == 0x8080e0 && lead != 0xe0 && lead != 0xed:
			i += 3
		case w&0xc0e0 == 0x80c0 && lead >= 0xc2:
			i += 2
		default:
			n := character(b[i:])
			if n == 0 {
				return i
			}
			i += n
		}
	}
	for i < len(b) {
		n := character(b[i:])
		if n == 0 {
			break
		}
		i += n
	}
	return i
}

// character is the length of the character that b begins with, 0 when it is
// none.
func character(b []byte) int {
	r, n := utf8.DecodeRune(b)
	if r == utf8.RuneError && n <= 1 {
		return 0
	}
	return n
}
