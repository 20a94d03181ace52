package classify

import (
	"time"

	"spillway/handler/internal/health"
	"spillway/handler/internal/openai/request/walk"
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
func Body(body []byte, header map[string][]string, now time.Time, policy Policy) (Answer, health.Outcome) {
	var n Answer
	o := health.Outcome{Signals: Signals(header)}
	at := walk.Space(body, 0)
	if why := unsound(body, at); why != "" {
		o.Verdict, o.Why = health.Failed, why
		return n, o
	}
	if body[at] != '{' {
		return n, o
	}
	a, _ := dissect(body, at)
	n.note(&a)
	isResponse := string(a.object) == "response"
	if isResponse {
		n.Finish = known(a.status)
	}
	if a.errorAt > 0 && (!isResponse || string(a.status) == "failed") {
		p := problemAt(body, a.errorAt)
		_, hint := saidByHeader(header, now)
		o = judgement{policy: &policy, header: header, now: now}.disguised(&p, "in-body", hint)
	}
	return n, o
}

// Head is what the beginning of a JSON body says of the answer, for one that is
// too long to be held.
func Head(head []byte) Answer {
	var n Answer
	a, _ := dissect(head, 0)
	n.note(&a)
	return n
}

// unsound is what is wrong with a body that should be one JSON object or array
// beginning at i; "" when nothing is.
func unsound(body []byte, i int) string {
	if i == len(body) {
		return "empty body"
	}
	if body[i] != '{' && body[i] != '[' {
		return "not JSON"
	}
	end, why := walk.Value(body, i)
	switch {
	case why == walk.Truncated:
		return "truncated body"
	case why != walk.OK, walk.Space(body, end) != len(body):
		return "not JSON"
	}
	return ""
}

// Enclosed reports whether what is held of a body could be the beginning
// (head) and the end (tail) of one JSON object or array. It looks at two bytes:
// it is for bodies that are too long to be held.
func Enclosed(head, tail []byte) bool {
	i := walk.Space(head, 0)
	j := len(tail) - 1
	for j >= 0 && walk.Space(tail[j:j+1], 0) == 1 {
		j--
	}
	if i == len(head) || j < 0 {
		return false
	}
	return head[i] == '{' && tail[j] == '}' || head[i] == '[' && tail[j] == ']'
}
