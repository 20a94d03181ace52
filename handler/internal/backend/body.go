package backend

import (
	"bytes"
	"cmp"
	"io"
	"net/http"
	"strings"
	"sync"

	"spillway/handler/internal/balancer"
	"spillway/handler/internal/openai/operations"
	"spillway/handler/internal/openai/request"
	"spillway/handler/internal/overload"
	"spillway/handler/internal/proxy"
)

// requestBody is the body of one attempt. All but first are mostly absent.
type requestBody struct {
	first    []byte
	more     [][]byte            // of a long body that is changed
	streamed *proxy.StreamedBody // can be sent once
}

// deploymentName is the resource's name for the model.
func deploymentName(b *balancer.Backend, r *proxy.Request) string {
	return cmp.Or(b.Deployment, r.Model, r.Parsed.Model)
}

// newBody is the caller's own bytes, or a pooled copy in which the model is replaced,
// or something added. The attempt returns either. What may be long is not
// copied: a form, and a body that no pooled buffer holds.
func (c *Client) newBody(a *attempt, t *Target, deployment string, r *proxy.Request, added additions) requestBody {
	changes := request.Changes{IncludeUsage: added.usage, CacheKey: r.CacheKey, Bound: added.bound}
	if t.OpenAI || r.Family != operations.Deployments {
		changes.Model = deployment
	}
	switch {
	case r.Operation.State.Stored() && r.Parsed.Model == "":
		changes.Model = "" // a stored object need not have a model
	case changes.Model == "" && r.Fenced && r.Parsed.Model != "" && !strings.EqualFold(r.Parsed.Model, r.Model):
		changes.Model = deployment // whichever the backend goes by
	}
	rewrite := r.Form == nil && r.Parsed.NeedsRewrite(changes)
	if rewrite {
		if n := r.Parsed.RewriteLen(r.Body, changes); n <= largeBuffer {
			var buf []byte
			buf, a.freeBuffer = c.pool.get(n, r.Memory)
			return requestBody{first: r.Parsed.Rewrite(buf, r.Body, changes)}
		}
	}
	r.ActiveWrites.Add(1)
	a.request = r
	body := requestBody{first: r.Body, streamed: r.StreamedBody}
	switch {
	case rewrite:
		parts := r.Parsed.Parts(r.Body, changes)
		body.first, body.more = parts[0], parts[1:]
	case r.Form != nil && changes.Model != "" && changes.Model != r.Form.Model:
		prefix, model, suffix := r.Form.RewriteModel(r.Body, changes.Model)
		body.first, body.more = prefix, [][]byte{[]byte(model), suffix}
	}
	return body
}

// length is in bytes; -1 = unknown.
func (b *requestBody) length() int64 {
	n := int64(len(b.first))
	for _, part := range b.more {
		n += int64(len(part))
	}
	switch {
	case b.streamed == nil:
		return n
	case b.streamed.Length < 0:
		return -1
	}
	return n + b.streamed.Length
}

// attach sets the request's body. http.Transport sends a body of a type that it
// knows to be in memory in one write with the headers
// (docs/performance.md#connections).
func (b *requestBody) attach(req *http.Request) {
	req.ContentLength = b.length()
	if req.ContentLength == 0 {
		req.Body = http.NoBody
		return
	}
	req.Body = b.open()
	req.GetBody = func() (io.ReadCloser, error) {
		if b.streamed.Started() {
			return nil, proxy.ErrBodySent
		}
		return b.open(), nil
	}
}

// open reads the parts in order. A streamed part that was sent before returns
// an error when it is read.
func (b *requestBody) open() io.ReadCloser {
	first := bytes.NewReader(b.first)
	if len(b.more) == 0 && b.streamed == nil {
		return io.NopCloser(first)
	}
	parts := []io.Reader{first}
	for _, part := range b.more {
		parts = append(parts, bytes.NewReader(part))
	}
	if b.streamed == nil {
		return io.NopCloser(io.MultiReader(parts...))
	}
	streamed := b.streamed.Open()
	return struct {
		io.Reader
		io.Closer
	}{io.MultiReader(append(parts, streamed)...), streamed}
}

// bufferPool holds buffers for rewritten bodies in three sizes, so that small
// bodies do not occupy large buffers. Its zero value is ready.
type bufferPool struct{ small, medium, large sync.Pool }

const (
	smallBuffer  = 16 << 10
	mediumBuffer = 256 << 10
	largeBuffer  = 4 << 20
)

// get returns an empty buffer with a capacity of at least n bytes, which are at most
// largeBuffer, and the function that returns it to the pool. memory counts it.
func (b *bufferPool) get(n int, memory *overload.Memory) (buf []byte, free func()) {
	pool, size := b.class(n)
	memory.Charge(int64(size))
	pooled, ok := pool.Get().(*[]byte)
	if !ok {
		fresh := make([]byte, 0, size)
		pooled = &fresh
	}
	return (*pooled)[:0], func() {
		pool.Put(pooled)
		memory.Shrink(int64(size))
	}
}

func (b *bufferPool) class(n int) (*sync.Pool, int) {
	switch {
	case n <= smallBuffer:
		return &b.small, smallBuffer
	case n <= mediumBuffer:
		return &b.medium, mediumBuffer
	}
	return &b.large, largeBuffer
}
