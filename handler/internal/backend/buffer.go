package backend

import "sync"

// bufferPool is memory for edited request bodies, in three sizes, so that a large
// one is not kept busy by small ones. Its zero value is ready.
type bufferPool struct{ small, medium, large sync.Pool }

const (
	smallBuffer  = 16 << 10
	mediumBuffer = 256 << 10
	largeBuffer  = 4 << 20
)

// get returns an empty buffer with room for n bytes, and what to call when
// nobody reads it any more. Bodies beyond the largest size are not kept.
func (b *bufferPool) get(n int) (buf []byte, release func()) {
	pool, size := b.class(n)
	if pool == nil {
		return make([]byte, 0, n), func() {}
	}
	held, ok := pool.Get().(*[]byte)
	if !ok {
		fresh := make([]byte, 0, size)
		held = &fresh
	}
	return (*held)[:0], func() { pool.Put(held) }
}

func (b *bufferPool) class(n int) (*sync.Pool, int) {
	switch {
	case n <= smallBuffer:
		return &b.small, smallBuffer
	case n <= mediumBuffer:
		return &b.medium, mediumBuffer
	case n <= largeBuffer:
		return &b.large, largeBuffer
	}
	return nil, n
}
