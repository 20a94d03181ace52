package relay

import (
	"sync"

	"spillway/handler/internal/openai/sse"
	"spillway/handler/internal/overload"
)

const (
	streamBuffer = 4 << 10  // of an open stream: as much as one read of the transport returns
	maxKept      = 64 << 10 // a larger buffer is replaced once its event was sent
	maxEvent     = 32 << 20 // the largest limit of an SDK (docs/azure-openai.md#what-clients-tolerate)
)

// buffer holds the bytes of a stream that were read and not sent yet:
//
//	data[:sent] was sent, data[sent:whole] is complete events that are held
//	back, data[whole:] is the beginning of one.
type buffer struct {
	data     []byte
	sent     int
	whole    int
	splitter sse.Splitter
	pooled   *[]byte
	memory   *overload.Memory // counts what is beyond the pooled bytes
}

func (b *buffer) open(pool *sync.Pool) {
	pooled, ok := pool.Get().(*[]byte)
	if !ok {
		fresh := make([]byte, streamBuffer)
		pooled = &fresh
	}
	b.pooled, b.data = pooled, (*pooled)[:0]
}

func (b *buffer) close(pool *sync.Pool) {
	b.memory.Shrink(int64(cap(b.data) - cap(*b.pooled)))
	pool.Put(b.pooled)
}

// free is where the next read writes to. It is never empty.
func (b *buffer) free() []byte { return b.data[len(b.data):cap(b.data)] }

// advance takes in n bytes that were read into free.
func (b *buffer) advance(n int) { b.data = b.data[:len(b.data)+n] }

// held is the complete events that were not sent.
func (b *buffer) held() []byte { return b.data[b.sent:b.whole] }

// partial is the beginning of an event.
func (b *buffer) partial() []byte { return b.data[b.whole:] }

// next is the next complete event, with the blank line that ends it, or nil. It
// is held from then on, and valid until drop or compact.
func (b *buffer) next() []byte {
	event, _, ok := b.splitter.Next(b.data[b.whole:])
	if !ok {
		return nil
	}
	b.whole += len(event)
	return event
}

// drop removes the last n held bytes, an event.
func (b *buffer) drop(n int) {
	b.data = append(b.data[:b.whole-n], b.data[b.whole:]...)
	b.whole -= n
}

// forwarded records that what was held was sent. It moves nothing, since a read
// into free may be under way.
func (b *buffer) forwarded() { b.sent = b.whole }

// compact frees space for the next read. It fails when an event is larger than any
// client accepts, and when there is no memory for what is held.
func (b *buffer) compact() error {
	b.data = b.data[:copy(b.data, b.data[b.sent:])]
	b.whole -= b.sent
	b.sent = 0
	switch n := len(b.data); {
	case n >= maxEvent:
		return errTooLarge
	case n == cap(b.data):
		if err := b.memory.Grow(int64(n)); err != nil {
			return err
		}
		b.data = append(make([]byte, 0, 2*n), b.data...)
	case cap(b.data) > maxKept && n < streamBuffer:
		b.memory.Shrink(int64(cap(b.data) - cap(*b.pooled)))
		b.data = append((*b.pooled)[:0], b.data...)
	}
	return nil
}
