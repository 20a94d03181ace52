package proxy

import (
	"errors"
	"io"
	"sync/atomic"
)

// ErrBodySent is a second attempt to read a [StreamedBody].
var ErrBodySent = errors.New("proxy: the rest of the body has been sent already")

// StreamedBody is the rest of a body that is too long to be buffered: it is read
// from the caller while it is sent, and can be sent once. A nil StreamedBody is
// empty. It is safe for concurrent use.
type StreamedBody struct {
	Length int64 // in bytes; -1 = unknown

	check   func(p []byte) error // of what was read, before it is sent; nil = none
	source  io.Reader
	started atomic.Bool
	err     atomic.Pointer[error]
}

// NewStreamedBody returns a body that is read from source. Its length is -1 when it
// is unknown.
func NewStreamedBody(source io.Reader, length int64) *StreamedBody {
	return &StreamedBody{Length: length, source: source}
}

// Check has f see what is read, in order, before it is sent. Its error ends the
// body. It must be called before the first attempt.
func (b *StreamedBody) Check(f func(p []byte) error) { b.check = f }

// Open returns the body for one attempt. It may be closed during a read.
func (b *StreamedBody) Open() io.ReadCloser { return &bodyReader{body: b} }

// Started reports whether a byte was requested, so that no other attempt can be
// made.
func (b *StreamedBody) Started() bool { return b != nil && b.started.Load() }

// Err is why reading from the caller failed; nil when it did not.
func (b *StreamedBody) Err() error {
	if b == nil {
		return nil
	}
	if err := b.err.Load(); err != nil {
		return *err
	}
	return nil
}

// bodyReader is the StreamedBody of one attempt.
type bodyReader struct {
	body   *StreamedBody
	owner  bool
	closed atomic.Bool
}

func (r *bodyReader) Read(p []byte) (int, error) {
	if r.closed.Load() {
		return 0, io.ErrClosedPipe
	}
	if !r.owner {
		if r.body.started.Swap(true) {
			return 0, ErrBodySent
		}
		r.owner = true
	}
	n, err := r.body.source.Read(p)
	if r.body.check != nil && n > 0 {
		if refused := r.body.check(p[:n]); refused != nil {
			n, err = 0, refused
		}
	}
	if err != nil && !errors.Is(err, io.EOF) && !r.closed.Load() {
		r.body.err.Store(&err)
	}
	return n, err
}

func (r *bodyReader) Close() error {
	r.closed.Store(true)
	return nil
}
