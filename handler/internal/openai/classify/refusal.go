package classify

import (
	"bytes"
	"cmp"
	"encoding/json"

	"spillway/handler/internal/openai/jsonscan"
	"spillway/handler/internal/openai/operations"
)

// Refusal returns the status that an error means which came inside a success, and
// its body in the shape of an error response: for an error that is the caller's to
// correct, or about the backend (docs/azure-openai.md#errors-inside-a-success). data
// is the body of the answer, or the data of the event.
func Refusal(data []byte) (status int, body []byte) {
	at := errorOffset(data)
	e := errorObject{message: string(data)}
	if at >= 0 {
		e = parseErrorAt(data, at)
	}
	return e.impliedStatus(), e.body(data, at)
}

// ErrorEventOf returns the event that ends a stream in which nothing was sent yet, in
// the dialect of its endpoint, from the body of an error response.
func ErrorEventOf(dialect operations.Dialect, body []byte) []byte {
	_, body = Refusal(body)
	if dialect == operations.Responses || dialect == operations.Messages {
		e := parseErrorAt(body, errorOffset(body))
		return formatErrorEvent(dialect, e.message, e.writtenCode(body), 0)
	}
	var line bytes.Buffer
	if json.Compact(&line, body) != nil {
		return FormatErrorEvent(dialect, string(body), "upstream_error")
	}
	return append(append([]byte("data: "), line.Bytes()...), "\n\n"...)
}

// writtenCode is the code, or the type when there is none, in the case in which it
// came.
func (e *errorObject) writtenCode(body []byte) string {
	code := cmp.Or(e.code, e.errorType, "upstream_error")
	if i := bytes.Index(bytes.ToLower(body), []byte(`"`+code+`"`)); i >= 0 {
		return string(body[i+1:][:len(code)])
	}
	return code
}

// errorOffset is where the error is in a body or in an event: its member error, that
// of its response, or the object itself; -1 = it is no JSON object.
func errorOffset(data []byte) int {
	at := jsonscan.SkipSpace(data, 0)
	if at == len(data) || data[at] != '{' {
		return -1
	}
	a, _ := parseParts(data, at)
	if a.errorAt > 0 {
		return a.errorAt
	}
	if a.responseAt > 0 {
		if inside, _ := parseParts(data, a.responseAt); inside.errorAt > 0 {
			return inside.errorAt
		}
	}
	return at
}

// impliedStatus is the status that an error without one of its own means.
func (e *errorObject) impliedStatus() int {
	switch fact := e.backendFact(e.status); {
	case fact == retired:
		return 410
	case e.status >= 400 && e.status < 500:
		return e.status
	case fact == notDeployed, e.code == "not_found_error", e.errorType == "not_found_error":
		return 404
	case fact == "" && e.cause() == misconfiguredCause:
		return 403
	}
	return 400
}

// body is the error as the body of a response: the object as it is, which lies at
// data[at], or one made of what is known.
func (e *errorObject) body(data []byte, at int) []byte {
	if at > jsonscan.SkipSpace(data, 0) && data[at] == '{' {
		if end, reason := jsonscan.SkipValue(data, at); reason == jsonscan.OK {
			return append(append([]byte(`{"error":`), data[at:end]...), '}')
		}
	}
	type object struct {
		Message string  `json:"message"`
		Type    string  `json:"type"`
		Param   *string `json:"param"`
		Code    *string `json:"code"`
	}
	optional := func(s string) *string {
		if s == "" {
			return nil
		}
		return &s
	}
	kind := e.errorType
	if kind == "" || kind == "error" { // of the event
		kind = "invalid_request_error"
	}
	body, err := json.Marshal(map[string]object{"error": {Message: e.message, Type: kind, Param: optional(e.param), Code: optional(e.code)}})
	if err != nil {
		panic("classify: strings do not marshal: " + err.Error())
	}
	return body
}
