package classify

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"spillway/handler/internal/openai/jsonscan"
)

// Failure is an error as a caller gets it.
type Failure struct {
	Status    int
	Message   string
	Type      string // in OpenAI's API; in Anthropic's the status decides
	Param     string // "" = null
	Code      string
	Detail    string // the error_code of details in Anthropic's API, which its SDKs act on; "" = none
	RequestID string // in Anthropic's body; "" = none
}

// anthropicError is an error of Anthropic's API (docs/azure-openai.md#anthropic-messages).
type anthropicError struct {
	Type      string               `json:"type"` // "error"
	Error     anthropicErrorObject `json:"error"`
	RequestID string               `json:"request_id,omitempty"`
}

type anthropicErrorObject struct {
	Type    string            `json:"type"`
	Message string            `json:"message"`
	Details map[string]string `json:"details,omitempty"`
}

// Format returns the body of an error, in Anthropic's form or in OpenAI's.
func (f *Failure) Format(anthropic bool) []byte {
	type openAIError struct {
		Message string  `json:"message"`
		Type    string  `json:"type"`
		Param   *string `json:"param"`
		Code    string  `json:"code"`
	}
	var body any
	if anthropic {
		e := anthropicErrorObject{Type: anthropicType(f.Status), Message: f.Message}
		if f.Detail != "" {
			e.Details = map[string]string{"error_code": f.Detail}
		}
		body = anthropicError{Type: "error", Error: e, RequestID: f.RequestID}
	} else {
		e := openAIError{Message: f.Message, Type: f.Type, Code: f.Code}
		if f.Param != "" {
			e.Param = &f.Param
		}
		body = map[string]openAIError{"error": e}
	}
	text, err := json.Marshal(body)
	if err != nil {
		panic("classify: strings do not marshal: " + err.Error())
	}
	return text
}

// anthropicType is the type of an error with this status in Anthropic's API.
func anthropicType(status int) string {
	switch status {
	case 401:
		return "authentication_error"
	case 402:
		return "billing_error"
	case 403:
		return "permission_error"
	case 404, 410:
		return "not_found_error"
	case 413:
		return "request_too_large"
	case 429:
		return "rate_limit_error"
	case 504:
		return "timeout_error"
	case 529:
		return "overloaded_error"
	}
	if status >= 500 {
		return "api_error"
	}
	return "invalid_request_error"
}

// openAIType is the type of an error with this status in OpenAI's API.
func openAIType(status int) string {
	switch {
	case status == 429:
		return "too_many_requests"
	case status >= 500:
		return "server_error"
	}
	return "invalid_request_error"
}

// CompleteError returns the body of a backend's error as clients read it: an error
// object that lacks a member that clients expect gets it, and anything else, such
// as a page of HTML, becomes an error object with what it says, if it is JSON. A
// body that needs no change is returned as it is.
func CompleteError(anthropic bool, status int, body []byte) []byte {
	at := jsonscan.SkipSpace(body, 0)
	switch {
	case bodyFault(body, at) != "":
		return newError(anthropic, status, "")
	case body[at] != '{':
		return newError(anthropic, status, reasonOf(body))
	}
	errorAt, isError := 0, false
	it := jsonscan.Iterate(body, at)
	for it.Next() {
		switch string(it.Key) {
		case "error":
			if it.Data[it.Offset] == '{' {
				errorAt = it.Offset
			}
		case "type":
			isError = string(stringValue(&it)) == "error"
		}
	}
	if errorAt == 0 || anthropic && !isError {
		return newError(anthropic, status, reasonOf(body))
	}
	return addMembers(body, errorAt, missingMembers(anthropic, status, body, errorAt))
}

// reasonOf is the message of an error in a shape of its own: message, or detail,
// or error.
func reasonOf(body []byte) string {
	e := parseErrorBody(body)
	if e.message != "" {
		return e.message
	}
	it := jsonscan.Iterate(body, jsonscan.SkipSpace(body, 0))
	for it.Next() {
		switch string(it.Key) {
		case "detail", "title", "status":
			if s := stringAt(it.Data, it.Offset, maxMessageLength); s != "" {
				return s
			}
		}
	}
	return invalidFields(body)
}

// invalidFields is the message of a server that validates by Pydantic, as vLLM and
// Mistral: what is wrong with which members, as a list that is the detail, or that of
// the message.
func invalidFields(body []byte) string {
	type field struct {
		Location []any  `json:"loc"`
		Message  string `json:"msg"`
	}
	var e struct {
		Detail  []field `json:"detail"`
		Message struct {
			Detail []field `json:"detail"`
		} `json:"message"`
	}
	_ = json.Unmarshal(body, &e) // a member of another type stays empty
	var list []string
	for _, f := range append(e.Detail, e.Message.Detail...) {
		if f.Message == "" {
			continue
		}
		where := strings.Trim(strings.ReplaceAll(fmt.Sprint(f.Location), " ", "."), "[]")
		list = append(list, f.Message+" ("+where+")")
	}
	text := strings.Join(list, "; ")
	return text[:min(len(text), maxMessageLength)]
}

func newError(anthropic bool, status int, message string) []byte {
	if message == "" {
		message = "The backend refused this request with the status " + strconv.Itoa(status) + " and gave no reason."
	}
	f := Failure{Status: status, Message: message, Type: openAIType(status), Code: strconv.Itoa(status)}
	return f.Format(anthropic)
}

// missingMembers is the members that an error object lacks, as they are inserted
// behind its opening brace.
func missingMembers(anthropic bool, status int, body []byte, at int) string {
	present := map[string]bool{}
	it := jsonscan.Iterate(body, at)
	for it.Next() {
		present[string(it.Key)] = true
	}
	kind, optional := openAIType(status), []string{"param", "code"}
	if anthropic {
		kind, optional = anthropicType(status), nil
	}
	text := ""
	if !present["type"] {
		text = `"type":"` + kind + `",`
	}
	for _, name := range optional {
		if !present[name] {
			text += `"` + name + `":null,`
		}
	}
	if !present["message"] {
		text += `"message":"The backend gave no reason.",`
	}
	if len(present) == 0 {
		return text[:len(text)-1]
	}
	return text
}

func addMembers(body []byte, at int, members string) []byte {
	if members == "" {
		return body
	}
	changed := make([]byte, 0, len(body)+len(members))
	changed = append(changed, body[:at+1]...)
	changed = append(changed, members...)
	return append(changed, body[at+1:]...)
}
