package relay

import (
	"sync"

	"spillway/handler/internal/openai/sse"
)

const (
	streamBuffer = 4 << 10  // what an open stream holds; as much as one read of the transport brings
	maxKept      = 64 << 10 // a larger buffer is let go once its event is out
	maxEvent     = 32 << 20 // what the largest SDK limit takes (facts/azure-openai.md §5.3)
)

// buffer is the bytes of a stream between its reader and its caller:
//
//	data[:sent] is with the caller, data[sent:whole] is complete events that
//	are held back, data[whole:] is the beginning of one.
type buffer struct {
	data     []byte
	sent     int
	whole    int
	splitter sse.Splitter
	pooled   *[]byte
}

func (b *buffer) open(pool *sync.Pool) {
	home, ok := pool.Get().(*[]byte)
	if !ok {
		fresh := make([]byte, streamBuffer)
		home = &fresh
	}
	b.pooled, b.data = home, (*home)[:0]
}

func (b *buffer) close(pool *sync.Pool) { pool.Put(b.pooled) }

// free is where the next read goes. It is never empty.
func (b *buffer) free() []byte { return b.data[len(b.data):cap(b.data)] }

// advance takes in n bytes that were read into room.
func (b *buffer) advance(n int) { b.data = b.data[:len(b.data)+n] }

// held is the complete events that the caller has not been sent.
func (b *buffer) held() []byte { return b.data[b.sent:b.whole] }

// partial is the beginning of an event.
func (b *buffer) partial() []byte { return b.data[b.whole:] }

// next is the next complete event, with the blank line that ends it, or nil.
// It counts as held from then on. It is valid until drop or compact.
func (b *buffer) next() []byte {
	event, _, ok := b.splitter.Next(b.data[b.whole:])
	if !ok {
		return nil
	}
	b.whole += len(event)
	return event
}

// drop takes the last n bytes of what is held, an event, out again.
func (b *buffer) drop(n int) {
	b.data = append(b.data[:b.whole-n], b.data[b.whole:]...)
	b.whole -= n
}

// forwarded notes that what was held is with the caller now. It moves nothing:
// a read into room may be under way.
func (b *buffer) forwarded() { b.sent = b.whole }

// compact makes room for the next read. It reports false when an event is
// larger than any client would take.
func (b *buffer) compact() bool {
	b.data = b.data[:copy(b.data, b.data[b.sent:])]
	b.whole -= b.sent
	b.sent = 0
	switch n := len(b.data); {
	case n >= maxEvent:
		return false
	case n == cap(b.data):
		b.data = append(make([]byte, 0, 2*n), b.data...)
	case cap(b.data) > maxKept && n < streamBuffer:
		b.data = append((*b.pooled)[:0], b.data...)
	}
	return true
}
