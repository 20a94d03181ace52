package jsonscan

import (
	"bytes"
	"encoding/binary"
)

const spaces = ' ' * ones

// calmPortable is calm for any machine. In text that has been calm for a while
// the vector search of the standard library pays, over blocks that grow so that
// little is searched twice.
func calmPortable(b []byte) (n int, seen uint64) {
	for size := 256; n < len(b); size = min(2*size, 1<<14) {
		block := b[n:min(n+size, len(b))]
		stop := bytes.IndexByte(block, '"')
		if stop >= 0 {
			block = block[:stop]
		}
		if at := bytes.IndexByte(block, '\\'); at >= 0 {
			block, stop = block[:at], at
		}
		clean, high := printable(block)
		n, seen = n+clean, seen|high
		if clean < len(block) || stop >= 0 {
			break
		}
	}
	return n, seen
}

// printable is how many bytes of b stand before its first control character,
// with the high bits of all of them.
func printable(b []byte) (n int, seen uint64) {
	for n+32 <= len(b) {
		t := b[n : n+32 : n+32]
		w0, w1 := binary.LittleEndian.Uint64(t), binary.LittleEndian.Uint64(t[8:])
		w2, w3 := binary.LittleEndian.Uint64(t[16:]), binary.LittleEndian.Uint64(t[24:])
		all := w0 | w1 | w2 | w3
		if (all|(w0-spaces)|(w1-spaces)|(w2-spaces)|(w3-spaces))&highs != 0 {
			if ((w0-spaces)&^w0|(w1-spaces)&^w1|(w2-spaces)&^w2|(w3-spaces)&^w3)&highs != 0 {
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
