package api

import (
	"errors"
	"io"
	"net/http"
	"sync"

	"spillway/handler/internal/openai/request"
	"spillway/handler/internal/overload"
	"spillway/handler/internal/proxy"
)

// buffer is memory that holds one body. It grows with what has arrived: what a
// request declares costs nothing.
type buffer struct {
	data      []byte
	pooled    *[]byte // whose memory data is in; nil = it is in no pool
	truncated bool    // the body is longer
	parser    request.Parser
}

var buffers = sync.Pool{New: func() any { return new(buffer) }}

// bodySizes are the sizes of memory that is kept for other bodies, each four times
// the one before. A longer body has memory of its own.
var (
	bodySizes = [...]int64{4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20, 4 << 20}
	bodyPools [len(bodySizes)]sync.Pool
)

// firstSize is the most that is allocated before anything has arrived.
const firstSize = 64 << 10

// errTooLarge means that the body is over the limit.
var errTooLarge = errors.New("api: request body over the limit")

// readBody reads the body, and at most one byte more than maxBuffered, into a buffer,
// which must be released, also after an error.
func readBody(r *http.Request, limit, maxBuffered int64, memory *overload.Memory) (*buffer, error) {
	b := buffers.Get().(*buffer)
	n, err := b.fill(r, maxBuffered+1, memory)
	b.truncated = n > maxBuffered && n <= limit
	if err == nil && n > limit {
		err = errTooLarge
	}
	return b, err
}

// fill reads until most bytes are there, or the body ends.
func (b *buffer) fill(r *http.Request, most int64, memory *overload.Memory) (n int64, err error) {
	if r.ContentLength == 0 {
		return 0, nil
	}
	err = b.grow(min(max(r.ContentLength, bodySizes[0]), firstSize), memory)
	for err == nil && n < most {
		free := b.data[n:min(int64(cap(b.data)), most)]
		switch {
		case n == r.ContentLength:
			free = make([]byte, 1) // for the end alone
		case len(free) == 0:
			err = b.grow(nextSize(n, r.ContentLength, most), memory)
			continue
		}
		var read int
		read, err = r.Body.Read(free)
		n += int64(read)
		b.data = b.data[:n]
	}
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return n, err
}

// nextSize is how large a buffer becomes that is full of n bytes: no larger than the
// body is said to be, or may be. Of what is too long for the pools, each growth leaves
// as much for the garbage collector, so there are few of them.
func nextSize(n, declared, most int64) int64 {
	pooled, size := n < bodySizes[len(bodySizes)-1], 4*n
	switch {
	case declared > n && !pooled:
		size = min(8*n, declared)
	case declared > n:
		size = min(size, declared)
	case !pooled:
		size = 2 * n
	}
	return max(min(size, most), n+1)
}

// grow makes space for size bytes in all.
func (b *buffer) grow(size int64, memory *overload.Memory) error {
	class := 0
	for class < len(bodySizes) && bodySizes[class] < size {
		class++
	}
	if class < len(bodySizes) {
		size = bodySizes[class]
	}
	before := int64(cap(b.data))
	if err := memory.Grow(size - before); err != nil {
		return err
	}
	old, data := b.pooled, b.data
	b.pooled = nil
	if class < len(bodySizes) {
		b.pooled, _ = bodyPools[class].Get().(*[]byte)
		if b.pooled == nil {
			fresh := make([]byte, 0, size)
			b.pooled = &fresh
		}
		b.data = append(*b.pooled, data...)
	} else {
		b.data = append(make([]byte, 0, size), data...)
	}
	putBody(old)
	return nil
}

// putBody keeps memory for another body.
func putBody(pooled *[]byte) {
	if pooled == nil {
		return
	}
	for class, size := range bodySizes {
		if size == int64(cap(*pooled)) {
			bodyPools[class].Put(pooled)
		}
	}
}

// release returns the buffer to the pools, unless a transport may still read it.
func (b *buffer) release(req *proxy.Request) {
	if b == nil || req.ActiveWrites.Load() != 0 {
		return
	}
	putBody(b.pooled)
	b.data, b.pooled, b.truncated = nil, nil, false
	buffers.Put(b)
}
