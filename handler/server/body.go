package server

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"

	"spillway/handler/operation"
	"spillway/handler/payload"
	"spillway/handler/proxy"
)

// read takes the request in: its body under the limit, and what the body says.
func (s *Server) read(r *http.Request, route operation.Route) (*proxy.Request, *buffer, *Refusal) {
	req := &proxy.Request{
		Operation: *route.Operation, Family: route.Family, Method: r.Method, Rest: route.Rest,
		Query: r.URL.RawQuery, Header: r.Header, Model: route.Deployment,
	}
	if encoding := r.Header.Get("Content-Encoding"); encoding != "" && !strings.EqualFold(encoding, "identity") {
		return req, nil, compressed(encoding)
	}
	held, err := hold(r, s.MaxBody)
	if err != nil {
		return req, held, unreadable(err, s.MaxBody)
	}
	req.Body = held.bytes()
	if route.Operation.Body != operation.JSON || r.Method == http.MethodGet {
		return req, held, nil
	}
	facts, err := payload.Scan(req.Body)
	if err != nil {
		return req, held, invalidJSON(err)
	}
	req.Facts, req.Tokens = facts, payload.Estimate(&facts)
	if req.Model == "" {
		req.Model = facts.Model
	}
	req.Affinity = affinity(r.Header, req)
	return req, held, nil
}

// buffer is pooled memory that holds one body.
type buffer struct{ bytes.Buffer }

func (b *buffer) bytes() []byte { return b.Bytes() }

// maxPooled is the largest body whose memory is kept for the next one.
const maxPooled = 8 << 20

var buffers = sync.Pool{New: func() any { return new(buffer) }}

// errTooLarge is a body over the limit.
var errTooLarge = errors.New("server: request body over the limit")

// hold reads the whole body into pooled memory. What it returns must be
// released, error or not.
func hold(r *http.Request, limit int64) (*buffer, error) {
	b := buffers.Get().(*buffer)
	if r.ContentLength > limit {
		return b, errTooLarge
	}
	if r.ContentLength > 0 {
		b.Grow(int(r.ContentLength) + bytes.MinRead) // room for ReadFrom to find the end without growing
	}
	n, err := b.ReadFrom(io.LimitReader(r.Body, limit+1))
	if err == nil && n > limit {
		err = errTooLarge
	}
	return b, err
}

// release gives the memory back, unless a transport may still be writing it:
// then the collector takes it when that is over.
func (b *buffer) release(req *proxy.Request) {
	if b == nil || req.Writing.Load() != 0 || b.Cap() > maxPooled {
		return
	}
	b.Reset()
	buffers.Put(b)
}

// drain reads on behind an early answer: the host writes a request's body
// before it reads the answer, and turns a broken write into a 500
// (facts/azure-functions-host.md §1.3).
func drain(r *http.Request) {
	const most = 128 << 20
	_, _ = io.CopyN(io.Discard, r.Body, most)
}
