package classify

import (
	"time"

	"spillway/handler/internal/health"
	"spillway/handler/internal/openai/jsonscan"
)

// Body is what the whole JSON body of an answer of 200 says: of the answer, and
// of the backend, whose errors come in such disguise too
// (facts/reliability.md rule 6). Ask it about calls that generate; what GET
// returns of a stored response that failed is old news.
//
// The Outcome is Served unless the body is an error object, a failed response,
// or not one JSON value from its first byte to its last. Why is "", "in-body
// 429", "in-body error", "in-body client error", "in-body misconfigured",
// "content filter", "context length", "empty body", "truncated body" or
// "not JSON".
func Body(body []byte, header map[string][]string, now time.Time, policy Policy) (ResponseInfo, health.Outcome) {
	var n ResponseInfo
	o := health.Outcome{Signals: Signals(header)}
	at := jsonscan.SkipSpace(body, 0)
	if why := bodyFault(body, at); why != "" {
		o.Class, o.Reason = health.Failed, why
		return n, o
	}
	if body[at] != '{' {
		return n, o
	}
	a, _ := parseParts(body, at)
	n.update(&a)
	isResponse := string(a.object) == "response"
	if isResponse {
		n.FinishReason = intern(a.status)
	}
	if a.errorAt > 0 && (!isResponse || string(a.status) == "failed") {
		p := parseErrorAt(body, a.errorAt)
		_, hint := waitFromHeaders(header, now)
		o = classifier{policy: &policy, header: header, now: now}.inBandError(&p, "in-body", hint)
	}
	return n, o
}

// BodyPrefix is what the beginning of a JSON body says of the answer, for one that is
// too long to be held.
func BodyPrefix(head []byte) ResponseInfo {
	var n ResponseInfo
	a, _ := parseParts(head, 0)
	n.update(&a)
	return n
}

// bodyFault is what is wrong with a body that should be one JSON object or array
// beginning at i; "" when nothing is.
func bodyFault(body []byte, i int) string {
	if i == len(body) {
		return "empty body"
	}
	if body[i] != '{' && body[i] != '[' {
		return "not JSON"
	}
	end, why := jsonscan.SkipValue(body, i)
	switch {
	case why == jsonscan.Truncated:
		return "truncated body"
	case why != jsonscan.OK, jsonscan.SkipSpace(body, end) != len(body):
		return "not JSON"
	}
	return ""
}

// LooksComplete reports whether what is held of a body could be the beginning
// (head) and the end (tail) of one JSON object or array. It looks at two bytes:
// it is for bodies that are too long to be held.
func LooksComplete(head, tail []byte) bool {
	i := jsonscan.SkipSpace(head, 0)
	j := len(tail) - 1
	for j >= 0 && jsonscan.SkipSpace(tail[j:j+1], 0) == 1 {
		j--
	}
	if i == len(head) || j < 0 {
		return false
	}
	return head[i] == '{' && tail[j] == '}' || head[i] == '[' && tail[j] == ']'
}
