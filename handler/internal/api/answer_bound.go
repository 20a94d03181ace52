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
	p := &req.Parsed
	switch {
	case req.Operation.CompatibleOnly: // what its members mean is not known
		p.PromptBytes = int64(len(req.Body))
	case req.Consumer.Measured() && !req.Operation.State.Stored():
		p.CountAll()
	}
	req.Tokens = request.Estimate(p)
	if !req.Consumer.Measured() {
		return nil
	}
	most, member := req.Consumer.MaxRequestTokens, outputMember(req)
	if member == request.NoOutputMember {
		return nil // the reservation refuses what is too large
	}
	bound := outputBound(req.Operation.Name, p)
	p.MaxOutputTokens = 0
	left := (most - request.Estimate(p)) / max(p.Choices, 1)
	p.MaxOutputTokens = max(bound, p.OtherBound)
	req.Tokens = request.Estimate(p)
	if bound > 0 || req.Tokens > most {
		return nil
	}
	if left < leastBound(member) {
		return quotaExceeded(&quota.ExceededError{Limit: maxRequestTokens, Amount: float64(most)})
	}
	bounded := true
	for _, pool := range c.pools {
		largest, known := metering.KnownLargestAnswer(pool)
		bounded = bounded && known && largest <= left
	}
	if bounded {
		return nil
	}
	if largest, known := metering.KnownLargestAnswer(c.pools[0]); known && largest > 0 {
		left = min(left, largest) // the service refuses more
	}
	req.AnswerBound = request.Bound{Member: member, Tokens: left}
	p.MaxOutputTokens = max(left, p.OtherBound)
	req.Tokens = request.Estimate(p)
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
	case req.Operation.Name == "chat", req.Operation.Name == "completions", req.Operation.Name == "messages":
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

// outputBound is the bound that a request of an operation has; 0 = none. Only members
// of the operation count, since a backend may pass others over, and each that is given
// must bound the answer, since a backend may go by any of them.
func outputBound(operation string, p *request.ParsedRequest) (tokens int64) {
	members := []request.OutputMember{request.MaxTokens}
	switch operation {
	case "responses":
		members[0] = request.MaxOutputTokens
	case "chat":
		members = append(members, request.MaxCompletionTokens)
	}
	for _, m := range members {
		if p.OutputBounds[m].Open {
			return 0
		}
		tokens = max(tokens, p.OutputBounds[m].Tokens)
	}
	return tokens
}

// leastBound is the smallest bound that the service accepts.
func leastBound(m request.OutputMember) int64 {
	if m == request.MaxOutputTokens {
		return 16
	}
	return 1
}
