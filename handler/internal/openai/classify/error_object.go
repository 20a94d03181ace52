package classify

import (
	"strconv"
	"strings"

	"spillway/handler/internal/openai/jsonscan"
)

// errorObject is an error object, in any of its envelopes
// (docs/azure-openai.md#errors). Its codes are in lower case.
type errorObject struct {
	status    int    // a status that the object itself names; 0 = none
	code      string // "429", "rate_limit_exceeded", "deploymentnotfound"
	errorType string // "invalid_request_error", "too_many_requests"
	param     string
	inner     string // the code of innererror or inner_error
	message   string // as written
	opaque    bool   // it came as text, empty, or as nothing, not as JSON of the service
}

// maxCodeLength bounds what is kept of a code, maxMessageLength what is kept of
// a message.
const (
	maxCodeLength    = 64
	maxMessageLength = 4096
)

// parseErrorBody reads the error of a body: the object under "error", or the
// body itself when there is none. A body that is not JSON is a message. Of a list, as
// Google's servers send it, it is that of the first object.
func parseErrorBody(body []byte) errorObject {
	at := jsonscan.SkipSpace(body, 0)
	if at < len(body) && body[at] == '[' {
		at = jsonscan.SkipSpace(body, at+1)
		if at == len(body) || body[at] != '{' {
			return errorObject{opaque: true}
		}
	}
	if at == len(body) {
		return errorObject{opaque: true}
	}
	if body[at] != '{' || !isFilled(body, at) {
		return errorObject{message: string(body[at:min(len(body), at+maxMessageLength)]), opaque: true}
	}
	it := jsonscan.Iterate(body, at)
	for it.Next() {
		if jsonscan.EqualUnquoted(it.Key, "error") && isPresent(body, it.Offset) {
			at = it.Offset
			break
		}
	}
	return parseErrorAt(body, at)
}

// parseErrorAt reads the error that is the value at b[i]: an object, or a
// message alone.
func parseErrorAt(b []byte, i int) errorObject {
	var e errorObject
	if b[i] == '"' {
		e.message = stringAt(b, i, maxMessageLength)
		return e
	}
	it := jsonscan.Iterate(b, i)
	for it.Next() {
		e.readMember(&it)
	}
	if e.status == 0 {
		e.status = parseStatus(e.code)
	}
	return e
}

// readMember reads one member of an error object.
func (e *errorObject) readMember(it *jsonscan.Iterator) {
	switch string(it.Key) {
	case "code":
		e.code = codeValue(it)
	case "type":
		e.errorType = codeValue(it)
	case "param":
		e.param = codeValue(it)
	case "status", "statusCode":
		e.status = parseStatus(codeValue(it))
	case "message":
		e.message = stringAt(it.Data, it.Offset, maxMessageLength)
	case "innererror", "inner_error":
		if it.Data[it.Offset] != '{' {
			return
		}
		in := jsonscan.Iterate(it.Data, it.Offset)
		for in.Next() {
			if string(in.Key) == "code" {
				e.inner = codeValue(&in)
			}
		}
	}
}

// codeValue is the current value as a code, which may be a string or a number.
func codeValue(it *jsonscan.Iterator) string {
	switch from := it.Offset; it.Data[from] {
	case '"':
		return strings.ToLower(stringAt(it.Data, from, maxCodeLength))
	case '{', '[', 'n', 't', 'f':
		return ""
	default:
		return string(it.Data[from:min(it.Skip(), from+maxCodeLength)])
	}
}

// stringAt is the string at b[i], cut to a length; "" when it is none.
func stringAt(b []byte, i, longest int) string {
	end, reason := jsonscan.SkipValue(b, i)
	if reason != jsonscan.OK || b[i] != '"' {
		return ""
	}
	s := jsonscan.Unquote(b[i+1 : end-1])
	return s[:min(len(s), longest)]
}

// isPresent reports whether the value at b[i] is an error: neither null nor
// false nor empty.
func isPresent(b []byte, i int) bool {
	switch b[i] {
	case 'n', 'f':
		return false
	case '"':
		return i+1 < len(b) && b[i+1] != '"'
	}
	return true
}

// parseStatus is the HTTP status that a code is, 0 when it is none.
func parseStatus(code string) int {
	n, err := strconv.Atoi(code)
	if err != nil || n < 300 || n > 599 {
		return 0
	}
	return n
}

// cause is what an error is about.
type cause uint8

// The causes. The zero cause is unknown.
const (
	unknownCause       cause = iota
	throttledCause           // the backend asks for a pause
	failedCause              // the backend could not answer
	misconfiguredCause       // our credential or its deployment is wrong
	filteredCause            // the content filter refused
	tooLongCause             // the prompt does not fit into the context
	callerCause              // any other mistake of the caller
)

// cause is what the error is about: by its codes, then by its type, by its text
// only when those are not known.
func (e *errorObject) cause() cause {
	switch {
	case e.backendFact(e.status) != "":
		return misconfiguredCause
	case e.code == "invalid_prompt" && strings.HasPrefix(e.message, "Invalid prompt: your prompt was flagged "):
		return filteredCause
	}
	for _, c := range [...]cause{causeOfCode(e.inner), causeOfCode(e.code), causeOfStatus(e.status), causeOfCode(e.errorType)} {
		if c != unknownCause {
			return c
		}
	}
	return causeOfText(e.message)
}

// isUnknownReference reports whether the request refers to what another
// resource may hold: a response, an item, a conversation, encrypted content
// (docs/azure-openai.md#stateful-operations). Not all of these errors have a
// code.
func (e *errorObject) isUnknownReference() bool {
	switch e.code {
	case "previous_response_not_found", "invalid_encrypted_content":
		return true
	}
	for _, what := range []string{"Previous response with id ", "Response with id ", "Item with id ", "Conversation with id "} {
		if rest, ok := strings.CutPrefix(e.message, what); ok {
			return strings.Contains(rest, " not found")
		}
	}
	return false
}

// causeOfCode maps codes and types, in lower case.
func causeOfCode(code string) cause {
	switch code {
	case "rate_limit_exceeded", "too_many_requests", "toomanyrequests", "ratelimitreached", "rate_limit_error",
		"nocapacity", "no_capacity", "insufficient_quota", "tokens", "requests":
		return throttledCause
	case "content_filter", "contentfilter", "responsibleaipolicyviolation", "content_policy_violation", "moderation_blocked":
		return filteredCause
	case "context_length_exceeded":
		return tooLongCause
	case "permissiondenied", "authenticationtypedisabled", "invalid_api_key", "authentication_error", "permission_error", "billing_error":
		return misconfiguredCause
	case "server_error", "internal_error", "internalservererror", "internal_server_error", "api_error", "timeout", "timeout_error", "serviceunavailable",
		"service_unavailable", "service_unavailable_error", "overloaded", "overloaded_error", "engine_overloaded", "bad_gateway", "gateway_timeout":
		return failedCause
	case "invalid_request_error", "invalid_prompt", "badrequest", "bad_request", "not_found_error", "request_too_large":
		return callerCause
	}
	for _, prefix := range []string{"invalid_", "unsupported_", "image_", "empty_", "failed_to_download"} {
		if strings.HasPrefix(code, prefix) {
			return callerCause
		}
	}
	return unknownCause
}

// causeOfStatus maps a status.
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
