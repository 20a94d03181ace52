package api

import (
	"slices"
	"strings"

	"spillway/handler/internal/balancer"
	"spillway/handler/internal/health"
)

// rules is what refused a request, by the code of the error, where the error does
// not say it: the name of a setting or of a member of the pool document, else of a
// check.
var rules = map[string]string{
	"concurrency_limit_exceeded":  "concurrency",
	"credential_unavailable":      "credential",
	"body_timeout":                "body",
	"DeploymentNotFound":          "deployments",
	"invalid_encoding":            "body",
	"file_not_checked":            "purpose",
	"geography_not_allowed":       "geographies",
	"incomplete_body":             "body",
	"insufficient_quota":          "quota",
	"invalid_api_key":             "credential",
	"invalid_form":                "body",
	"invalid_json":                "body",
	"list_not_allowed":            "owner",
	"max_request_tokens_exceeded": "maxRequestTokens",
	"method_not_allowed":          "path",
	"model_mismatch":              "owner",
	"model_missing":               "body",
	"model_not_allowed":           "models",
	"model_not_found":             "deployments",
	"no_backend_available":        "health",
	"no_stateful_backend":         "stateful",
	"not_found":                   "path",
	"operation_not_supported":     "backends",
	"operation_retired":           "path",
	"overloaded":                  "SPILLWAY_MEMORY_LIMIT",
	"previous_response_not_found": "owner",
	"priority_not_allowed":        "minPriority",
	"quota_unknown":               "quota",
	"rate_limit_exceeded":         "throttle",
	"reach_not_allowed":           "reach",
	"request_too_large":           "SPILLWAY_MAX_BODY",
	"too_many_ids":                "body",
	"unmetered_not_allowed":       "allowUnmetered",
	"unsupported_charset":         "body",
	"unsupported_encoding":        "body",
	"websocket_not_supported":     "path",
	"upload_not_allowed":          "purpose",
	"upstream_timeout":            "SPILLWAY_RESPONSE_TIMEOUT",
}

// rule is what refused the request, for the log.
func (f *Error) rule() string {
	if f.Rule != "" {
		return f.Rule
	}
	return rules[f.Code]
}

// fenceNames is the members of a consumer, or of a backend, that keep it from a
// candidate.
var fenceNames = map[health.SkipReason]string{
	balancer.OutsideGeographies: "geographies",
	balancer.ReservedPriority:   "minPriority",
	balancer.ZeroWeight:         "weight",
}

// fences names the fences that leave no candidate, in order.
func fences(candidates []balancer.Candidate) string {
	var names []string
	for i := range candidates {
		if name := fenceNames[candidates[i].Reason]; name != "" && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return strings.Join(names, ",")
}
