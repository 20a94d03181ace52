package classify

import (
	"strings"

	"spillway/handler/internal/health"
)

// limitKind is which limit a throttled answer is about: by what the backend is, by
// codes and headers, by the text only when those say nothing.
func limitKind(p *errorObject, header map[string][]string, policy *Policy) health.LimitKind {
	if policy.Provisioned || len(header["Azure-Openai-Deployment-Utilization"]) > 0 {
		return health.LimitProvisioned
	}
	switch {
	case p.code == "nocapacity", p.code == "no_capacity":
		return health.LimitCapacity
	case p.errorType == "tokens":
		return health.LimitTokens
	case p.errorType == "requests":
		return health.LimitRequests
	}
	if k := limitKindOfSignals(Signals(header)); k != health.LimitUnknown {
		return k
	}
	return limitKindOfText(strings.ToLower(p.message))
}

// limitKindOfSignals: one limit is used up and the other is not.
func limitKindOfSignals(s health.Signals) health.LimitKind {
	switch {
	case s.RemainingTokens == 0 && s.RemainingRequests > 0:
		return health.LimitTokens
	case s.RemainingRequests == 0 && s.RemainingTokens > 0:
		return health.LimitRequests
	}
	return health.LimitUnknown
}

// limitKindOfText knows the messages of facts/azure-openai.md §3.2.
func limitKindOfText(message string) health.LimitKind {
	switch {
	case strings.Contains(message, "token rate limit"), strings.Contains(message, "tokens per min"):
		return health.LimitTokens
	case strings.Contains(message, "call rate limit"), strings.Contains(message, "request rate limit"), strings.Contains(message, "requests per min"):
		return health.LimitRequests
	}
	for _, phrase := range []string{"high demand", "temporarily unable", "peak load", "capacity"} {
		if strings.Contains(message, phrase) {
			return health.LimitCapacity
		}
	}
	return health.LimitUnknown
}

// throttleReason is the Why of a 429.
func throttleReason(k health.LimitKind) string {
	switch k {
	case health.LimitTokens:
		return "429 tokens"
	case health.LimitRequests:
		return "429 requests"
	case health.LimitCapacity:
		return "429 capacity"
	case health.LimitProvisioned:
		return "429 provisioned"
	case health.LimitUnknown:
	}
	return "429"
}
