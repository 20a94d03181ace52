package classify

import (
	"time"

	"spillway/handler/internal/openai/jsonscan"
	"spillway/handler/internal/openai/sse"
)

// readResponsesEvent reads an event of the Responses API. Most of them are deltas, which
// their name alone tells.
func (s *Stream) readResponsesEvent(e sse.Event, now time.Time) EventResult {
	s.sequence++
	if len(e.Name) > 0 && !isLifecycleEvent(e.Name) {
		return EventResult{Kind: Content}
	}
	a, ok := parseParts(e.Data, 0)
	if a.eventType == nil {
		a.eventType = e.Name
	}
	if a.sequence > 0 {
		s.sequence = a.sequence
	}
	switch {
	case string(a.eventType) == "error" || a.errorAt > 0:
		p := parseErrorBody(e.Data)
		return s.errorResult(&p, now)
	case !ok || a.responseAt == 0:
		return EventResult{Kind: Content}
	}
	inside, _ := parseParts(e.Data, a.responseAt)
	s.Info.update(&inside)
	switch string(a.eventType) {
	case "response.created", "response.queued", "response.in_progress":
		return EventResult{}
	case "response.failed":
		return s.readFailed(&inside, now)
	case "response.completed", "response.incomplete", "response.cancelled":
		return s.readTerminal(&inside)
	}
	return EventResult{Kind: Content}
}

// isLifecycleEvent reports whether events of a name say something of the stream as a
// whole.
func isLifecycleEvent(name []byte) bool {
	switch string(name) {
	case "response.created", "response.queued", "response.in_progress", "response.failed", "response.completed",
		"response.incomplete", "response.cancelled", "error":
		return true
	}
	return false
}

// readTerminal reads the end of a response that is one.
func (s *Stream) readTerminal(inside *responseParts) EventResult {
	s.ended = true
	s.Info.FinishReason = intern(inside.status)
	if inside.detailsAt > 0 {
		w := jsonscan.Iterate(inside.text, inside.detailsAt)
		for w.Next() {
			if string(w.Key) == "reason" {
				s.Info.FinishReason = intern(stringValue(&w))
			}
		}
	}
	return EventResult{Kind: Done, FinishedChoices: 1}
}

// readFailed reads a failed response. One without an error says why in an event of
// its own, ahead of it or behind it; unless the headers already say that the
// limit is reached (facts/azure-openai.md §3.3).
func (s *Stream) readFailed(inside *responseParts, now time.Time) EventResult {
	if inside.errorAt > 0 {
		p := parseErrorAt(inside.text, inside.errorAt)
		return s.errorResult(&p, now)
	}
	_, hint := waitFromHeaders(s.Header, now)
	if hint || limitExhausted(s.Header) {
		p := errorObject{code: "too_many_requests"}
		return s.errorResult(&p, now)
	}
	s.failed = true
	return EventResult{}
}

// limitExhausted reports whether the headers say that a limit is used up. By itself
// that is no refusal: answers that serve say it too.
func limitExhausted(header map[string][]string) bool {
	for _, of := range []string{"Requests", "Tokens"} {
		limit, remaining := header["X-Ratelimit-Limit-"+of], header["X-Ratelimit-Remaining-"+of]
		if !isUnknownLimit(limit) && len(remaining) > 0 && parseAmount(remaining) <= 0 {
			return true
		}
	}
	return false
}
