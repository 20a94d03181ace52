package classify

import "strings"

// cause is what an error is about.
type cause uint8

// The causes. The zero cause could not be told.
const (
	unknownCause       cause = iota
	throttledCause           // the backend asks to be left alone
	failedCause              // it could not answer
	misconfiguredCause       // our credential or its deployment is wrong
	filteredCause            // the content filter refused
	tooLongCause             // the prompt does not fit into the context
	callerCause              // anything else that the caller did
)

// cause is what the error is about: by its codes, then by its type, by its text
// only when those say nothing.
func (p *errorObject) cause() cause {
	if p.isDeploymentMissing() {
		return misconfiguredCause
	}
	for _, c := range [...]cause{causeOfCode(p.inner), causeOfCode(p.code), causeOfStatus(p.status), causeOfCode(p.errorType)} {
		if c != unknownCause {
			return c
		}
	}
	return causeOfText(p.message)
}

// isDeploymentMissing reports whether the backend lacks the deployment. The text stands
// in streams without a code (facts/azure-openai.md §3.3); it must come first,
// because messages quote what callers sent.
func (p *errorObject) isDeploymentMissing() bool {
	return p.code == "deploymentnotfound" || strings.HasPrefix(p.message, "Could not find an existing deployment to match the model")
}

// isUnknownReference reports whether the request refers to what another resource may hold:
// a response, an item, a conversation, a text that only its maker can decrypt
// (facts/azure-openai.md §1.2). Not all of them have a code.
func (p *errorObject) isUnknownReference() bool {
	switch p.code {
	case "previous_response_not_found", "invalid_encrypted_content":
		return true
	}
	for _, what := range []string{"Previous response with id ", "Response with id ", "Item with id ", "Conversation with id "} {
		if rest, ok := strings.CutPrefix(p.message, what); ok {
			return strings.Contains(rest, " not found")
		}
	}
	return false
}

// causeOfCode knows the codes and types in lower case.
func causeOfCode(word string) cause {
	switch word {
	case "rate_limit_exceeded", "too_many_requests", "toomanyrequests", "ratelimitreached", "rate_limit_error",
		"nocapacity", "no_capacity", "insufficient_quota", "tokens", "requests":
		return throttledCause
	case "content_filter", "responsibleaipolicyviolation", "content_policy_violation":
		return filteredCause
	case "context_length_exceeded":
		return tooLongCause
	case "permissiondenied", "authenticationtypedisabled", "invalid_api_key", "authentication_error", "permission_error":
		return misconfiguredCause
	case "server_error", "internal_error", "internalservererror", "internal_server_error", "api_error", "timeout", "serviceunavailable",
		"service_unavailable", "service_unavailable_error", "overloaded", "overloaded_error", "engine_overloaded", "bad_gateway", "gateway_timeout":
		return failedCause
	case "invalid_request_error", "invalid_prompt", "badrequest", "bad_request", "not_found_error":
		return callerCause
	}
	for _, prefix := range []string{"invalid_", "unsupported_", "image_", "empty_", "failed_to_download"} {
		if strings.HasPrefix(word, prefix) {
			return callerCause
		}
	}
	return unknownCause
}

// causeOfStatus knows what a status says by itself.
func causeOfStatus(status int) cause {
	switch {
	case status == 429:
		return throttledCause
	case status == 401, status == 403:
		return misconfiguredCause
	case status >= 500, status == 408:
		return failedCause
	case status >= 400:
		return callerCause
	}
	return unknownCause
}

// causeOfText is for errors without any code.
func causeOfText(message string) cause {
	message = strings.ToLower(message)
	for _, phrase := range []string{"too many requests", "rate limit", "retry after", "high demand"} {
		if strings.Contains(message, phrase) {
			return throttledCause
		}
	}
	return unknownCause
}
