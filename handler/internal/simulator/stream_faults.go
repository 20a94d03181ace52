package simulator

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"
	"time"
)

func (s *stream) hasFault(action string) bool {
	return s.c.fault != nil && s.c.fault.Action == action
}

// errorComesFirst reports whether the fault is an error event before the preamble.
func (s *stream) errorComesFirst() bool {
	f := s.c.fault
	if f == nil || f.Chunks > 0 || f.Order == "role-error" {
		return false
	}
	return f.isStreamError()
}

// isStreamError reports whether the fault is an error event.
func (f *Fault) isStreamError() bool {
	switch f.Action {
	case "stream-429", "stream-404", "stream-error", "stream-filter", "stream-invalid":
		return true
	}
	return false
}

// holdUsage is the silence ahead of the usage chunk, and reports whether the stream
// goes on.
func (s *stream) holdUsage() bool { return !s.hasFault("late-usage") || s.pause(s.c.fault.Hold) }

// emptyEvents are events that carry nothing of an answer.
func (s *stream) emptyEvents(order string) []event {
	switch order {
	case "keepalive-error":
		return []event{
			{name: "keepalive", data: fmt.Appendf(nil, `{"type":"keepalive","sequence_number":%d}`, s.number())},
			{name: "keepalive", data: fmt.Appendf(nil, `{"type":"keepalive","sequence_number":%d}`, s.number())},
		}
	case "unknown-error":
		return []event{
			{name: "response.keep_alive", data: fmt.Appendf(nil, `{"type":"response.keep_alive","sequence_number":%d}`, s.number())},
			{data: []byte(`{"type":"ping","cost":"0"}`)},
			{name: "codex.rate_limits", data: []byte(`{"type":"codex.rate_limits","rate_limits":{"allowed":true}}`)},
		}
	}
	return nil
}

// omits reports whether the fault omits the event.
func (s *stream) omits(ev event) bool {
	return (ev.last && s.dialect != dialectResponses && s.omitsDone()) || (ev.finish && s.hasFault("no-finish"))
}

func (s *stream) omitsDone() bool {
	if !s.hasFault("no-done") {
		return false
	}
	s.c.finish(Broken)
	return true
}

// faultDue reports whether the fault applies before this event: after Chunks
// content events, or at the end of a shorter completion.
func (s *stream) faultDue(ev event) bool {
	f := s.c.fault
	if f == nil || actions[f.Action] != actionBreaksStream {
		return false
	}
	switch f.Action {
	case "no-done", "no-finish", "drip-stream", "cr-lines", "bom", "keepalive", "late-usage":
		return false
	}
	return (ev.tokens > 0 && s.content == f.Chunks) || (ev.finish && s.content <= f.Chunks)
}

// applyEventFault applies the fault and reports whether the stream goes on. Some
// faults only change this event.
func (s *stream) applyEventFault(ev *event) bool {
	switch s.c.fault.Action {
	case "bad-json":
		return s.writeRaw([]byte("data: {\"id\":\"chatcmpl-\",\"choices\":[{\"delta\":{\"content\":\"half\n\n"))
	case "huge-event":
		ev.data = insertText(ev.data, strings.Repeat("x", 1<<20+1))
	case "bad-utf8":
		ev.data = insertText(ev.data, "\xff\xfe")
	case "nul":
		ev.data = insertText(ev.data, "\x00")
	case "no-blank-line":
		return s.writeRaw(fmt.Appendf(nil, "data: %s\n", ev.data))
	default:
		return s.applyFault()
	}
	return true
}

// insertText inserts text into the first delta of an event.
func insertText(data []byte, text string) []byte {
	for _, mark := range []string{`"content":"`, `"delta":"`, `"text":"`} {
		if i := bytes.Index(data, []byte(mark)); i >= 0 {
			at := i + len(mark)
			return append(append(append([]byte{}, data[:at]...), text...), data[at:]...)
		}
	}
	return data
}

// lineEnds replaces newlines as the fault demands.
func (s *stream) lineEnds(b []byte) []byte {
	if s.hasFault("cr-lines") {
		return bytes.ReplaceAll(b, []byte("\n"), []byte("\r"))
	}
	return b
}

// applyFault ends the stream as the fault demands. It returns true only when a
// hang is over.
func (s *stream) applyFault() bool {
	f := s.c.fault
	if f.Action != "hang-mid-stream" && !s.pause(f.Hold) {
		return false
	}
	switch f.Action {
	case "hang-mid-stream":
		return s.stall(f.Hold)
	case "cut-clean":
		s.end(Broken)
	case "cut-abort":
		s.end(Broken)
		s.c.flush()
		panic(http.ErrAbortHandler)
	case "cut-reset":
		s.cutReset()
	case "stream-429":
		s.end(Throttled)
		s.sendThrottle()
	case "stream-object-error":
		s.end(Broken)
		s.sendAll(event{data: []byte(gatewayErrors["object-error-200"].body)}, event{data: []byte("[DONE]")})
	default: // stream-error, stream-404, failed-uncoded, incomplete
		s.end(Broken)
		s.sendError(f)
	}
	return false
}

func (s *stream) end(outcome Outcome) {
	s.c.finish(outcome)
	s.ended = true
}

// stall sends nothing for hold, or until the client leaves when hold is 0.
func (s *stream) stall(hold time.Duration) bool {
	s.c.flush()
	s.c.update(func(e *Entry) { e.Fault = "hang-mid-stream" }) // notifies waiters of the stall
	if hold > 0 {
		return s.pause(hold)
	}
	s.pause(1 << 62)
	s.ended = true
	return false
}

func (s *stream) cutReset() {
	s.end(Broken)
	s.c.flush()
	conn, err := s.c.hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	closeConn(conn, true)
}

// setRetryAfter sets the Retry-After that a throttled Responses stream has with its
// 200, and a chat stream has not (docs/azure-openai.md#429-inside-a-stream).
func (s *stream) setRetryAfter(h http.Header) {
	f := s.c.fault
	if f == nil || f.Action != "stream-429" || f.RetryRaw != nil {
		return
	}
	form := f.Retry
	if form == RetryBoth {
		if s.dialect != dialectResponses {
			return
		}
		form = RetrySeconds
	}
	wait := f.RetryAfter
	if wait <= 0 {
		wait = time.Minute
	}
	form.setHeaders(h, wait, s.c.now())
}

// sendThrottle sends a 429 inside a 200 stream in the fault's order: nested or
// flat, with a code or without (docs/azure-openai.md#429-inside-a-stream).
func (s *stream) sendThrottle() {
	f := s.c.fault
	text := s.c.newThrottle(f.RetryAfter).v1Text()
	if s.dialect != dialectResponses {
		s.sendBeforeError(f)
		s.sendAll(s.plainError("429", "rate_limit_error", text))
		return
	}
	s.sendOrdered(f, "rate_limit_exceeded", "too_many_requests", text)
}

// sendError sends the other in-stream errors.
func (s *stream) sendError(f *Fault) {
	code, kind, text := "server_error", "server_error", "The server had an error while processing your request. Sorry about that!"
	if f.Action == "stream-404" {
		code, kind = "DeploymentNotFound", "invalid_request_error"
		text = "Could not find an existing deployment to match the model in the request. Please verify the model matches an existing deployment in the account."
	}
	switch f.Action {
	case "stream-filter":
		code, kind, text = "content_filter", "invalid_request_error", "The response was filtered due to the prompt triggering Azure OpenAI's content management policy."
	case "stream-invalid":
		code, kind, text = "invalid_value", "invalid_request_error", "Invalid value: 'developer'."
	}
	if s.dialect != dialectResponses {
		s.sendBeforeError(f)
		s.sendAll(s.plainError(code, "overloaded_error", text))
		return
	}
	switch f.Action {
	case "failed-uncoded":
		s.sendAll(s.failed("", text))
	case "incomplete":
		s.sendAll(s.incomplete())
	default:
		s.sendOrdered(f, code, kind, text)
	}
}

// sendBeforeError sends what comes ahead of the error of a chat.
func (s *stream) sendBeforeError(f *Fault) {
	if f.Order == "created-error-failed" && s.content == 0 {
		s.sendAll(s.preamble...)
	}
	s.sendAll(s.emptyEvents(f.Order)...)
}

func (s *stream) sendOrdered(f *Fault, code, kind, text string) {
	errorEvent := func() event { return s.errorEvent(f, code, kind, text) }
	failedCode := code
	if f.Uncoded {
		failedCode = ""
	}
	switch f.Order {
	case "failed-error":
		s.sendAll(s.failed("", ""))
		s.sendAll(errorEvent())
	case "created-error-failed":
		if s.content == 0 && s.errorComesFirst() {
			s.sendAll(s.preamble[:1]...)
		}
		s.sendAll(errorEvent())
		s.sendAll(s.failed(failedCode, text))
	default:
		s.sendAll(s.emptyEvents(f.Order)...)
		s.sendAll(errorEvent())
		s.sendAll(s.failed(failedCode, text))
	}
}

// sendAll writes events after the fault was applied.
func (s *stream) sendAll(events ...event) {
	for _, ev := range events {
		if !s.write(ev) {
			return
		}
	}
}

// number is the next sequence_number. Before the preamble it begins where the
// captured streams do.
func (s *stream) number() int {
	n := s.seq
	s.seq++
	return n
}

func (s *stream) errorEvent(f *Fault, code, kind, text string) event {
	if f.Flat {
		return event{name: "error", data: fmt.Appendf(nil, `{"type":"error","code":%s,"message":%s,"param":null,"sequence_number":%d}`,
			quote(code), quote(text), s.number())}
	}
	if f.Uncoded {
		code = ""
	}
	return event{name: "error", data: fmt.Appendf(nil,
		`{"type":"error","error":{"type":%s,"code":%s,"headers":{"x-ms-fe-error":"true"},"message":%s,"param":null},"sequence_number":%d}`,
		quote(kind), quoteOrNull(code), quote(text), s.number())}
}

// failed is response.failed; without a code and text its error is null.
func (s *stream) failed(code, text string) event {
	reason := "null"
	if code != "" || text != "" {
		reason = fmt.Sprintf(`{"code":%s,"message":%s}`, quoteOrNull(code), quote(text))
	}
	return event{name: "response.failed", data: fmt.Appendf(nil,
		`{"type":"response.failed","response":%s,"sequence_number":%d}`, s.c.responseStub("failed", reason, "null"), s.number())}
}

func (s *stream) incomplete() event {
	return event{name: "response.incomplete", data: fmt.Appendf(nil,
		`{"type":"response.incomplete","response":%s,"sequence_number":%d}`,
		s.c.responseStub("incomplete", "null", `{"reason":"max_output_tokens"}`), s.number())}
}

// plainError is an error event of chat, or of the Messages API.
func (s *stream) plainError(code, kind, text string) event {
	if s.dialect == dialectMessages {
		return event{name: "error", data: []byte(messageError(kind, text))}
	}
	return chatError(code, text, s.c.fault.Uncoded)
}

func chatError(code, text string, uncoded bool) event {
	if uncoded {
		return event{data: fmt.Appendf(nil, `{"error":{"message":%s}}`, quote(text))}
	}
	return event{data: fmt.Appendf(nil, `{"error":{"code":%s,"message":%s}}`, quote(code), quote(text))}
}
