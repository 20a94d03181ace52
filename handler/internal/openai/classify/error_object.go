package classify

import (
	"strconv"
	"strings"

	"spillway/handler/internal/openai/jsonscan"
)

// errorObject is an error object, in whichever envelope it came
// (facts/azure-openai.md §2, §3.2, §4). Its words are in lower case.
type errorObject struct {
	status    int    // a status that the object itself names; 0 = none
	code      string // "429", "rate_limit_exceeded", "deploymentnotfound"
	errorType string // "invalid_request_error", "too_many_requests"
	param     string
	inner     string // the code of innererror or inner_error
	message   string // as it was said
}

// maxCodeLength bounds what is kept of a code, maxMessageLength what is kept of a
// message.
const (
	maxCodeLength    = 64
	maxMessageLength = 4096
)

// parseErrorBody reads the error of a body: the object under "error", or the body
// itself when there is none. What is no JSON is a message.
func parseErrorBody(body []byte) errorObject {
	at := jsonscan.SkipSpace(body, 0)
	if at == len(body) || body[at] != '{' {
		return errorObject{message: string(body[at:min(len(body), at+maxMessageLength)])}
	}
	w := jsonscan.Iterate(body, at)
	for w.Next() {
		if jsonscan.EqualUnquoted(w.Key, "error") && isPresent(body, w.Offset) {
			return parseErrorAt(body, w.Offset)
		}
	}
	return parseErrorAt(body, at)
}

// parseErrorAt reads the error that is the value at b[i]: an object, or a message
// alone.
func parseErrorAt(b []byte, i int) errorObject {
	var p errorObject
	if b[i] == '"' {
		p.message = stringAt(b, i, maxMessageLength)
		return p
	}
	w := jsonscan.Iterate(b, i)
	for w.Next() {
		p.readMember(&w)
	}
	if p.status == 0 {
		p.status = parseStatus(p.code)
	}
	return p
}

// readMember reads one readMember of an error object.
func (p *errorObject) readMember(w *jsonscan.Iterator) {
	switch string(w.Key) {
	case "code":
		p.code = codeValue(w)
	case "type":
		p.errorType = codeValue(w)
	case "param":
		p.param = codeValue(w)
	case "status", "statusCode":
		p.status = parseStatus(codeValue(w))
	case "message":
		p.message = stringAt(w.Data, w.Offset, maxMessageLength)
	case "innererror", "inner_error":
		if w.Data[w.Offset] != '{' {
			return
		}
		in := jsonscan.Iterate(w.Data, w.Offset)
		for in.Next() {
			if string(in.Key) == "code" {
				p.inner = codeValue(&in)
			}
		}
	}
}

// codeValue is the present value as a word: a code may be a string or a number.
func codeValue(w *jsonscan.Iterator) string {
	switch from := w.Offset; w.Data[from] {
	case '"':
		return strings.ToLower(stringAt(w.Data, from, maxCodeLength))
	case '{', '[', 'n', 't', 'f':
		return ""
	default:
		return string(w.Data[from:min(w.Skip(), from+maxCodeLength)])
	}
}

// stringAt is the string at b[i], cut to a length; "" when it is none.
func stringAt(b []byte, i, longest int) string {
	end, why := jsonscan.SkipValue(b, i)
	if why != jsonscan.OK || b[i] != '"' {
		return ""
	}
	s := jsonscan.Unquote(b[i+1 : end-1])
	return s[:min(len(s), longest)]
}

// isPresent reports whether the value at b[i] is one that says there is an error:
// neither null nor false nor empty.
func isPresent(b []byte, i int) bool {
	switch b[i] {
	case 'n', 'f':
		return false
	case '"':
		return i+1 < len(b) && b[i+1] != '"'
	}
	return true
}

// parseStatus is the HTTP status that a word is, 0 when it is none.
func parseStatus(word string) int {
	n, err := strconv.Atoi(word)
	if err != nil || n < 300 || n > 599 {
		return 0
	}
	return n
}
