package verdict

import (
	"strings"

	"spillway/handler/health"
	"spillway/handler/throttle"
)

// kindOf is which limit a throttled answer is about: by what the backend is, by
// codes and headers, by the text only when those say nothing.
func kindOf(p *problem, header map[string][]string, policy *Policy) throttle.Kind {
	if policy.Provisioned || len(header["Azure-Openai-Deployment-Utilization"]) > 0 {
		return throttle.Provisioned
	}
	switch {
	case p.code == "nocapacity", p.code == "no_capacity":
		return throttle.Capacity
	case p.kind == "tokens":
		return throttle.Tokens
	case p.kind == "requests":
		return throttle.Requests
	}
	if k := kindOfSignals(Signals(header)); k != throttle.Unknown {
		return k
	}
	return kindOfText(strings.ToLower(p.message))
}

// kindOfSignals: one limit is used up and the other is not.
func kindOfSignals(s health.Signals) throttle.Kind {
	switch {
	case s.RemainingTokens == 0 && s.RemainingRequests > 0:
		return throttle.Tokens
	case s.RemainingRequests == 0 && s.RemainingTokens > 0:
		return throttle.Requests
	}
	return throttle.Unknown
}

// kindOfText knows the messages of facts/azure-openai.md §3.2.
func kindOfText(message string) throttle.Kind {
	switch {
	case strings.Contains(message, "token rate limit"), strings.Contains(message, "tokens per min"):
		return throttle.Tokens
	case strings.Contains(message, "call rate limit"), strings.Contains(message, "request rate limit"), strings.Contains(message, "requests per min"):
		return throttle.Requests
	}
	for _, phrase := range []string{"high demand", "temporarily unable", "peak load", "capacity"} {
		if strings.Contains(message, phrase) {
			return throttle.Capacity
		}
	}
	return throttle.Unknown
}

// whyThrottled is the Why of a 429.
func whyThrottled(k throttle.Kind) string {
	switch k {
	case throttle.Tokens:
		return "429 tokens"
	case throttle.Requests:
		return "429 requests"
	case throttle.Capacity:
		return "429 capacity"
	case throttle.Provisioned:
		return "429 provisioned"
	case throttle.Unknown:
	}
	return "429"
}
