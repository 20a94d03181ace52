package backend

import (
	"cmp"
	"net/url"

	"spillway/handler/internal/balancer"
	"spillway/handler/internal/openai/operations"
	"spillway/handler/internal/openai/request"
	"spillway/handler/internal/proxy"
)

// deploymentName is the resource's name for the model. A backend that names none
// has the pool's name for it.
func deploymentName(b *balancer.Backend, r *proxy.Request) string {
	return cmp.Or(b.Deployment, r.Model, r.Parsed.Model)
}

// body is what to send: the caller's own bytes, or a pooled copy with the
// parts replaced that have to be. The attempt gives either back. A form may be
// long, and is not copied: the name goes between its parts.
func (c *Client) body(a *attempt, t *Target, name string, r *proxy.Request) requestBody {
	changes := request.Changes{IncludeUsage: c.RequestUsage && canRequestUsage(r)}
	if t.OpenAI || r.Family != operations.Deployments {
		changes.Model = name
	}
	if r.Operation.State.Stored() && r.Parsed.Model == "" {
		changes.Model = "" // what is stored need not be of a model
	}
	if r.Form == nil && r.Parsed.NeedsRewrite(changes) {
		var room []byte
		room, a.freeBuffer = c.pool.get(r.Parsed.RewriteLen(r.Body, changes))
		return requestBody{prefix: r.Parsed.Rewrite(room, r.Body, changes)}
	}
	r.ActiveWrites.Add(1)
	a.request = r
	if r.Form != nil && changes.Model != "" && changes.Model != r.Form.Model {
		before, name, behind := r.Form.RewriteModel(r.Body, changes.Model)
		return requestBody{prefix: before, model: name, suffix: behind, tail: r.StreamedBody}
	}
	return requestBody{prefix: r.Body, tail: r.StreamedBody}
}

// usageAPIVersion is the first api-version that knows stream_options
// (facts/azure-openai.md §5.1); versions are dates.
const usageAPIVersion = "2024-09-01"

// canRequestUsage reports whether the stream's usage may be asked for.
func canRequestUsage(r *proxy.Request) bool {
	if r.Operation.Dialect != operations.Chat || !r.Parsed.Stream {
		return false
	}
	if r.Family != operations.Deployments && r.Family != operations.Unscoped {
		return true
	}
	query, _ := url.ParseQuery(r.Query)
	version := query.Get("api-version")
	return version == "" || version >= usageAPIVersion
}
