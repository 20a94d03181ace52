package simulator

import "fmt"

// The error events that were seen inside 200 streams (facts/azure-openai.md
// §3.3): nested or flat, coded or not, in three orders.

// sendThrottle sends an in-stream 429 in the fault's order.
func (s *stream) sendThrottle() {
	f := s.c.fault
	text := s.c.newThrottle(f.RetryAfter).v1Text()
	if s.dialect == dialectChat {
		if f.Order == "created-error-failed" && s.content == 0 {
			s.sendAll(s.preamble...)
		}
		s.sendAll(chatError("429", text, f.Uncoded))
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
	if s.dialect == dialectChat {
		if f.Order == "created-error-failed" && s.content == 0 {
			s.sendAll(s.preamble...)
		}
		s.sendAll(chatError(code, text, f.Uncoded))
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
		s.sendAll(errorEvent())
		s.sendAll(s.failed(failedCode, text))
	}
}

// sendAll writes events past the fault, which has struck already.
func (s *stream) sendAll(events ...event) {
	for _, ev := range events {
		if !s.write(ev) {
			return
		}
	}
}

// number is the next sequence_number. In front of everything it counts from
// where the capture did.
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

func chatError(code, text string, uncoded bool) event {
	if uncoded {
		return event{data: fmt.Appendf(nil, `{"error":{"message":%s}}`, quote(text))}
	}
	return event{data: fmt.Appendf(nil, `{"error":{"code":%s,"message":%s}}`, quote(code), quote(text))}
}
