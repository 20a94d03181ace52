//go:build !amd64

package jsonscan

// calm is how many bytes of b, at the least, stand before the first special
// one, with a high bit set when one of them is beyond ASCII.
func calm(b []byte) (n int, seen uint64) { return calmPortable(b) }
