package classify

import (
	"time"

	"spillway/handler/internal/openai/request/walk"
	"spillway/handler/internal/openai/sse"
)

// response reads an event of the Responses API. Most of them are deltas, which
// their name alone tells.
func (s *Stream) response(e sse.Event, now time.Time) Reading {
	s.sequence++
	if len(e.Name) > 0 && !tells(e.Name) {
		return Reading{Meaning: Meaningful}
	}
	a, ok := dissect(e.Data, 0)
	if a.kind == nil {
		a.kind = e.Name
	}
	if a.sequence > 0 {
		s.sequence = a.sequence
	}
	switch {
	case string(a.kind) == "error" || a.errorAt > 0:
		p := problemIn(e.Data)
		return s.refuse(&p, now)
	case !ok || a.response == 0:
		return Reading{Meaning: Meaningful}
	}
	inside, _ := dissect(e.Data, a.response)
	s.Answer.note(&inside)
	switch string(a.kind) {
	case "response.created", "response.queued", "response.in_progress":
		return Reading{}
	case "response.failed":
		return s.failure(&inside, now)
	case "response.completed", "response.incomplete", "response.cancelled":
		return s.terminal(&inside)
	}
	return Reading{Meaning: Meaningful}
}

// tells reports whether events of a name say something of the stream as a
// whole.
func tells(name []byte) bool {
	switch string(name) {
	case "response.created", "response.queued", "response.in_progress", "response.failed", "response.completed",
		"response.incomplete", "response.cancelled", "error":
		return true
	}
	return false
}

// terminal reads the end of a response that is one.
func (s *Stream) terminal(inside *anatomy) Reading {
	s.ended = true
	s.Answer.Finish = known(inside.status)
	if inside.details > 0 {
		w := walk.Into(inside.text, inside.details)
		for w.Next() {
			if string(w.Key) == "reason" {
				s.Answer.Finish = known(word(&w))
			}
		}
	}
	return Reading{Meaning: Done, Finished: 1}
}

// failure reads a failed response. One without an error says why in an event of
// its own, ahead of it or behind it; unless the headers already say that the
// limit is reached (facts/azure-openai.md §3.3).
func (s *Stream) failure(inside *anatomy, now time.Time) Reading {
	if inside.errorAt > 0 {
		p := problemAt(inside.text, inside.errorAt)
		return s.refuse(&p, now)
	}
	_, hint := saidByHeader(s.Header, now)
	if hint || exhausted(s.Header) {
		p := problem{code: "too_many_requests"}
		return s.refuse(&p, now)
	}
	s.broken = true
	return Reading{}
}

// exhausted reports whether the headers say that a limit is used up. By itself
// that is no refusal: answers that serve say it too.
func exhausted(header map[string][]string) bool {
	for _, of := range []string{"Requests", "Tokens"} {
		limit, remaining := header["X-Ratelimit-Limit-"+of], header["X-Ratelimit-Remaining-"+of]
		if !quirk(limit) && len(remaining) > 0 && amount(remaining) <= 0 {
			return true
		}
	}
	return false
}
