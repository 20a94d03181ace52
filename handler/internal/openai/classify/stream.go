package classify

import (
	"bytes"
	"encoding/json"
	"math/bits"
	"time"

	"spillway/handler/internal/health"
	"spillway/handler/internal/openai/jsonscan"
	"spillway/handler/internal/openai/operations"
	"spillway/handler/internal/openai/sse"
)

// EventKind is what one event contributes to its stream.
type EventKind uint8

// The kinds of events.
const (
	Preamble   EventKind = iota // nothing of the answer: comments, annotations, response.created, keepalives, what is not understood
	Content                     // a part of the answer
	Done                        // the dialect's own end
	ErrorEvent                  // an error; Outcome is whose
)

// EventResult is what one event means.
type EventResult struct {
	Kind            EventKind
	Outcome         health.Outcome // of an ErrorEvent; Served is the caller's own mistake
	Unnoticed       bool           // an ErrorEvent that clients take for one of the answer
	Thinks          bool           // nothing but reasoning that has begun or ended: a backend that goes on is about to answer
	FinishedChoices int            // how many choices got their finish reason with this event
	UsageOnly       bool           // a chunk that exists because usage was asked for: not for callers who did not ask
}

// Stream reads the events of one stream in their order. Its exported fields but
// Info are set before the first event. It is for one goroutine.
//
// A wait in the headers of a stream is a hint at an error in it and no proof
// (docs/azure-openai.md#429-inside-a-stream): it decides only about errors that
// do not name their cause.
//
// Chunks before the usage chunk carry "usage":null once usage was asked for.
// They are left as they are: clients accept it.
type Stream struct {
	Dialect operations.Dialect
	Header  map[string][]string // of the answer
	Policy  Policy
	Info    ResponseInfo // so far

	started  choiceSet // choices that have begun, and those with a finish reason
	finished choiceSet
	begun    bool          // content of the Responses API was seen
	ended    bool          // the dialect's own end was seen
	failed   bool          // a response failed without an error
	sequence int64         // of the last event of the Responses API
	template eventTemplate // of chat's chunks
}

// Read reads the next event, as [sse.Splitter] returns it or what a stream left
// over at its end. Only what is known to carry a part of the answer is Content
// (docs/azure-openai.md#events-that-carry-nothing).
func (s *Stream) Read(event []byte, now time.Time) EventResult {
	if length, ok := s.template.matches(event); ok && length > 0 {
		s.Info.TextBytes += int64(length)
		return EventResult{Kind: Content}
	}
	e := sse.Parse(event)
	switch {
	case len(e.Data) == 0:
		return EventResult{}
	case s.Dialect == operations.Responses:
		return s.readResponsesEvent(e, now)
	case s.Dialect == operations.Messages:
		return s.readMessagesEvent(e, now)
	case bytes.HasPrefix(e.Data, []byte("[DONE]")):
		s.ended = true
		return EventResult{Kind: Done}
	}
	return s.readChunk(event, e, now)
}

// Complete reports whether the answer is whole: every choice that began has its
// finish reason, or the stream had its end. A chat stream that only lacks
// [DONE] is complete (docs/azure-openai.md#streams).
func (s *Stream) Complete() bool {
	return s.ended || s.started != (choiceSet{}) && s.finished.containsAll(s.started)
}

// HasEnd reports whether the events so far are of a kind that has an end of its own.
func (s *Stream) HasEnd() bool { return s.ended || s.started != (choiceSet{}) }

// EndOutcome is what the end of the connection means, whether clean or not.
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

// readChunk reads an event of chat, of completions, or of an operation without
// a dialect of its own.
func (s *Stream) readChunk(event []byte, e sse.Event, now time.Time) EventResult {
	a, ok := parseParts(e.Data, 0)
	named := string(e.Name) == "error" || string(a.eventType) == "error" || string(a.object) == "error"
	switch {
	case a.errorAt > 0:
		failure := parseErrorAt(e.Data, a.errorAt)
		return s.errorResult(&failure, now)
	case named, a.failed:
		failure := parseErrorBody(e.Data)
		r := s.errorResult(&failure, now)
		r.Unnoticed = true
		return r
	case !ok:
		return EventResult{}
	}
	s.Info.update(&a)
	s.Info.TextBytes += a.textBytes
	newlyFinished := choiceSet{a.finished[0] &^ s.finished[0], a.finished[1] &^ s.finished[1]}
	s.started.union(a.started)
	s.finished.union(a.finished)
	r := EventResult{FinishedChoices: newlyFinished.count(), UsageOnly: s.Dialect == operations.Chat && a.usageOnly()}
	if a.hasContent {
		r.Kind = Content
	}
	if s.Dialect == operations.Plain {
		if content, _ := carriesContent(e.Data); content {
			r.Kind = Content
		}
		if a.eventType == nil {
			a.eventType = e.Name
		}
		r.FinishedChoices += s.readPlainEnd(string(a.eventType))
	}
	if a.contentAt > 0 && !a.hasUsage {
		s.template.record(event, e.Data, a.contentAt)
	}
	return r
}

// readPlainEnd reads the type of an event of images or sound, and returns how many
// images or sounds end with it (docs/azure-openai.md#streams).
func (s *Stream) readPlainEnd(eventType string) int {
	switch eventType {
	case "image_generation.completed", "image_edit.completed", "speech.audio.done", "transcript.text.done":
		s.started.add(0)
		s.finished.add(0)
		return 1
	case "image_generation.partial_image", "image_edit.partial_image", "speech.audio.delta", "transcript.text.delta", "transcript.text.segment":
		s.started.add(0)
		s.finished = choiceSet{}
	}
	return 0
}

// errorResult is the result of an error.
func (s *Stream) errorResult(e *errorObject, now time.Time) EventResult {
	_, hint := waitFromHeaders(s.Header, now)
	c := classifier{policy: &s.Policy, header: s.Header, now: now}
	return EventResult{Kind: ErrorEvent, Outcome: c.inBandError(e, "in-stream", hint)}
}

// readResponsesEvent reads an event of the Responses API. Most are deltas,
// which are known by their name alone.
func (s *Stream) readResponsesEvent(e sse.Event, now time.Time) EventResult {
	s.sequence++
	if len(e.Name) > 0 && !isLifecycleEvent(e.Name) {
		return s.readPart(e)
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
		failure := parseErrorBody(e.Data)
		r := s.errorResult(&failure, now)
		r.Unnoticed = a.errorAt == 0
		return r
	case !ok || a.responseAt == 0:
		return s.readPart(e)
	}
	inside, _ := parseParts(e.Data, a.responseAt)
	s.Info.update(&inside)
	switch string(a.eventType) {
	case "response.failed":
		return s.readFailed(&inside, now)
	case "response.completed", "response.incomplete", "response.cancelled":
		return s.readTerminal(&inside)
	}
	return EventResult{}
}

// readPart reads an event that does not concern the stream as a whole. Once content
// was seen, it does not matter what others carry.
func (s *Stream) readPart(e sse.Event) EventResult {
	s.Info.TextBytes += deltaBytes(e)
	if !s.begun {
		content, thinks := carriesContent(e.Data)
		if !content {
			return EventResult{Thinks: thinks}
		}
	}
	s.begun = true
	return EventResult{Kind: Content}
}

// isLifecycleEvent reports whether events of this name concern the stream as a
// whole.
func isLifecycleEvent(name []byte) bool {
	switch string(name) {
	case "response.created", "response.queued", "response.in_progress", "response.failed", "response.completed",
		"response.incomplete", "response.cancelled", "error":
		return true
	}
	return false
}

// readTerminal reads the event that ends a response.
func (s *Stream) readTerminal(inside *responseParts) EventResult {
	s.ended = true
	s.Info.FinishReason = intern(inside.status)
	if inside.detailsAt > 0 {
		it := jsonscan.Iterate(inside.text, inside.detailsAt)
		for it.Next() {
			if string(it.Key) == "reason" {
				s.Info.FinishReason = intern(stringValue(&it))
			}
		}
	}
	return EventResult{Kind: Done, FinishedChoices: 1}
}

// readFailed reads a failed response. One without an error has the reason in an
// event of its own, before it or after it; unless the headers already show that
// the limit is reached (docs/azure-openai.md#429-inside-a-stream).
func (s *Stream) readFailed(inside *responseParts, now time.Time) EventResult {
	if inside.errorAt > 0 {
		failure := parseErrorAt(inside.text, inside.errorAt)
		return s.errorResult(&failure, now)
	}
	_, hint := waitFromHeaders(s.Header, now)
	if hint || limitExhausted(s.Header) {
		failure := errorObject{code: "too_many_requests"}
		return s.errorResult(&failure, now)
	}
	s.failed = true
	return EventResult{}
}

// limitExhausted reports whether the headers show a limit as used up. Headers
// of served answers do so too.
func limitExhausted(header map[string][]string) bool {
	for _, of := range []string{"Requests", "Tokens"} {
		limit, remaining := header["X-Ratelimit-Limit-"+of], header["X-Ratelimit-Remaining-"+of]
		if !isUnknownLimit(limit) && len(remaining) > 0 && parseAmount(remaining) <= 0 {
			return true
		}
	}
	return false
}

// FormatErrorEvent returns the event that ends a broken stream, in the dialect
// of its endpoint; the connection must then be aborted, because clients take a
// clean end for success. Chat gets no event line: one of its clients reads
// those as JSON. The Responses API's has the error twice, flat as it is documented
// and as an object, which alone some clients raise. No form has an "error" that is null
// (docs/azure-openai.md#what-clients-tolerate).
func FormatErrorEvent(dialect operations.Dialect, message, code string) []byte {
	return formatErrorEvent(dialect, message, code, 0)
}

// FormatErrorEvent is [FormatErrorEvent] with the next sequence number of this
// stream.
func (s *Stream) FormatErrorEvent(message, code string) []byte {
	return formatErrorEvent(s.Dialect, message, code, s.sequence+1)
}

func formatErrorEvent(dialect operations.Dialect, message, code string, sequence int64) []byte {
	type plain struct {
		Message string  `json:"message"`
		Type    string  `json:"type"`
		Param   *string `json:"param"`
		Code    string  `json:"code"`
	}
	type flat struct {
		Type     string  `json:"type"`
		Code     string  `json:"code"`
		Message  string  `json:"message"`
		Param    *string `json:"param"`
		Sequence int64   `json:"sequence_number"`
		Error    plain   `json:"error"`
	}
	inner := plain{Message: message, Type: "server_error", Code: code}
	line, object := "data: ", any(map[string]plain{"error": inner})
	switch dialect {
	case operations.Responses:
		line, object = "event: error\ndata: ", flat{Type: "error", Code: code, Message: message, Sequence: sequence, Error: inner}
	case operations.Messages:
		line, object = "event: error\ndata: ", anthropicError{Type: "error", Error: anthropicErrorObject{Type: "api_error", Message: message}}
	case operations.Plain, operations.Chat:
	}
	text, err := json.Marshal(object)
	if err != nil {
		panic("classify: strings do not marshal: " + err.Error())
	}
	return append(append([]byte(line), text...), "\n\n"...)
}

// choiceSet is a set of the indexes of choices. An answer has at most 128
// (docs/azure-openai.md#how-limits-count); larger indexes share bits.
type choiceSet [2]uint64

func (c *choiceSet) add(index int) { c[uint(index)>>6&1] |= 1 << (uint(index) & 63) }

func (c *choiceSet) union(o choiceSet) { c[0], c[1] = c[0]|o[0], c[1]|o[1] }

func (c choiceSet) count() int { return bits.OnesCount64(c[0]) + bits.OnesCount64(c[1]) }

// containsAll reports whether every member of o is in c.
func (c choiceSet) containsAll(o choiceSet) bool { return o[0]&^c[0] == 0 && o[1]&^c[1] == 0 }
