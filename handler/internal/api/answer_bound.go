package api

import (
	"net/http"
	"net/url"

	"spillway/handler/internal/metering"
	"spillway/handler/internal/openai/operations"
	"spillway/handler/internal/openai/request"
	"spillway/handler/internal/proxy"
	"spillway/handler/internal/quota"
)

// boundAnswer holds a request to the largest that its consumer may send: what the
// prompt leaves of it bounds the answer where the request has no bound itself. A
// bound that the model has anyway is not added.
func (s *Server) boundAnswer(c *call) *Error {
	req := c.request
	if req.Operation.CompatibleOnly { // what its members mean is not known
		req.Parsed.PromptBytes = int64(len(req.Body))
		req.Tokens = request.Estimate(&req.Parsed)
	}
	if !req.Consumer.Measured() {
		return nil
	}
	most, member := req.Consumer.MaxRequestTokens, outputMember(req)
	if member == request.NoOutputMember || req.Tokens > most {
		return nil // the reservation refuses what is too large
	}
	req.Parsed.MaxOutputTokens = outputBound(req)
	req.Tokens = request.Estimate(&req.Parsed)
	if req.Parsed.MaxOutputTokens > 0 {
		return nil
	}
	left := (most - req.Tokens) / max(req.Parsed.Choices, 1)
	if left < leastBound(member) {
		return quotaExceeded(&quota.ExceededError{Limit: maxRequestTokens, Amount: float64(most)})
	}
	bounded := true
	for _, p := range c.pools {
		largest, known := metering.KnownLargestAnswer(p)
		bounded = bounded && known && largest <= left
	}
	if bounded {
		return nil
	}
	if largest, known := metering.KnownLargestAnswer(c.pools[0]); known && largest > 0 {
		left = min(left, largest) // the service refuses more
	}
	req.AnswerBound = request.Bound{Member: member, Tokens: left}
	req.Parsed.MaxOutputTokens = req.AnswerBound.Tokens
	req.Tokens = request.Estimate(&req.Parsed)
	return nil
}

// outputMember is the member that bounds the answer of the request's operation
// (docs/azure-openai.md#request-fields).
func outputMember(req *proxy.Request) request.OutputMember {
	switch {
	case req.Method != http.MethodPost || req.Parsed.InsertAt == 0:
	case req.Operation.Name == "responses":
		return request.MaxOutputTokens
	case req.Operation.Name == "chat" && !oldChat(req):
		return request.MaxCompletionTokens
	case req.Operation.Name == "chat", req.Operation.Name == "completions":
		return request.MaxTokens
	}
	return request.NoOutputMember
}

// oldChat reports whether the version of the API is older than
// max_completion_tokens. Versions are dates.
func oldChat(req *proxy.Request) bool {
	if req.Family != operations.Deployments && req.Family != operations.Unscoped {
		return false
	}
	query, _ := url.ParseQuery(req.Query)
	version := query.Get("api-version")
	return version != "" && version < "2024-09-01"
}

// outputBound is the bound that the request has: only members of its operation
// count, since a backend may pass others over.
func outputBound(req *proxy.Request) int64 {
	bounds := &req.Parsed.OutputBounds
	switch req.Operation.Name {
	case "responses":
		return bounds[request.MaxOutputTokens].Tokens
	case "chat":
		return max(bounds[request.MaxTokens].Tokens, bounds[request.MaxCompletionTokens].Tokens)
	}
	return bounds[request.MaxTokens].Tokens
}

// leastBound is the smallest bound that the service accepts.
func leastBound(m request.OutputMember) int64 {
	if m == request.MaxOutputTokens {
		return 16
	}
	return 1
}
