package proxy

import (
	"errors"
	"io"
	"sync/atomic"
)

// ErrTailSpent is a second attempt at a body that could be sent once only.
var ErrTailSpent = errors.New("proxy: the rest of the body has been sent already")

// Tail is the rest of a body that is too long to be held: it comes from the
// caller while it is sent, and can be sent once. It is safe for concurrent use.
type Tail struct {
	Length int64 // in bytes; -1 = unknown

	from  io.Reader
	spent atomic.Bool
	fault atomic.Pointer[error]
}

// NewTail is a tail of this length, -1 when it is unknown.
func NewTail(from io.Reader, length int64) *Tail { return &Tail{Length: length, from: from} }

// Open is the tail for one attempt. It may be closed while a read is under way.
func (t *Tail) Open() io.ReadCloser { return &tailReader{of: t} }

// Spent reports whether a byte was asked for: no other attempt can be made.
func (t *Tail) Spent() bool { return t != nil && t.spent.Load() }

// Err is why the caller's bytes ended early; nil when they did not. It says
// nothing about a backend.
func (t *Tail) Err() error {
	if t == nil {
		return nil
	}
	if err := t.fault.Load(); err != nil {
		return *err
	}
	return nil
}

// tailReader is one attempt's hold on the tail.
type tailReader struct {
	of     *Tail
	mine   bool
	closed atomic.Bool
}

// Read takes the caller's next bytes.
func (r *tailReader) Read(p []byte) (int, error) {
	if r.closed.Load() {
		return 0, io.ErrClosedPipe
	}
	if !r.mine {
		if r.of.spent.Swap(true) {
			return 0, ErrTailSpent
		}
		r.mine = true
	}
	n, err := r.of.from.Read(p)
	if err != nil && !errors.Is(err, io.EOF) && !r.closed.Load() {
		r.of.fault.Store(&err)
	}
	return n, err
}

// Close ends the reads of this attempt.
func (r *tailReader) Close() error {
	r.closed.Store(true)
	return nil
}
