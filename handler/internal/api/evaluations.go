package api

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"

	"spillway/handler/internal/consumer"
	"spillway/handler/internal/openai/request"
	"spillway/handler/internal/proxy"
	"spillway/handler/internal/quota"
)

// checkEvaluation checks an evaluation, a run or a grader: where ids have owners, that
// it reads nothing that is stored (docs/security.md#ids-have-owners), and that what it
// sends to a model is within the largest request of its consumer. That is the templates
// and bounds of the body; what its rows are does not count.
func (s *Server) checkEvaluation(req *proxy.Request) *Error {
	who, evals := req.Consumer, req.Operation.Name == "evals"
	reads := evals && s.StrictIDs && !who.Reaches(consumer.StoredCompletions)
	asks := (evals || req.Operation.Name == "fine-tuning") && who.Measured() && len(req.Parsed.Models) > 0
	if len(req.Body) == 0 || !reads && !asks {
		return nil
	}
	size := decodedBytes * int64(len(req.Body))
	if req.Memory.Grow(size) != nil {
		return s.overloaded()
	}
	defer req.Memory.Shrink(size)
	var body any
	err := json.Unmarshal(req.Body, &body)
	switch {
	case reads && (err != nil || readsStored(body, "")):
		return reachRefused(consumer.StoredCompletions, "evaluations over stored completions, logs or responses")
	case err != nil || !asks: // nor does the service read it
		return nil
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

// ownSources are the types of an evaluation's data that are in the request, or named
// by it.
var ownSources = []string{"", "custom", "jsonl", "completions", "responses", "file_content", "file_id"}

// ownRows are the members of an evaluation whose values are the caller's own: rows, and
// what they look like.
var ownRows = []string{"item_schema", "schema", "item", "sample", "metadata"}

// readsStored reports whether an evaluation reads what is stored, wherever the body
// says so.
func readsStored(value any, member string) bool {
	switch v := value.(type) {
	case map[string]any:
		kind, isText := v["type"].(string)
		isSource := member == "source" || member == "data_source" || member == "data_source_config"
		switch {
		case kind == "stored_completions", kind == "logs", isSource && kind == "responses" && member != "data_source",
			isSource && (v["type"] != nil && !isText || !slices.Contains(ownSources, kind)):
			return true
		}
		for name, child := range v {
			if !slices.Contains(ownRows, name) && readsStored(child, name) {
				return true
			}
		}
	case []any:
		return slices.ContainsFunc(v, func(child any) bool { return readsStored(child, member) })
	}
	return false
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
		asked := v["type"] == "completions" || v["type"] == "responses"
		add(boundOf(params, asked && v["model"] != nil))
	}
	return found
}

// boundOf is how long an answer may be by the parameters of a run. Each member that
// bounds it must be a bound: nobody knows which one the service goes by.
func boundOf(params map[string]any, needed bool) (found sampling) {
	bounded := false
	for name, limit := range params {
		known := strings.HasPrefix(name, "max_")
		if limit == nil || !known && !request.BoundsAnswer(name) {
			continue
		}
		tokens, _ := limit.(float64)
		found.bound = max(found.bound, int64(min(tokens, 1<<53)))
		found.unbounded = found.unbounded || tokens < 1
		bounded = bounded || known
	}
	found.unbounded = found.unbounded || needed && !bounded
	return found
}
