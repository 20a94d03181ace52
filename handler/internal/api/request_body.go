package api

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"time"

	"spillway/handler/internal/openai/contentcoding"
)

// How long a body may take: without a byte, and as a whole. Slower callers hold
// memory, and the front end has given up on them.
const (
	bodyIdle  = time.Minute
	bodyTotal = 15 * time.Minute
)

// timedBody is a body that must arrive in time.
type timedBody struct {
	io.ReadCloser
	control *http.ResponseController
	idle    time.Duration
	end     time.Time
}

func (s *Server) timedBody(w http.ResponseWriter, body io.ReadCloser) io.ReadCloser {
	idle := s.BodyTimeout
	if idle == 0 {
		idle = bodyIdle
	}
	return &timedBody{ReadCloser: body, control: http.NewResponseController(w), idle: idle, end: time.Now().Add(bodyTotal)}
}

// Read fails with [os.ErrDeadlineExceeded] when nothing arrives in time. At the end
// of the body the deadline is removed: the server goes on reading the connection, to
// see the caller leave.
func (b *timedBody) Read(p []byte) (int, error) {
	deadline := time.Now().Add(b.idle)
	if b.end.Before(deadline) {
		deadline = b.end
	}
	timed := b.control.SetReadDeadline(deadline) == nil
	n, err := b.ReadCloser.Read(p)
	if timed && err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		_ = b.control.SetReadDeadline(time.Time{})
	}
	return n, err
}

// errEncoding is a body that is not in the coding that its header names.
var errEncoding = errors.New("api: the body is not in its Content-Encoding")

// decodedBody is a body that is decoded while it is read.
type decodedBody struct {
	decoded io.Reader
	raw     io.ReadCloser
	memory  int64 // that decoding may need
}

func (d *decodedBody) Read(p []byte) (int, error) {
	n, err := d.decoded.Read(p)
	switch {
	case err == nil, errors.Is(err, io.EOF), errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, contentcoding.ErrRatio):
		return n, err
	}
	return n, fmt.Errorf("%w: %w", errEncoding, err)
}

// Close closes the body that is decoded.
func (d *decodedBody) Close() error { return d.raw.Close() }

// decode has the body of a request decoded. It reports false when its coding is
// unknown.
func decode(r *http.Request) bool {
	decoded, err := contentcoding.NewReader(r.Header.Get("Content-Encoding"), r.Body)
	if err != nil {
		return false
	}
	r.Header = maps.Clone(r.Header)
	delete(r.Header, "Content-Encoding")
	r.Body, r.ContentLength = &decodedBody{decoded, r.Body, contentcoding.Memory(r.ContentLength)}, -1
	return true
}

// maxDrained is how much of a body is read after an answer.
const maxDrained = 128 << 20

// drainBody reads the rest of the body after an early answer: the host writes
// the whole request before it reads the answer, and answers a failed write with
// 500 (docs/functions-host.md#proxying).
func drainBody(r *http.Request) {
	body := r.Body
	if d, ok := body.(*decodedBody); ok {
		body = d.raw
	}
	_, _ = io.CopyN(io.Discard, body, maxDrained)
}

// drainEarly sends what was answered, and reads the body that the caller may be
// sending. One that waits for 100 Continue sends none.
func drainEarly(w http.ResponseWriter, r *http.Request) {
	_ = http.NewResponseController(w).Flush()
	if r.Header.Get("Expect") == "" {
		drainBody(r)
	}
}
