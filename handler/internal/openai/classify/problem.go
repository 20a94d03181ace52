package classify

import (
	"strconv"
	"strings"

	"spillway/handler/internal/openai/request/walk"
)

// problem is an error object, in whichever envelope it came
// (facts/azure-openai.md §2, §3.2, §4). Its words are in lower case.
type problem struct {
	status  int    // a status that the object itself names; 0 = none
	code    string // "429", "rate_limit_exceeded", "deploymentnotfound"
	kind    string // "invalid_request_error", "too_many_requests"
	param   string
	inner   string // the code of innererror or inner_error
	message string // as it was said
}

// longestWord bounds what is kept of a code, longestMessage what is kept of a
// message.
const (
	longestWord    = 64
	longestMessage = 4096
)

// problemIn reads the error of a body: the object under "error", or the body
// itself when there is none. What is no JSON is a message.
func problemIn(body []byte) problem {
	at := walk.Space(body, 0)
	if at == len(body) || body[at] != '{' {
		return problem{message: string(body[at:min(len(body), at+longestMessage)])}
	}
	w := walk.Into(body, at)
	for w.Next() {
		if walk.Is(w.Key, "error") && truthy(body, w.At) {
			return problemAt(body, w.At)
		}
	}
	return problemAt(body, at)
}

// problemAt reads the error that is the value at b[i]: an object, or a message
// alone.
func problemAt(b []byte, i int) problem {
	var p problem
	if b[i] == '"' {
		p.message = text(b, i, longestMessage)
		return p
	}
	w := walk.Into(b, i)
	for w.Next() {
		p.member(&w)
	}
	if p.status == 0 {
		p.status = statusOf(p.code)
	}
	return p
}

// member reads one member of an error object.
func (p *problem) member(w *walk.Walk) {
	switch string(w.Key) {
	case "code":
		p.code = scalar(w)
	case "type":
		p.kind = scalar(w)
	case "param":
		p.param = scalar(w)
	case "status", "statusCode":
		p.status = statusOf(scalar(w))
	case "message":
		p.message = text(w.Text, w.At, longestMessage)
	case "innererror", "inner_error":
		if w.Text[w.At] != '{' {
			return
		}
		in := walk.Into(w.Text, w.At)
		for in.Next() {
			if string(in.Key) == "code" {
				p.inner = scalar(&in)
			}
		}
	}
}

// scalar is the present value as a word: a code may be a string or a number.
func scalar(w *walk.Walk) string {
	switch from := w.At; w.Text[from] {
	case '"':
		return strings.ToLower(text(w.Text, from, longestWord))
	case '{', '[', 'n', 't', 'f':
		return ""
	default:
		return string(w.Text[from:min(w.Skip(), from+longestWord)])
	}
}

// text is the string at b[i], cut to a length; "" when it is none.
func text(b []byte, i, longest int) string {
	end, why := walk.Value(b, i)
	if why != walk.OK || b[i] != '"' {
		return ""
	}
	s := walk.Unquote(b[i+1 : end-1])
	return s[:min(len(s), longest)]
}

// truthy reports whether the value at b[i] is one that says there is an error:
// neither null nor false nor empty.
func truthy(b []byte, i int) bool {
	switch b[i] {
	case 'n', 'f':
		return false
	case '"':
		return i+1 < len(b) && b[i+1] != '"'
	}
	return true
}

// statusOf is the HTTP status that a word is, 0 when it is none.
func statusOf(word string) int {
	n, err := strconv.Atoi(word)
	if err != nil || n < 300 || n > 599 {
		return 0
	}
	return n
}
