package simulator

import (
	"bytes"
	"io"
	"math"
	"net/http"
	"time"
)

// event is one server-sent event.
type event struct {
	name   string // "" writes no event line
	data   []byte
	tokens int  // completion tokens in it; more than 0 makes it a content event
	finish bool // it has the finish reason
	last   bool // it ends the stream
}

// stream is a response as server-sent events. The fault, if there is one, applies
// to everything it sends.
type stream struct {
	c        *call
	dialect  dialect
	preamble []event // events before the first generated one
	content  int     // content events sent
	seq      int     // sequence_number of the next Responses event
	ended    bool
	next     time.Time // when the next token is due, by the timers' clock
	buf      bytes.Buffer
}

// dialect is the event format of an endpoint.
type dialect int

const (
	dialectChat dialect = iota
	dialectResponses
	dialectMessages
)

// openStream sends the status, the headers and the preamble.
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
	if s.hasFault("keepalive") {
		s.sendAll(s.emptyEvents("keepalive-error")...)
	}
}

// send writes one event and reports whether the stream goes on.
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

// recordTokens records generated tokens.
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

// pause flushes, waits for the model and reports whether the stream goes on. A
// stream that is late catches up with its pace, as a real one does.
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

// disconnect ends the stream after the client has left.
func (s *stream) disconnect() {
	s.ended = true
	s.c.clientDisconnected()
}

// sleep waits and reports whether the client is still connected.
func (c *call) sleep(d time.Duration) bool {
	ctx := c.r.Context()
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// firstTokenDelay is the time to the first token: a base, more for each prompt
// token that was not cached, more under load, with jitter.
func (c *call) firstTokenDelay() time.Duration {
	fresh := max(0, c.promptTokens-c.cached)
	share := 1.0
	if c.promptTokens > 0 {
		// Half of the base is reading the prompt, which a cached one does not need.
		share = 0.5 + 0.5*float64(fresh)/float64(c.promptTokens)
	}
	base := time.Duration(float64(c.spec.TimeToFirstToken)*share) + time.Duration(fresh)*c.spec.PerPromptToken
	return c.latency + c.scaleDelay(base, 0)
}

// tokenDelay is the time to the i-th token after the first.
func (c *call) tokenDelay(i int) time.Duration { return c.scaleDelay(c.spec.PerToken, i+1) }

// scaleDelay applies load, faults and seeded jitter to a delay.
func (c *call) scaleDelay(d time.Duration, i int) time.Duration {
	if d <= 0 {
		return 0
	}
	factor := c.factor
	if c.spec.LoadFactor > 0 && c.dep != nil {
		factor *= 1 + c.spec.LoadFactor*float64(max(0, c.dep.inFlight.Load()-1))
	}
	if c.spec.Jitter > 0 {
		factor *= math.Max(0.1, 1+c.spec.Jitter*c.svc.normal(c.seq, i))
	}
	return time.Duration(float64(d) * factor)
}

// answerDelay is the time until a response that is not streamed.
func (c *call) answerDelay(tokens int) time.Duration {
	d := c.firstTokenDelay()
	if c.spec.PerToken > 0 {
		d += c.scaleDelay(c.spec.PerToken*time.Duration(max(0, tokens-1)), 1)
	}
	return d
}

func (c *call) flush() { _ = http.NewResponseController(c.w).Flush() }

// slowReader reads the client's body slowly.
type slowReader struct {
	call  *call
	from  io.Reader
	pause time.Duration
}

// Read waits before each kilobyte.
func (s *slowReader) Read(p []byte) (int, error) {
	pause := s.pause
	if pause <= 0 {
		pause = 10 * time.Millisecond
	}
	if !s.call.sleep(pause) {
		return 0, s.call.r.Context().Err()
	}
	return s.from.Read(p[:min(len(p), 1024)])
}

// burstDelay is the time to the next burst of tokens, which begins at the i-th.
func (c *call) burstDelay(i, burst int) time.Duration {
	var d time.Duration
	if c.spec.PerToken <= 0 {
		return 0
	}
	for n := range burst {
		d += c.tokenDelay(i + n)
	}
	return d
}
