package relay

import (
	"sync"
	"time"

	"spillway/handler/internal/health"
	"spillway/handler/internal/openai/classify"
	"spillway/handler/internal/openai/operations"
	"spillway/handler/internal/openai/sse"
	"spillway/handler/internal/proxy"
)

// stream is an answer of events on its way. Its own goroutine reads; the timer
// steps in while that waits. Both hold mu for whatever they do but read.
type stream struct {
	carriage
	reader  classify.Stream
	strip   bool // the caller did not ask for the usage chunk
	choices int  // finish reasons still to come

	mu    sync.Mutex
	timer *time.Timer
	armed time.Time // when the timer wakes
	news  bool      // something began that the timer does not know
	buf   buffer

	heard     time.Time // when the backend last sent anything
	spoke     time.Time // when the caller was last sent anything
	heldSince time.Time // when the first event came
	finished  time.Time // when all finish reasons, or the dialect's own end, had come
	ended     bool      // the dialect's own end was seen
	over      bool      // nothing more will be read or sent
	why       error     // why we gave the answer up
}

// carry takes the answer to its end.
func (s *stream) carry() proxy.Delivery {
	now := time.Now()
	s.heard, s.choices = now, int(max(s.request.Facts.Choices, 1))
	s.reader = classify.Stream{Dialect: s.request.Operation.Dialect, Header: s.answer.Response.Header, Policy: s.policy()}
	s.strip = !s.request.Facts.IncludeUsage
	s.delivery.Outcome = says(health.Served, "")
	s.buf.open(&s.streams)
	defer s.buf.close(&s.streams)
	s.begin(now)
	defer s.timer.Stop()
	for more := true; more; {
		n, err := s.answer.Response.Body.Read(s.buf.room())
		more = s.took(n, err)
	}
	s.learned(&s.reader.Answer)
	if len(s.reader.Answer.Items) > 0 {
		s.tell()
	}
	return s.delivery
}

// took handles what a read brought, and reports whether to read on.
func (s *stream) took(n int, err error) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if n > 0 {
		s.heard = now
		s.buf.filled(n)
		s.events(now)
		s.forward(now)
	}
	switch {
	case s.over:
	case err != nil || s.gone:
		s.conclude(err, now)
	case !s.buf.compact():
		s.conclude(errTooLarge, now)
	case s.news:
		s.news = false
		s.arm(now)
	}
	return !s.over
}

// events handles every event that is complete.
func (s *stream) events(now time.Time) {
	for !s.over {
		event := s.buf.next()
		if event == nil {
			return
		}
		s.event(event, now)
	}
}

// event handles one event: it is held, or lets the held ones go, or ends the
// matter.
func (s *stream) event(event []byte, now time.Time) {
	r := s.reader.Read(event, now)
	switch {
	case r.Meaning == classify.Refusal:
		s.refuse(event, &r.Outcome, now)
		return
	case r.UsageOnly && s.strip:
		s.buf.drop(len(event))
		return
	case s.heldSince.IsZero():
		s.heldSince, s.news = now, true
	}
	s.choices -= r.Finished
	s.ended = s.ended || r.Meaning == classify.Done
	if s.finished.IsZero() && (s.ended || s.choices <= 0 && s.reader.Complete()) {
		s.finished, s.news = now, true
	}
	if r.Meaning == classify.Meaningful || r.Meaning == classify.Done && s.reader.Dialect == operations.Responses {
		s.first(now)
	}
}

// first notes the first meaningful event, for which the answer is committed.
func (s *stream) first(now time.Time) {
	if s.delivery.FirstToken.IsZero() {
		s.delivery.FirstToken = now
		s.open()
	}
}

// open commits the answer unless it is already.
func (s *stream) open() {
	if s.delivery.Committed {
		return
	}
	s.over, s.news = !s.commit(-1), true
	s.learned(&s.reader.Answer)
	s.tell()
}

// forward sends the held events of a committed answer.
func (s *stream) forward(now time.Time) {
	if held := s.buf.held(); s.delivery.Committed && len(held) > 0 {
		s.send(held, now)
		s.buf.forwarded()
		s.spoke = now
	}
}

// refuse handles an error event. Ahead of the commit it is the attempt's
// outcome. Behind it, or when it is the caller's own business, the caller gets
// it, and then a connection that breaks off: the one end that all clients take
// for an error (facts/reliability.md rule 1). A failed response is an end of
// its dialect and needs no such help.
func (s *stream) refuse(event []byte, o *health.Outcome, now time.Time) {
	s.delivery.Outcome = *o
	if !s.delivery.Committed && o.Verdict != health.Served {
		s.over = true
		s.answer.Cancel(errRefused)
		return
	}
	s.open()
	if string(sse.Parse(event).Name) == "response.failed" {
		s.ended, s.finished, s.news = true, now, true
		return
	}
	s.forward(now)
	s.over, s.delivery.Broken = true, s.delivery.Committed
	s.answer.Cancel(errRefused)
}
