package classify

import (
	"strings"

	"spillway/handler/internal/health"
)

// limitKind is which limit a throttled answer is about: by what the backend is, by
// codes and headers, by the text only when those say nothing.
func limitKind(p *errorObject, header map[string][]string, policy *Policy) health.LimitKind {
	if policy.Provisioned || len(header["Azure-Openai-Deployment-Utilization"]) > 0 {
		return health.Provisioned
	}
	switch {
	case p.code == "nocapacity", p.code == "no_capacity":
		return health.Capacity
	case p.errorType == "tokens":
		return health.Tokens
	case p.errorType == "requests":
		return health.Requests
	}
	if k := limitKindOfSignals(Signals(header)); k != health.Unknown {
		return k
	}
	return limitKindOfText(strings.ToLower(p.message))
}

// limitKindOfSignals: one limit is used up and the other is not.
func limitKindOfSignals(s health.Signals) health.LimitKind {
	switch {
	case s.RemainingTokens == 0 && s.RemainingRequests > 0:
		return health.Tokens
	case s.RemainingRequests == 0 && s.RemainingTokens > 0:
		return health.Requests
	}
	return health.Unknown
}

// limitKindOfText knows the messages of facts/azure-openai.md §3.2.
func limitKindOfText(message string) health.LimitKind {
	switch {
	case strings.Contains(message, "token rate limit"), strings.Contains(message, "tokens per min"):
		return health.Tokens
	case strings.Contains(message, "call rate limit"), strings.Contains(message, "request rate limit"), strings.Contains(message, "requests per min"):
		return health.Requests
	}
	for _, phrase := range []string{"high demand", "temporarily unable", "peak load", "capacity"} {
		if strings.Contains(message, phrase) {
			return health.Capacity
		}
	}
	return health.Unknown
}

// throttleReason is the Why of a 429.
func throttleReason(k health.LimitKind) string {
	switch k {
	case health.Tokens:
		return "429 tokens"
	case health.Requests:
		return "429 requests"
	case health.Capacity:
		return "429 capacity"
	case health.Provisioned:
		return "429 provisioned"
	case health.Unknown:
	}
	return "429"
}
