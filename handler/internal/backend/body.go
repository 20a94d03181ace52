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
	"spillway/handler/internal/proxy"
)

// requestBody is the body of one attempt, in parts. All but prefix are mostly
// absent.
type requestBody struct {
	prefix   []byte
	model    string // between two parts of a form
	suffix   []byte
	streamed *proxy.StreamedBody // can be sent once
}

// deploymentName is the resource's name for the model.
func deploymentName(b *balancer.Backend, r *proxy.Request) string {
	return cmp.Or(b.Deployment, r.Model, r.Parsed.Model)
}

// newBody is the caller's own bytes, or a pooled copy in which the model or the
// stream options are replaced. The attempt returns either. A form may be long,
// and is not copied: the model goes between its parts.
func (c *Client) newBody(a *attempt, t *Target, deployment string, r *proxy.Request, usage bool) requestBody {
	changes := request.Changes{IncludeUsage: usage, CacheKey: r.CacheKey, Bound: r.AnswerBound}
	if t.OpenAI || r.Family != operations.Deployments {
		changes.Model = deployment
	}
	if r.Operation.State.Stored() && r.Parsed.Model == "" {
		changes.Model = "" // a stored object need not have a model
	}
	if r.Form == nil && r.Parsed.NeedsRewrite(changes) {
		var buf []byte
		buf, a.freeBuffer = c.pool.get(r.Parsed.RewriteLen(r.Body, changes))
		return requestBody{prefix: r.Parsed.Rewrite(buf, r.Body, changes)}
	}
	r.ActiveWrites.Add(1)
	a.request = r
	if r.Form != nil && changes.Model != "" && changes.Model != r.Form.Model {
		prefix, model, suffix := r.Form.RewriteModel(r.Body, changes.Model)
		return requestBody{prefix: prefix, model: model, suffix: suffix, streamed: r.StreamedBody}
	}
	return requestBody{prefix: r.Body, streamed: r.StreamedBody}
}

// length is in bytes; -1 = unknown.
func (b *requestBody) length() int64 {
	n := int64(len(b.prefix) + len(b.model) + len(b.suffix))
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
	prefix := bytes.NewReader(b.prefix)
	if b.model == "" && b.streamed == nil {
		return io.NopCloser(prefix)
	}
	parts := io.MultiReader(prefix, strings.NewReader(b.model), bytes.NewReader(b.suffix))
	if b.streamed == nil {
		return io.NopCloser(parts)
	}
	streamed := b.streamed.Open()
	return struct {
		io.Reader
		io.Closer
	}{io.MultiReader(parts, streamed), streamed}
}

// bufferPool holds buffers for rewritten bodies in three sizes, so that small
// bodies do not occupy large buffers. Its zero value is ready.
type bufferPool struct{ small, medium, large sync.Pool }

const (
	smallBuffer  = 16 << 10
	mediumBuffer = 256 << 10
	largeBuffer  = 4 << 20
)

// get returns an empty buffer with a capacity of at least n bytes, and the
// function that returns it to the pool. Larger ones than largeBuffer are not
// pooled.
func (b *bufferPool) get(n int) (buf []byte, free func()) {
	pool, size := b.class(n)
	if pool == nil {
		return make([]byte, 0, n), func() {}
	}
	pooled, ok := pool.Get().(*[]byte)
	if !ok {
		fresh := make([]byte, 0, size)
		pooled = &fresh
	}
	return (*pooled)[:0], func() { pool.Put(pooled) }
}

func (b *bufferPool) class(n int) (*sync.Pool, int) {
	switch {
	case n <= smallBuffer:
		return &b.small, smallBuffer
	case n <= mediumBuffer:
		return &b.medium, mediumBuffer
	case n <= largeBuffer:
		return &b.large, largeBuffer
	}
	return nil, n
}
