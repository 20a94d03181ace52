package proxy

import (
	"errors"
	"io"
	"sync/atomic"
)

// ErrBodySent is a second attempt at a body that could be sent once only.
var ErrBodySent = errors.New("proxy: the rest of the body has been sent already")

// StreamedBody is the rest of a body that is too long to be held: it comes from the
// caller while it is sent, and can be sent once. It is safe for concurrent use.
type StreamedBody struct {
	Length int64 // in bytes; -1 = unknown

	source  io.Reader
	started atomic.Bool
	err     atomic.Pointer[error]
}

// NewStreamedBody is a tail of this length, -1 when it is unknown.
func NewStreamedBody(from io.Reader, length int64) *StreamedBody {
	return &StreamedBody{Length: length, source: from}
}

// Open is the tail for one attempt. It may be closed while a read is under way.
func (t *StreamedBody) Open() io.ReadCloser { return &bodyReader{body: t} }

// Started reports whether a byte was asked for: no other attempt can be made.
func (t *StreamedBody) Started() bool { return t != nil && t.started.Load() }

// Err is why the caller's bytes ended early; nil when they did not. It says
// nothing about a backend.
func (t *StreamedBody) Err() error {
	if t == nil {
		return nil
	}
	if err := t.err.Load(); err != nil {
		return *err
	}
	return nil
}

// bodyReader is one attempt's hold on the tail.
type bodyReader struct {
	body   *StreamedBody
	owner  bool
	closed atomic.Bool
}

// Read takes the caller's next bytes.
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
	if err != nil && !errors.Is(err, io.EOF) && !r.closed.Load() {
		r.body.err.Store(&err)
	}
	return n, err
}

// Close ends the reads of this attempt.
func (r *bodyReader) Close() error {
	r.closed.Store(true)
	return nil
}
