package upstream

import (
	"bytes"
	"cmp"
	"io"
	"net/http"
	"net/url"

	"spillway/handler/operation"
	"spillway/handler/payload"
	"spillway/handler/pool"
	"spillway/handler/proxy"
)

// deployment is the resource's name for the model. A backend that names none
// has the pool's name for it.
func deployment(b *pool.Backend, r *proxy.Request) string {
	return cmp.Or(b.Deployment, r.Model, r.Facts.Model)
}

// content is what to send of the body that is held: the caller's own bytes, or
// a pooled copy with the parts replaced that have to be. The attempt gives
// either back.
func (c *Client) content(a *attempt, t *Target, name string, r *proxy.Request) []byte {
	changes := payload.Changes{IncludeUsage: c.CountUsage && countable(r)}
	if t.OpenAI || r.Family != operation.Deployments {
		changes.Model = name
	}
	if r.Operation.State.Stored() && r.Facts.Model == "" {
		changes.Model = "" // what is stored need not be of a model
	}
	switch {
	case r.Form != nil && changes.Model != "" && changes.Model != r.Form.Model:
		return c.renamed(a, changes.Model, r)
	case r.Form == nil && r.Facts.Alters(changes):
		var room []byte
		room, a.edited = c.buffers.take(r.Facts.SpliceLen(r.Body, changes))
		return r.Facts.Splice(room, r.Body, changes)
	}
	r.Writing.Add(1)
	a.held = r
	return r.Body
}

// renamed is a form with the backend's name for the model.
func (c *Client) renamed(a *attempt, name string, r *proxy.Request) []byte {
	before, between, behind := r.Form.Rename(r.Body, name)
	var room []byte
	room, a.edited = c.buffers.take(len(before) + len(between) + len(behind))
	return append(append(append(room, before...), between...), behind...)
}

// attach gives the request its body. One that is in memory is of a type that
// the transport knows to be, so that it leaves in one write with the headers
// (facts/performance.md §7). One with a tail can be sent once.
func attach(req *http.Request, content []byte, tail *proxy.Tail) {
	switch {
	case tail != nil:
		req.ContentLength = int64(len(content)) + tail.Length
		if tail.Length < 0 {
			req.ContentLength = -1
		}
		req.GetBody = func() (io.ReadCloser, error) { return withTail(content, tail) }
	case len(content) > 0:
		req.ContentLength = int64(len(content))
		req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(content)), nil }
	default:
		req.Body = http.NoBody
		return
	}
	req.Body, _ = req.GetBody() // a tail that is spent says so when it is read
}

// upload is a body of which only the beginning is held.
type upload struct {
	io.Reader
	io.Closer
}

func withTail(content []byte, tail *proxy.Tail) (io.ReadCloser, error) {
	rest := tail.Open()
	body := upload{Reader: io.MultiReader(bytes.NewReader(content), rest), Closer: rest}
	if tail.Spent() {
		return body, proxy.ErrTailSpent
	}
	return body, nil
}

// usageSince is the first api-version that knows stream_options
// (facts/azure-openai.md §5.1); versions are dates.
const usageSince = "2024-09-01"

// countable reports whether the stream's usage may be asked for.
func countable(r *proxy.Request) bool {
	if r.Operation.Dialect != operation.Chat || !r.Facts.Stream {
		return false
	}
	if r.Family != operation.Deployments && r.Family != operation.Unscoped {
		return true
	}
	query, _ := url.ParseQuery(r.Query)
	version := query.Get("api-version")
	return version == "" || version >= usageSince
}
