package simulator

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"
	"time"
)

func (s *stream) faultIs(action string) bool {
	return s.c.fault != nil && s.c.fault.Action == action
}

// errsAtOnce tells whether the fault is an error event in front of everything.
func (s *stream) errsAtOnce() bool {
	f := s.c.fault
	if f == nil || f.Chunks > 0 {
		return false
	}
	return f.Action == "stream-429" || f.Action == "stream-404" || f.Action == "stream-error"
}

// dropped tells whether the fault leaves the event out.
func (s *stream) dropped(ev event) bool {
	return (ev.last && s.dialect == dialectChat && s.endsUnsaid()) || (ev.finish && s.faultIs("no-finish"))
}

func (s *stream) endsUnsaid() bool {
	if !s.faultIs("no-done") {
		return false
	}
	s.c.settle(Broken)
	return true
}

// due tells whether the fault strikes before this event: after Chunks content
// events, or where the answer is shorter at its finish.
func (s *stream) due(ev event) bool {
	f := s.c.fault
	if f == nil || actions[f.Action] != kindStream {
		return false
	}
	switch f.Action {
	case "no-done", "no-finish", "drip-stream", "cr-lines", "bom":
		return false
	}
	return (ev.tokens > 0 && s.content == f.Chunks) || (ev.finish && s.content <= f.Chunks)
}

// spoilEvent strikes and tells whether the stream goes on. What only deforms
// one event deforms this one.
func (s *stream) spoilEvent(ev *event) bool {
	switch s.c.fault.Action {
	case "bad-json":
		return s.writeRaw([]byte("data: {\"id\":\"chatcmpl-\",\"choices\":[{\"delta\":{\"content\":\"half\n\n"))
	case "huge-event":
		ev.data = deform(ev.data, strings.Repeat("x", 1<<20+1))
	case "bad-utf8":
		ev.data = deform(ev.data, "\xff\xfe")
	case "nul":
		ev.data = deform(ev.data, "\x00")
	case "no-blank-line":
		return s.writeRaw(fmt.Appendf(nil, "data: %s\n", ev.data))
	default:
		return s.spoil()
	}
	return true
}

// deform puts text inside the first delta of an event.
func deform(data []byte, text string) []byte {
	for _, mark := range []string{`"content":"`, `"delta":"`, `"text":"`} {
		if i := bytes.Index(data, []byte(mark)); i >= 0 {
			at := i + len(mark)
			return append(append(append([]byte{}, data[:at]...), text...), data[at:]...)
		}
	}
	return data
}

// lineEnds turns newlines into what the fault wants.
func (s *stream) lineEnds(b []byte) []byte {
	if s.faultIs("cr-lines") {
		return bytes.ReplaceAll(b, []byte("\n"), []byte("\r"))
	}
	return b
}

// spoil ends the stream as the fault says. It returns true only when a stall
// was survived.
func (s *stream) spoil() bool {
	f := s.c.fault
	switch f.Action {
	case "hang-mid-stream":
		return s.stall(f.Hold)
	case "cut-clean":
		s.stop(Broken)
	case "cut-abort":
		s.stop(Broken)
		s.c.flush()
		panic(http.ErrAbortHandler)
	case "cut-reset":
		s.cutReset()
	case "stream-429":
		s.stop(Throttled)
		s.sendThrottle()
	default: // stream-error, stream-404, failed-uncoded, incomplete
		s.stop(Broken)
		s.sendError(f)
	}
	return false
}

func (s *stream) stop(outcome Outcome) {
	s.c.settle(outcome)
	s.over = true
}

// stall is silence, for good or for a while after which the stream goes on.
func (s *stream) stall(hold time.Duration) bool {
	s.c.flush()
	s.c.note(func(e *Entry) { e.Fault = "hang-mid-stream" }) // wakes who waits for the stall
	if hold > 0 {
		return s.pause(hold)
	}
	s.pause(1 << 62)
	s.over = true
	return false
}

func (s *stream) cutReset() {
	s.stop(Broken)
	s.c.flush()
	conn, err := s.c.seize()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	hangUp(conn, true)
}

// hintInStream sets the Retry-After that came with 200 on throttled Responses
// streams, and not on chat (facts/azure-openai.md §3.3).
func (s *stream) hintInStream(h http.Header) {
	f := s.c.fault
	if f == nil || f.Action != "stream-429" || f.RetryRaw != nil {
		return
	}
	form := f.Retry
	if form == RetryBoth {
		if s.dialect == dialectChat {
			return
		}
		form = RetrySeconds
	}
	wait := f.RetryAfter
	if wait <= 0 {
		wait = time.Minute
	}
	form.hint(h, wait, s.c.now())
}
