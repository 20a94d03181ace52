package classify

import "strings"

// cause is what an error is about.
type cause uint8

// The causes. The zero cause could not be told.
const (
	unclear       cause = iota
	throttled           // the backend asks to be left alone
	failed              // it could not answer
	misconfigured       // our credential or its deployment is wrong
	filtered            // the content filter refused
	tooLong             // the prompt does not fit into the context
	theirs              // anything else that the caller did
)

// cause is what the error is about: by its codes, then by its type, by its text
// only when those say nothing.
func (p *problem) cause() cause {
	if p.undeployed() {
		return misconfigured
	}
	for _, c := range [...]cause{causeOfWord(p.inner), causeOfWord(p.code), causeOfStatus(p.status), causeOfWord(p.kind)} {
		if c != unclear {
			return c
		}
	}
	return causeOfText(p.message)
}

// undeployed reports whether the backend lacks the deployment. The text stands
// in streams without a code (facts/azure-openai.md §3.3); it must come first,
// because messages quote what callers sent.
func (p *problem) undeployed() bool {
	return p.code == "deploymentnotfound" || strings.HasPrefix(p.message, "Could not find an existing deployment to match the model")
}

// unheld reports whether the request refers to what another resource may hold:
// a response, an item, a conversation, a text that only its maker can decrypt
// (facts/azure-openai.md §1.2). Not all of them have a code.
func (p *problem) unheld() bool {
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

// causeOfWord knows the codes and types in lower case.
func causeOfWord(word string) cause {
	switch word {
	case "rate_limit_exceeded", "too_many_requests", "toomanyrequests", "ratelimitreached", "rate_limit_error",
		"nocapacity", "no_capacity", "insufficient_quota", "tokens", "requests":
		return throttled
	case "content_filter", "responsibleaipolicyviolation", "content_policy_violation":
		return filtered
	case "context_length_exceeded":
		return tooLong
	case "permissiondenied", "authenticationtypedisabled", "invalid_api_key", "authentication_error", "permission_error":
		return misconfigured
	case "server_error", "internal_error", "internalservererror", "internal_server_error", "api_error", "timeout", "serviceunavailable",
		"service_unavailable", "service_unavailable_error", "overloaded", "overloaded_error", "engine_overloaded", "bad_gateway", "gateway_timeout":
		return failed
	case "invalid_request_error", "invalid_prompt", "badrequest", "bad_request", "not_found_error":
		return theirs
	}
	for _, prefix := range []string{"invalid_", "unsupported_", "image_", "empty_", "failed_to_download"} {
		if strings.HasPrefix(word, prefix) {
			return theirs
		}
	}
	return unclear
}

// causeOfStatus knows what a status says by itself.
func causeOfStatus(status int) cause {
	switch {
	case status == 429:
		return throttled
	case status == 401, status == 403:
		return misconfigured
	case status >= 500, status == 408:
		return failed
	case status >= 400:
		return theirs
	}
	return unclear
}

// causeOfText is for errors without any code.
func causeOfText(message string) cause {
	message = strings.ToLower(message)
	for _, phrase := range []string{"too many requests", "rate limit", "retry after", "high demand"} {
		if strings.Contains(message, phrase) {
			return throttled
		}
	}
	return unclear
}
