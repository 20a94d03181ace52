package backend

import (
	"cmp"
	"net/url"

	"spillway/handler/internal/balancer"
	"spillway/handler/internal/openai/operations"
	"spillway/handler/internal/openai/request"
	"spillway/handler/internal/proxy"
)

// deployment is the resource's name for the model. A backend that names none
// has the pool's name for it.
func deployment(b *balancer.Backend, r *proxy.Request) string {
	return cmp.Or(b.Deployment, r.Model, r.Parsed.Model)
}

// content is what to send: the caller's own bytes, or a pooled copy with the
// parts replaced that have to be. The attempt gives either back. A form may be
// long, and is not copied: the name goes between its parts.
func (c *Client) content(a *attempt, t *Target, name string, r *proxy.Request) content {
	changes := request.Changes{IncludeUsage: c.CountUsage && countable(r)}
	if t.OpenAI || r.Family != operations.Deployments {
		changes.Model = name
	}
	if r.Operation.State.Stored() && r.Parsed.Model == "" {
		changes.Model = "" // what is stored need not be of a model
	}
	if r.Form == nil && r.Parsed.NeedsRewrite(changes) {
		var room []byte
		room, a.edited = c.buffers.take(r.Parsed.RewriteLen(r.Body, changes))
		return content{held: r.Parsed.Rewrite(room, r.Body, changes)}
	}
	r.ActiveWrites.Add(1)
	a.held = r
	if r.Form != nil && changes.Model != "" && changes.Model != r.Form.Model {
		before, name, behind := r.Form.RewriteModel(r.Body, changes.Model)
		return content{held: before, name: name, behind: behind, tail: r.StreamedBody}
	}
	return content{held: r.Body, tail: r.StreamedBody}
}

// usageSince is the first api-version that knows stream_options
// (facts/azure-openai.md §5.1); versions are dates.
const usageSince = "2024-09-01"

// countable reports whether the stream's usage may be asked for.
func countable(r *proxy.Request) bool {
	if r.Operation.Dialect != operations.Chat || !r.Parsed.Stream {
		return false
	}
	if r.Family != operations.Deployments && r.Family != operations.Unscoped {
		return true
	}
	query, _ := url.ParseQuery(r.Query)
	version := query.Get("api-version")
	return version == "" || version >= usageSince
}
