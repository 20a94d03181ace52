package jsonscan

import "bytes"

// scalar walks over the number or word that begins at b[i].
func scalar(b []byte, i int) (int, Reason) {
	switch c := b[i]; {
	case c == '-' || isDigit(c):
		return number(b, i)
	case c == 't':
		return word(b, i, "true")
	case c == 'f':
		return word(b, i, "false")
	case c == 'n':
		return word(b, i, "null")
	case c == '}' || c == ']' || c == ',' || c == ':':
		return i, MissingValue
	}
	return i, BadLiteral
}

func word(b []byte, i int, w string) (int, Reason) {
	if bytes.HasPrefix(b[i:], []byte(w)) {
		return i + len(w), OK
	}
	return i, BadLiteral
}

// number walks over -?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?.
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

// digits is the place behind the digits that begin at b[i].
func digits(b []byte, i int) int {
	for i < len(b) && isDigit(b[i]) {
		i++
	}
	return i
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }
