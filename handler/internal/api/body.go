package api

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"

	"spillway/handler/internal/openai/operations"
	"spillway/handler/internal/openai/request"
	"spillway/handler/internal/proxy"
)

// read takes the request in: its body under the limit, and what the body says.
func (s *Server) read(r *http.Request, route operations.Route) (*proxy.Request, *buffer, *Refusal) {
	req := &proxy.Request{
		Operation: *route.Operation, Family: route.Family, Method: r.Method, Subpath: route.Subpath,
		Query: r.URL.RawQuery, Header: r.Header, Model: route.Deployment,
	}
	if encoding := r.Header.Get("Content-Encoding"); encoding != "" && !strings.EqualFold(encoding, "identity") {
		return req, nil, compressed(encoding)
	}
	most := s.MaxBody
	if route.Operation.Body != operations.JSON {
		most = min(most, heldUpload)
	}
	held, err := hold(r, s.MaxBody, most)
	if err != nil {
		return req, held, unreadable(err, s.MaxBody)
	}
	req.Body, req.StreamedBody = held.bytes(), held.rest(r, s.MaxBody)
	if refusal := understand(req); refusal != nil {
		return req, held, refusal
	}
	if req.Model == "" {
		req.Model = req.Parsed.Model
	}
	req.Affinity = sharedPrompt(r.Header, req)
	return req, held, nil
}

// understand reads what Spillway acts on out of the body.
func understand(req *proxy.Request) *Refusal {
	switch {
	case req.Operation.Body != operations.JSON:
		return understandAny(req)
	case req.Method == http.MethodPost && (len(req.Body) > 0 || !req.Operation.State.Stored()):
		return understandJSON(req)
	}
	return nil
}

func understandJSON(req *proxy.Request) *Refusal {
	facts, err := request.Parse(req.Body)
	if err != nil {
		return invalidJSON(err)
	}
	req.Parsed, req.Tokens = facts, request.Estimate(&facts)
	return nil
}

// buffer is pooled memory that holds one body.
type buffer struct {
	bytes.Buffer
	more bool // the body goes on behind it
}

func (b *buffer) bytes() []byte { return b.Bytes() }

// maxPooled is the largest body whose memory is kept for the next one.
const maxPooled = 8 << 20

var buffers = sync.Pool{New: func() any { return new(buffer) }}

// errTooLarge is a body over the limit.
var errTooLarge = errors.New("server: request body over the limit")

// hold reads the body into pooled memory, at most the first part of this size.
// What it returns must be released, error or not.
func hold(r *http.Request, limit, most int64) (*buffer, error) {
	b := buffers.Get().(*buffer)
	if r.ContentLength > limit {
		return b, errTooLarge
	}
	if r.ContentLength > 0 {
		b.Grow(int(min(r.ContentLength, most)) + bytes.MinRead) // room for ReadFrom to find the end without growing
	}
	n, err := b.ReadFrom(io.LimitReader(r.Body, most+1))
	b.more = n > most && n <= limit
	if err == nil && n > limit {
		err = errTooLarge
	}
	return b, err
}

// release gives the memory back, unless a transport may still be writing it:
// then the collector takes it when that is over.
func (b *buffer) release(req *proxy.Request) {
	if b == nil || req.ActiveWrites.Load() != 0 || b.Cap() > maxPooled {
		return
	}
	b.Reset()
	b.more = false
	buffers.Put(b)
}

// drain reads on behind an early answer: the host writes a request's body
// before it reads the answer, and turns a broken write into a 500
// (facts/azure-functions-host.md §1.3).
func drain(r *http.Request) {
	const most = 128 << 20
	_, _ = io.CopyN(io.Discard, r.Body, most)
}
