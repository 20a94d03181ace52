package jsonscan

import (
	"encoding/binary"
	"math/bits"
)

// One byte of a word, eight times.
const (
	ones  = 0x0101010101010101
	highs = 0x80 * ones
	lows  = 0x7f * ones
)

// quiet is after how many words without anything special the search goes over
// to long blocks.
const quiet = 8

// text walks over the string whose opening quote is at b[i]. It returns the
// place behind the closing quote, or the place and reason of a fault.
func text(b []byte, i int) (int, Reason) {
	i++
	start, words := i, 0
	var seen uint64
	for i+8 <= len(b) {
		w := binary.LittleEndian.Uint64(b[i:])
		m := special(w)
		seen |= w
		if m == 0 {
			i += 8
			if words++; words == quiet {
				n, high := calm(b[i:])
				i, words, seen = i+n, 0, seen|high
			}
			continue
		}
		at := i + bits.TrailingZeros64(m)>>3
		if b[at] != '"' {
			at, why := letters(b, i, m)
			if why != OK {
				return at, why
			}
			i, words = at, 0
			continue
		}
		if seen&highs == 0 {
			return at + 1, OK
		}
		return closed(b, start, at)
	}
	return lastText(b, start, i)
}

// letters goes over the special bytes of the word at b[i], which m marks, up to
// the closing quote or the word's end. The first of them is no quote.
func letters(b []byte, i int, m uint64) (int, Reason) {
	for n := 0; m != 0; m &= ^uint64(0) << (8 * n) {
		n = bits.TrailingZeros64(m) >> 3
		c := b[i+n]
		if c == '"' {
			return i + n, OK
		}
		if c != '\\' || i+n+1 == len(b) || !isLetter(b[i+n+1]) {
			size, why := escape(b[i+n:])
			return i + n + size, why
		}
		n += 2
		if n >= 8 {
			return i + n, OK
		}
	}
	return i + 8, OK
}

// lastText is text for the last bytes of b.
func lastText(b []byte, start, i int) (int, Reason) {
	for i < len(b) {
		switch {
		case b[i] == '"':
			return closed(b, start, i)
		case b[i] == '\\' || b[i] < ' ':
			n, why := escape(b[i:])
			if why != OK {
				return i, why
			}
			i += n
		default:
			i++
		}
	}
	return i, Truncated
}

// closed ends a string with bytes beyond ASCII at the quote at i.
func closed(b []byte, start, i int) (int, Reason) {
	at := start + invalid(b[start:i])
	if at < i {
		return at, BadUTF8
	}
	return i + 1, OK
}

// special has the high bit set in each byte of w that is a quote, a backslash
// or a control character. Exchanging 0x20 and 0x22 makes the quote and the
// control characters one range; no sum carries into the next byte.
func special(w uint64) uint64 {
	quotes := (w^0x02*ones)&lows + (0x80-0x21)*ones
	slashes := (w^'\\'*ones)&lows + (0x80-0x01)*ones
	return highs &^ (quotes&slashes | w)
}
