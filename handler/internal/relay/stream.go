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
	delivery
	reader      classify.Stream
	stripUsage  bool // the caller did not ask for the usage chunk
	choicesLeft int  // finish reasons still to come

	mu      sync.Mutex
	timer   *time.Timer
	wakesAt time.Time // when the timer wakes
	rearm   bool      // something began that the timer does not know
	buf     buffer

	lastRead    time.Time // when the backend last sent anything
	lastWrite   time.Time // when the caller was last sent anything
	heldSince   time.Time // when the first event came
	completedAt time.Time // when all finish reasons, or the dialect's own end, had come
	terminated  bool      // the dialect's own end was seen
	stopped     bool      // nothing more will be read or sent
	stopReason  error     // why we gave the answer up
}

// run takes the answer to its end.
func (s *stream) run() proxy.Delivery {
	now := time.Now()
	s.lastRead, s.choicesLeft = now, int(max(s.request.Parsed.Choices, 1))
	s.reader = classify.Stream{Dialect: s.request.Operation.Dialect, Header: s.response.Response.Header, Policy: s.policy()}
	s.stripUsage = !s.request.Parsed.IncludeUsage
	s.report.Outcome = outcome(health.Served, "")
	s.buf.open(&s.streams)
	defer s.buf.close(&s.streams)
	s.startTimer(now)
	defer s.timer.Stop()
	for more := true; more; {
		n, err := s.response.Response.Body.Read(s.buf.free())
		more = s.handleRead(n, err)
	}
	s.recordAnswer(&s.reader.Info)
	if len(s.reader.Info.ItemIDs) > 0 {
		s.reportIDs()
	}
	return s.report
}

// handleRead handles what a read brought, and reports whether to read on.
func (s *stream) handleRead(n int, err error) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if n > 0 {
		s.lastRead = now
		s.buf.advance(n)
		s.handleEvents(now)
		s.forward(now)
	}
	switch {
	case s.stopped:
	case err != nil || s.callerLeft:
		s.conclude(err, now)
	case !s.buf.compact():
		s.conclude(errTooLarge, now)
	case s.rearm:
		s.rearm = false
		s.arm(now)
	}
	return !s.stopped
}

// handleEvents handles every event that is complete.
func (s *stream) handleEvents(now time.Time) {
	for !s.stopped {
		event := s.buf.next()
		if event == nil {
			return
		}
		s.handleEvent(event, now)
	}
}

// handleEvent handles one handleEvent: it is held, or lets the held ones go, or ends the
// matter.
func (s *stream) handleEvent(event []byte, now time.Time) {
	r := s.reader.Read(event, now)
	switch {
	case r.Kind == classify.ErrorEvent:
		s.handleError(event, &r.Outcome, now)
		return
	case r.UsageOnly && s.stripUsage:
		s.buf.drop(len(event))
		return
	case s.heldSince.IsZero():
		s.heldSince, s.rearm = now, true
	}
	s.choicesLeft -= r.FinishedChoices
	s.terminated = s.terminated || r.Kind == classify.Done
	if s.completedAt.IsZero() && (s.terminated || s.choicesLeft <= 0 && s.reader.Complete()) {
		s.completedAt, s.rearm = now, true
	}
	if r.Kind == classify.Content || r.Kind == classify.Done && s.reader.Dialect == operations.Responses {
		s.markFirstToken(now)
	}
}

// markFirstToken notes the markFirstToken meaningful event, for which the answer is committed.
func (s *stream) markFirstToken(now time.Time) {
	if s.report.FirstToken.IsZero() {
		s.report.FirstToken = now
		s.ensureCommitted()
	}
}

// ensureCommitted commits the answer unless it is already.
func (s *stream) ensureCommitted() {
	if s.report.Committed {
		return
	}
	s.stopped, s.rearm = !s.commit(-1), true
	s.recordAnswer(&s.reader.Info)
	s.reportIDs()
}

// forward sends the held events of a committed answer.
func (s *stream) forward(now time.Time) {
	if held := s.buf.held(); s.report.Committed && len(held) > 0 {
		s.send(held, now)
		s.buf.forwarded()
		s.lastWrite = now
	}
}

// handleError handles an error event. Ahead of the commit it is the attempt's
// outcome. Behind it, or when it is the caller's own business, the caller gets
// it, and then a connection that breaks off: the one end that all clients take
// for an error (facts/reliability.md rule 1). A failed response is an end of
// its dialect and needs no such help.
func (s *stream) handleError(event []byte, o *health.Outcome, now time.Time) {
	s.report.Outcome = *o
	if !s.report.Committed && o.Class != health.Served {
		s.stopped = true
		s.response.Cancel(errRefused)
		return
	}
	s.ensureCommitted()
	if string(sse.Parse(event).Name) == "response.failed" {
		s.terminated, s.completedAt, s.rearm = true, now, true
		return
	}
	s.forward(now)
	s.stopped, s.report.Broken = true, s.report.Committed
	s.response.Cancel(errRefused)
}
