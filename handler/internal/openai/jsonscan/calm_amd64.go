package jsonscan

import "golang.org/x/sys/cpu"

// calmBlocks goes over the n bytes at p in blocks of 64 and stops before the
// first block with a special byte. beyond is not zero when a byte it passed is
// beyond ASCII. It needs AVX2.
//
//go:noescape
func calmBlocks(p *byte, n int) (passed int, beyond uint64)

// calm is how many bytes of b, at the least, stand before the first special
// one, with a high bit set when one of them is beyond ASCII. Pictures arrive as
// strings of megabytes: a vector unit looks through them three times as fast
// as the portable search, which otherwise would be a fifth of all the work on
// such a request.
func calm(b []byte) (n int, seen uint64) {
	if !cpu.X86.HasAVX2 || len(b) < 64 {
		return calmPortable(b)
	}
	n, beyond := calmBlocks(&b[0], len(b))
	if beyond != 0 {
		seen = highs
	}
	return n, seen
}
