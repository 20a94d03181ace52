package jsonscan

import (
	"bytes"
	"encoding/binary"
	"math/bits"
	"unicode/utf8"
)

// One byte of a word, eight times.
const (
	ones     = 0x0101010101010101
	highBits = 0x80 * ones
	lowBits  = 0x7f * ones
	spaces   = ' ' * ones
)

// shortRun is the length from which a run of plain bytes is searched in blocks.
const shortRun = 64

// skipString passes the string whose opening quote is at b[i]. It returns the
// offset behind the closing quote, or the offset and reason of a fault.
func skipString(b []byte, i int) (int, Reason) {
	start := i + 1
	var seen uint64
	for i = start; ; {
		n, bytesSeen := plainRun(b[i:])
		i, seen = i+n, seen|bytesSeen
		switch {
		case i == len(b):
			return i, Truncated
		case b[i] == '"' && seen&highBits == 0:
			return i + 1, OK
		case b[i] == '"':
			if at := start + validUTF8(b[start:i]); at < i {
				return at, BadUTF8
			}
			return i + 1, OK
		}
		n, reason := escapeLength(b[i:])
		if reason != OK {
			return i, reason
		}
		i += n
	}
}

// plainRun is how many bytes of b precede its first quote, backslash or
// control character. A high bit of seen is set when one of them, or of the
// seven bytes behind them, is not ASCII.
func plainRun(b []byte) (n int, seen uint64) {
	for n+8 <= len(b) && n < shortRun {
		w := binary.LittleEndian.Uint64(b[n:])
		seen |= w
		if m := special(w); m != 0 {
			return n + bits.TrailingZeros64(m)>>3, seen
		}
		n += 8
	}
	if n == shortRun {
		long, more := longRun(b[n:])
		return n + long, seen | more
	}
	for n < len(b) && b[n] >= ' ' && b[n] != '"' && b[n] != '\\' {
		seen |= uint64(b[n])
		n++
	}
	return n, seen
}

// special has the high bit set in each byte of w that is a quote, a backslash
// or a control character. Exchanging 0x20 and 0x22 makes the quote and the
// control characters one range; no sum carries into the next byte.
func special(w uint64) uint64 {
	quotes := (w^0x02*ones)&lowBits + (0x80-0x21)*ones
	slashes := (w^'\\'*ones)&lowBits + (0x80-0x01)*ones
	return highBits &^ (quotes&slashes | w)
}

// longRun is plainRun for text that has been plain for a while: there the
// vector search of the standard library is three times as fast. The blocks grow,
// so that little is searched twice, and are bounded, so that frequent escapes in
// a long string take linear time.
func longRun(b []byte) (n int, seen uint64) {
	for size := 256; n < len(b); size = min(2*size, 1<<14) {
		block := b[n:min(n+size, len(b))]
		stop := bytes.IndexByte(block, '"')
		if stop >= 0 {
			block = block[:stop]
		}
		if at := bytes.IndexByte(block, '\\'); at >= 0 {
			block, stop = block[:at], at
		}
		printable, more := printableRun(block)
		n, seen = n+printable, seen|more
		if printable < len(block) || stop >= 0 {
			break
		}
	}
	return n, seen
}

// printableRun is how many bytes of b precede its first control character,
// and all of them or-ed together.
func printableRun(b []byte) (n int, seen uint64) {
	for n+32 <= len(b) {
		t := b[n : n+32 : n+32]
		w0, w1 := binary.LittleEndian.Uint64(t), binary.LittleEndian.Uint64(t[8:])
		w2, w3 := binary.LittleEndian.Uint64(t[16:]), binary.LittleEndian.Uint64(t[24:])
		all := w0 | w1 | w2 | w3
		if (all|(w0-spaces)|(w1-spaces)|(w2-spaces)|(w3-spaces))&highBits != 0 {
			if ((w0-spaces)&^w0|(w1-spaces)&^w1|(w2-spaces)&^w2|(w3-spaces)&^w3)&highBits != 0 {
				break
			}
			seen |= all
		}
		n += 32
	}
	for n < len(b) && b[n] >= ' ' {
		seen |= uint64(b[n])
		n++
	}
	return n, seen
}

// validUTF8 is how many bytes of b precede the first that is not UTF-8.
func validUTF8(b []byte) int {
	if utf8.Valid(b) {
		return len(b)
	}
	for i := 0; ; {
		r, n := utf8.DecodeRune(b[i:])
		if r == utf8.RuneError && n <= 1 {
			return i
		}
		i += n
	}
}
