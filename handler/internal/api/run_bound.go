package api

import (
	"encoding/json"
	"net/http"
	"strings"

	"spillway/handler/internal/proxy"
	"spillway/handler/internal/quota"
)

// checkRun holds what an evaluation, a run or a grader sends to a model to the largest
// request that its consumer may send: templates and bounds of the body. What its rows
// are does not count.
func (s *Server) checkRun(req *proxy.Request) *Error {
	who := req.Consumer
	if !who.Measured() || req.Operation.Name != "evals" && req.Operation.Name != "fine-tuning" || len(req.Body) == 0 || len(req.Parsed.Models) == 0 {
		return nil
	}
	size := decodedBytes * int64(len(req.Body))
	if req.Memory.Grow(size) != nil {
		return s.overloaded()
	}
	defer req.Memory.Shrink(size)
	var body any
	if json.Unmarshal(req.Body, &body) != nil {
		return nil // nor does the service read it
	}
	run := samplingOf(body)
	if !run.unbounded && int64(len(req.Body))/4+run.bound <= who.MaxRequestTokens {
		return nil
	}
	apiErr := quotaExceeded(&quota.ExceededError{Limit: maxRequestTokens, Amount: float64(who.MaxRequestTokens)})
	apiErr.Status = http.StatusBadRequest
	apiErr.Message += " A run needs max_completion_tokens in its sampling_params."
	return apiErr
}

// sampling is how a run asks its model for answers.
type sampling struct {
	bound     int64 // the largest of an answer
	unbounded bool  // a model is asked without one
}

// samplingOf finds how a body has models asked, at any depth.
func samplingOf(value any) (found sampling) {
	add := func(inner sampling) {
		found.bound, found.unbounded = max(found.bound, inner.bound), found.unbounded || inner.unbounded
	}
	switch v := value.(type) {
	case []any:
		for _, child := range v {
			add(samplingOf(child))
		}
	case map[string]any:
		for _, child := range v {
			add(samplingOf(child))
		}
		params, _ := v["sampling_params"].(map[string]any)
		bound := int64(0)
		for name, limit := range params {
			if tokens, ok := limit.(float64); ok && strings.HasPrefix(name, "max_") {
				bound = max(bound, int64(min(tokens, 1<<53)))
			}
		}
		asked := v["type"] == "completions" || v["type"] == "responses"
		add(sampling{bound, asked && v["model"] != nil && bound == 0})
	}
	return found
}
