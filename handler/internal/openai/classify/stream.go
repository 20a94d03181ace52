package classify

import (
	"bytes"
	"time"

	"spillway/handler/internal/health"
	"spillway/handler/internal/openai/operations"
	"spillway/handler/internal/openai/sse"
)

// EventKind is what one event says of its stream.
type EventKind uint8

// The meanings.
const (
	Preamble   EventKind = iota // says nothing yet: comments, annotations, response.created
	Content                     // a part of the answer: worth committing for
	Done                        // the dialect's own end
	ErrorEvent                  // an error; Outcome says whose
)

// EventResult is what one event said.
type EventResult struct {
	Kind            EventKind
	Outcome         health.Outcome // of a Refusal; Served is the caller's own mistake
	FinishedChoices int            // how many choices got their finish reason with this event
	UsageOnly       bool           // a chunk that exists because usage was asked for: not for callers who did not ask
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
	Info    ResponseInfo // what was learned so far

	started  choiceSet // choices that have begun, and those with a finish reason
	finished choiceSet
	ended    bool          // the dialect's own end was seen
	failed   bool          // a response failed and did not say why
	sequence int64         // of the last event of the Responses API
	template eventTemplate // of chat's chunks
}

// Read reads the next event, as [sse.Splitter] found it or what a stream that
// ended left over. What it does not understand is Meaningful: it is passed on.
func (s *Stream) Read(event []byte, now time.Time) EventResult {
	if s.template.matches(event) {
		return EventResult{Kind: Content}
	}
	e := sse.Parse(event)
	switch {
	case len(e.Data) == 0:
		return EventResult{}
	case s.Dialect == operations.Responses:
		return s.readResponsesEvent(e, now)
	case bytes.HasPrefix(e.Data, []byte("[DONE]")):
		s.ended = true
		return EventResult{Kind: Done}
	}
	return s.readChunk(event, e, now)
}

// Complete reports whether the answer is whole: every choice that began has its
// finish reason, or the stream said its end. A chat stream that only lacks
// [DONE] is complete (facts/reliability.md rule 2).
func (s *Stream) Complete() bool {
	return s.ended || s.started != (choiceSet{}) && s.finished.containsAll(s.started)
}

// EndOutcome is what the end of the connection means, however it came.
func (s *Stream) EndOutcome() health.Outcome {
	o := health.Outcome{Signals: Signals(s.Header)}
	switch {
	case s.failed:
		o.Class, o.Reason = health.Failed, "in-stream error"
	case !s.Complete():
		o.Class, o.Reason = health.Failed, "cut"
	}
	return o
}

// readChunk reads an event of chat, of completions, or of an operation without a
// dialect of its own.
func (s *Stream) readChunk(event []byte, e sse.Event, now time.Time) EventResult {
	a, ok := parseParts(e.Data, 0)
	named := string(e.Name) == "error" || string(a.eventType) == "error"
	switch {
	case a.errorAt > 0:
		p := parseErrorAt(e.Data, a.errorAt)
		return s.errorResult(&p, now)
	case named:
		p := parseErrorBody(e.Data)
		return s.errorResult(&p, now)
	case !ok:
		return EventResult{Kind: Content}
	}
	s.Info.update(&a)
	fresh := choiceSet{a.finished[0] &^ s.finished[0], a.finished[1] &^ s.finished[1]}
	s.started.union(a.started)
	s.finished.union(a.finished)
	r := EventResult{FinishedChoices: fresh.count(), UsageOnly: s.Dialect == operations.Chat && a.usageOnly()}
	if a.hasContent || s.Dialect == operations.Plain {
		r.Kind = Content
	}
	if a.contentAt > 0 && !a.hasUsage {
		s.template.record(event, e.Data, a.contentAt)
	}
	return r
}

// errorResult is the reading of an error.
func (s *Stream) errorResult(p *errorObject, now time.Time) EventResult {
	_, hint := waitFromHeaders(s.Header, now)
	j := classifier{policy: &s.Policy, header: s.Header, now: now}
	return EventResult{Kind: ErrorEvent, Outcome: j.inBandError(p, "in-stream", hint)}
}
