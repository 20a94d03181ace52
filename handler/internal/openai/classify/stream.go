package classify

import (
	"bytes"
	"time"

	"spillway/handler/internal/health"
	"spillway/handler/internal/openai/operations"
	"spillway/handler/internal/openai/sse"
)

// Meaning is what one event says of its stream.
type Meaning uint8

// The meanings.
const (
	Preamble   Meaning = iota // says nothing yet: comments, annotations, response.created
	Meaningful                // a part of the answer: worth committing for
	Done                      // the dialect's own end
	Refusal                   // an error; Outcome says whose
)

// Reading is what one event said.
type Reading struct {
	Meaning   Meaning
	Outcome   health.Outcome // of a Refusal; Served is the caller's own mistake
	Finished  int            // how many choices got their finish reason with this event
	UsageOnly bool           // a chunk that exists because usage was asked for: not for callers who did not ask
}

// Stream reads the events of one stream in their order. Its exported fields
// but Answer are set before the first event. It is for one goroutine.
//
// A wait in the headers of a stream is a strong hint at a refusal in it, and no
// verdict (facts/azure-openai.md §3.3): it decides only about errors that do
// not say what they are.
//
// Chunks ahead of the usage chunk carry "usage":null once usage was asked for.
// They are left as they are: no client minds, and bytes that need no change are
// not changed.
type Stream struct {
	Dialect operations.Dialect
	Header  map[string][]string // of the answer
	Policy  Policy
	Answer  Answer // what was learned so far

	started  choices // choices that have begun, and those with a finish reason
	finished choices
	ended    bool     // the dialect's own end was seen
	broken   bool     // a response failed and did not say why
	sequence int64    // of the last event of the Responses API
	like     likeness // of chat's chunks
}

// Read reads the next event, as [sse.Splitter] found it or what a stream that
// ended left over. What it does not understand is Meaningful: it is passed on.
func (s *Stream) Read(event []byte, now time.Time) Reading {
	if s.like.matches(event) {
		return Reading{Meaning: Meaningful}
	}
	e := sse.Parse(event)
	switch {
	case len(e.Data) == 0:
		return Reading{}
	case s.Dialect == operations.Responses:
		return s.response(e, now)
	case bytes.HasPrefix(e.Data, []byte("[DONE]")):
		s.ended = true
		return Reading{Meaning: Done}
	}
	return s.chunk(event, e, now)
}

// Complete reports whether the answer is whole: every choice that began has its
// finish reason, or the stream said its end. A chat stream that only lacks
// [DONE] is complete (facts/reliability.md rule 2).
func (s *Stream) Complete() bool {
	return s.ended || s.started != (choices{}) && s.finished.holds(s.started)
}

// End is what the end of the connection means, however it came.
func (s *Stream) End() health.Outcome {
	o := health.Outcome{Signals: Signals(s.Header)}
	switch {
	case s.broken:
		o.Verdict, o.Why = health.Failed, "in-stream error"
	case !s.Complete():
		o.Verdict, o.Why = health.Failed, "cut"
	}
	return o
}

// chunk reads an event of chat, of completions, or of an operation without a
// dialect of its own.
func (s *Stream) chunk(event []byte, e sse.Event, now time.Time) Reading {
	a, ok := dissect(e.Data, 0)
	named := string(e.Name) == "error" || string(a.kind) == "error"
	switch {
	case a.errorAt > 0:
		p := problemAt(e.Data, a.errorAt)
		return s.refuse(&p, now)
	case named:
		p := problemIn(e.Data)
		return s.refuse(&p, now)
	case !ok:
		return Reading{Meaning: Meaningful}
	}
	s.Answer.note(&a)
	fresh := choices{a.finished[0] &^ s.finished[0], a.finished[1] &^ s.finished[1]}
	s.started.join(a.started)
	s.finished.join(a.finished)
	r := Reading{Finished: fresh.count(), UsageOnly: s.Dialect == operations.Chat && a.usageOnly()}
	if a.content || s.Dialect == operations.Plain {
		r.Meaning = Meaningful
	}
	if a.piece > 0 && !a.metered {
		s.like.learn(event, e.Data, a.piece)
	}
	return r
}

// refuse is the reading of an error.
func (s *Stream) refuse(p *problem, now time.Time) Reading {
	_, hint := saidByHeader(s.Header, now)
	j := judgement{policy: &s.Policy, header: s.Header, now: now}
	return Reading{Meaning: Refusal, Outcome: j.disguised(p, "in-stream", hint)}
}
