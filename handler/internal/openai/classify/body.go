package classify

import (
	"bytes"
	"strconv"
	"time"

	"spillway/handler/internal/health"
	"spillway/handler/internal/openai/jsonscan"
	"spillway/handler/internal/openai/usage"
)

// ResponseInfo is what Spillway uses of one answer. For a stream it grows as
// events are read. The zero ResponseInfo is nothing known.
type ResponseInfo struct {
	Usage        usage.Tokens
	HasUsage     bool   // the backend reported its usage
	FinishReason string // the last finish reason: "stop", "length", "tool_calls"; of the Responses API "completed", "max_output_tokens", …
	ID           string // "chatcmpl-…", "resp_…"
	ServiceTier  string // the service tier that served
	Background   bool   // a response that is generated in the background
	Ended        bool   // a response in its last state
	TextBytes    int64  // of the generated text in a stream, or a whole answer of chat whose usage has none, as it is escaped there: without base64 and padding

	usageText int64 // of TextBytes, what the usage includes
}

// LaterText is how much of TextBytes came behind the usage, which then is that of a part.
func (info *ResponseInfo) LaterText() int64 { return info.TextBytes - info.usageText }

// responseParts is the parts of one JSON answer, or of the data of one event.
// Offsets are 0 when a part is absent or null: no part is at the start of an
// object.
type responseParts struct {
	text             []byte
	eventType        []byte // type, of events that have one
	object           []byte
	id               []byte
	tier             []byte
	status           []byte // of a response of the Responses API
	finish           []byte // the last finish reason
	finished         choiceSet
	failed           bool // a choice has a finish reason that is a failure
	started          choiceSet
	hasChoices       bool // a list of choices is present
	hasContent       bool // a choice carries a part of an answer, or ends
	hasMessage       bool // a choice has a text, a message or a delta, which may be empty
	contentAt        int  // the offset of the last such part
	textBytes        int64
	hasPromptFilters bool // annotations of the prompt are present
	errorAt          int
	responseAt       int
	detailsAt        int // incomplete_details
	sequence         int64
	background       bool
	usage            usage.Tokens
	hasUsage         bool
	answer           string // the member that an answer has
	answered         bool   // it is there, in its form; of choices see hasContent
}

// parseParts reads the object that begins at b[i]. It returns false when that
// is none, or not JSON.
func parseParts(b []byte, i int) (a responseParts, ok bool) {
	return a, a.read(b, i)
}

// read is parseParts for parts that have their answer set.
func (a *responseParts) read(b []byte, i int) bool {
	a.text = b
	it := jsonscan.Iterate(b, i)
	for it.Next() {
		a.readMember(&it)
	}
	return it.Reason == jsonscan.OK
}

// readMember reads one member.
func (a *responseParts) readMember(it *jsonscan.Iterator) {
	if it.Data[it.Offset] == 'n' {
		return
	}
	if string(it.Key) == a.answer {
		a.answered = isAnswer(a.answer, it.Data, it.Offset)
	}
	switch string(it.Key) {
	case "id":
		a.id = stringValue(it)
	case "object":
		a.object = stringValue(it)
	case "type":
		a.eventType = stringValue(it)
	case "status":
		a.status = stringValue(it)
	case "service_tier":
		a.tier = stringValue(it)
	case "background":
		a.background = string(rawValue(it)) == "true"
	case "choices":
		a.readChoices(it)
	case "usage":
		if t, ok := usage.Parse(rawValue(it)); ok && t.Total() >= a.usage.Total() {
			a.usage, a.hasUsage = t, true
		}
	case "prompt_filter_results", "prompt_annotations":
		a.hasPromptFilters = true
	case "response":
		a.responseAt = it.Offset
	case "incomplete_details":
		a.detailsAt = it.Offset
	case "error":
		if isPresent(it.Data, it.Offset) {
			a.errorAt = it.Offset
		}
	case "sequence_number":
		a.sequence, _ = strconv.ParseInt(string(rawValue(it)), 10, 64)
	}
}

// isAnswer reports whether the value at b[i] has the form of this member of an answer:
// a list with an object in it that holds something, a list that may be empty, or a
// number.
func isAnswer(member string, b []byte, i int) bool {
	switch member {
	case "data":
		first := jsonscan.SkipSpace(b, i+1)
		return b[i] == '[' && first < len(b) && b[first] == '{' && holdsData(b, first)
	case "output":
		return b[i] == '['
	case "input_tokens":
		return b[i] >= '0' && b[i] <= '9'
	}
	return false
}

// holdsData reports whether the vector or picture at b[i] is there: a member that is
// filled, besides the kind of the object.
func holdsData(b []byte, i int) bool {
	it := jsonscan.Iterate(b, i)
	for it.Next() {
		if string(it.Key) != "object" && isFilled(it.Data, it.Offset) {
			return true
		}
	}
	return false
}

// hasAnswer reports whether the member is there that an answer has. A choice without
// an end that holds nothing is none, and neither is an end alone, except the content
// filter's.
func (a *responseParts) hasAnswer() bool {
	return a.answered || a.answer == "" || a.answer == "choices" && a.hasContent && (a.hasMessage || string(a.finish) == "content_filter")
}

// readChoices reads the list of choices.
func (a *responseParts) readChoices(it *jsonscan.Iterator) {
	if it.Data[it.Offset] != '[' {
		return
	}
	a.hasChoices = true
	list := jsonscan.Iterate(it.Data, it.Offset)
	for list.Next() {
		one := jsonscan.Iterate(list.Data, list.Offset)
		a.readChoice(&one)
		skipInner(&list, &one)
	}
	skipInner(it, &list)
}

// readChoice reads one choice. One whose delta, text or message holds nothing is an
// annotation, or announces the answer (docs/azure-openai.md#streams).
func (a *responseParts) readChoice(it *jsonscan.Iterator) {
	index, finish := 0, []byte(nil)
	for it.Next() {
		if it.Data[it.Offset] == 'n' {
			continue
		}
		switch string(it.Key) {
		case "delta", "text", "message":
			a.hasMessage = true
			if deltaIsFilled(it.Data, it.Offset) {
				a.hasContent, a.contentAt = true, it.Offset
			}
			a.textBytes += textBytes(it.Data, it.Offset, 0)
		case "index":
			index, _ = strconv.Atoi(string(rawValue(it)))
		case "finish_reason":
			finish = stringValue(it)
			if string(finish) == "null" { // of KoboldCpp
				finish = nil
			}
		}
	}
	a.started.add(index)
	a.failed = a.failed || isFailure(finish)
	if len(finish) > 0 && !a.failed {
		a.hasContent, a.finish = true, finish
		a.finished.add(index)
	}
}

// isFailure reports whether a finish reason says that the service broke off
// (docs/azure-openai.md#streams).
func isFailure(finish []byte) bool {
	switch string(finish) {
	case "error", "network_error", "insufficient_system_resource":
		return true
	}
	return false
}

// usageOnly reports whether a chunk of chat carries nothing but the usage that
// was asked for. Annotations of the prompt are of use to callers.
func (a *responseParts) usageOnly() bool {
	return a.hasUsage && a.hasChoices && a.started == (choiceSet{}) && !a.hasPromptFilters && a.errorAt == 0
}

// update adds what the parts hold. Usage only grows: less than was told before is no
// correction.
func (info *ResponseInfo) update(a *responseParts) {
	if a.hasUsage && a.usage.Total() >= info.Usage.Total() {
		info.Usage, info.HasUsage, info.usageText = a.usage, true, info.TextBytes+a.textBytes
	}
	if len(a.finish) > 0 {
		info.FinishReason = intern(a.finish)
	}
	if info.ID == "" && len(a.id) > 0 {
		info.ID = truncated(a.id)
	}
	if string(a.object) == "response" {
		info.Background, info.Ended = a.background, isLastState(a.status)
	}
	if len(a.tier) > 0 && info.ServiceTier != string(a.tier) {
		info.ServiceTier = intern(a.tier)
	}
}

// isLastState reports whether a response with this status is generated no more.
func isLastState(status []byte) bool {
	switch string(status) {
	case "completed", "incomplete", "failed", "cancelled":
		return true
	}
	return false
}

// stringValue is the text of the current value as written, nil when it is no
// string.
func stringValue(it *jsonscan.Iterator) []byte {
	v := rawValue(it)
	if len(v) < 2 || v[0] != '"' {
		return nil
	}
	return v[1 : len(v)-1]
}

// rawValue passes the current value and returns its text.
func rawValue(it *jsonscan.Iterator) []byte {
	from := it.Offset
	end := it.Skip()
	if it.Reason != jsonscan.OK {
		return nil
	}
	return it.Data[from:end]
}

// skipInner continues behind a value that an inner iterator went over.
func skipInner(it, in *jsonscan.Iterator) {
	if in.Reason != jsonscan.OK && in.Reason != jsonscan.MissingValue {
		it.Fail(in.Offset, in.Reason)
		return
	}
	if in.Reason == jsonscan.OK {
		it.SkipTo(in.Offset)
	}
}

// intern returns b as a string, without allocating for the values that most
// streams have.
func intern(b []byte) string {
	for _, s := range [...]string{
		"stop", "length", "tool_calls", "content_filter", "function_call", "completed", "max_output_tokens",
		"default", "auto", "priority", "flex", "standard", "end_turn", "max_tokens", "tool_use",
	} {
		if string(b) == s {
			return s
		}
	}
	return truncated(b)
}

// truncated returns b as a string that is short enough for a log.
func truncated(b []byte) string { return jsonscan.Unquote(b[:min(len(b), 256)]) }

// Body classifies the whole JSON body of an answer of 200: the answer, and the
// backend, which may send an error with that status. It is for calls that
// generate; a stored response that GET returns may have failed long ago. answer is
// the member that an answer of the operation has ([operations.Operation.Answer]).
//
// The Outcome is Served unless the body is an error object, a failed response,
// no answer, or not one JSON value from its first byte to its last. Reason is "",
// "in-body 429", "in-body error", "in-body client error", "in-body misconfigured",
// "content filter", "context length", "empty body", "truncated body", "no answer" or
// "not JSON". Of an error that is the caller's, or about the backend, [Refusal] is
// what the caller gets.
func Body(body []byte, header map[string][]string, now time.Time, policy Policy, answer string) (ResponseInfo, health.Outcome) {
	var info ResponseInfo
	o := health.Outcome{Signals: Signals(header)}
	at := jsonscan.SkipSpace(body, 0)
	if fault := bodyFault(body, at); fault != "" {
		o.Class, o.Reason = health.Failed, fault
		return info, o
	}
	if body[at] != '{' {
		if answer != "" {
			o.Class, o.Reason = health.Failed, "no answer"
		}
		return info, o
	}
	a := responseParts{answer: answer}
	a.read(body, at)
	info.update(&a)
	info.usageText = 0
	if a.usage.Completion == 0 {
		info.TextBytes = a.textBytes
	}
	isResponse := string(a.object) == "response"
	if isResponse {
		info.FinishReason = intern(a.status)
	}
	switch {
	case a.errorAt > 0 && (!isResponse || string(a.status) == "failed"):
		failure := parseErrorAt(body, a.errorAt)
		_, hint := waitFromHeaders(header, now)
		o = classifier{policy: &policy, header: header, now: now}.inBandError(&failure, "in-body", hint)
	case string(a.object) == "error":
		failure := parseErrorAt(body, at)
		o = classifier{policy: &policy, header: header, now: now}.inBandError(&failure, "in-body", false)
	case isResponse && string(a.status) == "failed":
		o.Class, o.Reason = health.Failed, "in-body error"
	case a.failed:
		o.Class, o.Reason = health.Failed, "in-body error"
	case !a.hasAnswer():
		o.Class, o.Reason = health.Failed, "no answer"
	}
	return info, o
}

// bodyFault is what is wrong with a body that must be one JSON object or array
// beginning at i; "" when nothing is.
func bodyFault(body []byte, i int) string {
	if i == len(body) {
		return "empty body"
	}
	if body[i] != '{' && body[i] != '[' {
		return "not JSON"
	}
	end, reason := jsonscan.SkipValue(body, i)
	switch {
	case reason == jsonscan.Truncated:
		return "truncated body"
	case reason != jsonscan.OK, jsonscan.SkipSpace(body, end) != len(body):
		return "not JSON"
	}
	return ""
}

// HasInvalidText reports whether a body that is not JSON would be, if it were not for
// a character inside a string: that is the caller's to judge. answer is as for [Body].
func HasInvalidText(body []byte, answer string) bool {
	at := jsonscan.SkipSpace(body, 0)
	if at == len(body) || !LooksComplete(body, body) || !bytes.Contains(body, []byte(`"`+answer)) {
		return false
	}
	_, reason := jsonscan.SkipValue(body, at)
	return reason == jsonscan.BadUTF8 || reason == jsonscan.ControlCharacter || reason == jsonscan.BadEscape || reason == jsonscan.LoneSurrogate
}

// LooksComplete reports whether head and tail can be the beginning and the end
// of one JSON object or array. It reads two bytes: it is for bodies that are
// too long to be held.
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
