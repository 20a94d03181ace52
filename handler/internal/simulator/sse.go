package simulator

import (
	"bytes"
	"net/http"
	"time"
)

// event is one server-sent event.
type event struct {
	name   string // "" writes no event line
	data   []byte
	tokens int  // tokens it carries to the caller; more than 0 makes it content
	finish bool // it says why the answer ended
	last   bool // nothing comes after it
}

// stream is an answer under way as server-sent events. Everything it sends
// passes by the fault, if there is one.
type stream struct {
	c        *call
	dialect  dialect
	preamble []event // what the endpoint sends before it generates
	content  int     // content events that have passed
	seq      int     // sequence_number of the next Responses event
	ended    bool
	next     time.Time // when the next token is to come, by the timers' clock
	buf      bytes.Buffer
}

// dialect is how an endpoint words its stream.
type dialect int

const (
	dialectChat dialect = iota
	dialectResponses
)

// openStream sends status and headers. The caller sends preamble and the rest.
func (c *call) openStream(d dialect, preamble ...event) *stream {
	s := &stream{c: c, dialect: d, preamble: preamble, next: time.Now()}
	c.prepareHeaders()
	h := c.w.Header()
	h.Set("Content-Type", "text/event-stream; charset=utf-8")
	h.Set("Azureai-Fe-Is-Streaming", "True")
	s.setRetryAfter(h)
	c.recordResponse(http.StatusOK)
	c.w.WriteHeader(http.StatusOK)
	s.begin()
	return s
}

// begin sends the preamble, unless a fault comes first.
func (s *stream) begin() {
	if s.errorComesFirst() {
		s.seq = 1
		s.applyFault()
		return
	}
	if s.hasFault("bom") {
		_, _ = s.c.out.Write([]byte("\ufeff"))
	}
	for _, ev := range s.preamble {
		s.send(ev)
	}
}

// send writes one event and tells whether the stream goes on.
func (s *stream) send(ev event) bool {
	if s.ended {
		return false
	}
	if s.omits(ev) {
		return true
	}
	if s.faultDue(ev) && !s.applyEventFault(&ev) {
		s.ended = true
		return false
	}
	s.seq++
	if ev.tokens > 0 {
		s.content++
		s.recordTokens(ev.tokens)
	}
	if ev.last {
		s.c.finish(Served)
		s.ended = true
	}
	return s.write(ev)
}

func (s *stream) write(ev event) bool {
	s.buf.Reset()
	if ev.name != "" {
		s.buf.WriteString("event: ")
		s.buf.WriteString(ev.name)
		s.buf.WriteByte('\n')
	}
	s.buf.WriteString("data: ")
	s.buf.Write(ev.data)
	s.buf.WriteString("\n\n")
	return s.writeRaw(s.lineEnds(s.buf.Bytes()))
}

func (s *stream) writeRaw(b []byte) bool {
	if s.hasFault("drip-stream") {
		return s.dripRaw(b)
	}
	if _, err := s.c.out.Write(b); err != nil {
		s.disconnect()
		return false
	}
	return true
}

func (s *stream) dripRaw(b []byte) bool {
	pause := s.c.fault.Pause
	if pause <= 0 {
		pause = time.Millisecond
	}
	for i := range b {
		if _, err := s.c.out.Write(b[i : i+1]); err != nil || !s.c.sleep(pause) {
			s.disconnect()
			return false
		}
		s.c.flush()
	}
	return true
}

// recordTokens adds tokens that were generated.
func (s *stream) recordTokens(tokens int) {
	first := s.content == 1
	now := s.c.now()
	s.c.update(func(e *Entry) {
		e.CompletionTokens += tokens
		if first {
			e.FirstContent = now
		}
	})
}

// pause waits for the model and tells whether the stream goes on. What was
// written so far goes out first. It keeps to the pace, not to the pause: a
// stream that the machine held up catches up, as a real one does.
func (s *stream) pause(d time.Duration) bool {
	if s.ended {
		return false
	}
	s.next = s.next.Add(d)
	wait := time.Until(s.next)
	if d > 0 && wait > 0 {
		s.c.flush()
	}
	if !s.c.sleep(wait) {
		s.disconnect()
		return false
	}
	return true
}

// disconnect ends the stream because the caller did.
func (s *stream) disconnect() {
	s.ended = true
	s.c.clientDisconnected()
}
