package relay

import (
	"bytes"
	"strings"
	"sync"
	"time"

	"spillway/handler/internal/health"
	"spillway/handler/internal/openai/classify"
	"spillway/handler/internal/openai/operations"
	"spillway/handler/internal/openai/sse"
	"spillway/handler/internal/proxy"
)

// stream is a response of server-sent events being delivered. Its own goroutine
// reads; the timer acts while that waits. Both hold mu for everything but reads.
type stream struct {
	writer
	reader      classify.Stream
	stripUsage  bool // the caller did not ask for the usage chunk
	choicesLeft int  // choices without a finish reason

	mu      sync.Mutex
	timer   *time.Timer
	wakesAt time.Time // when the timer fires
	rearm   bool      // a limit has begun that the timer is not set for
	buf     buffer

	lastRead    time.Time // from the backend
	lastWrite   time.Time // to the caller
	heldSince   time.Time // when the first event came
	thinksSince time.Time // when reasoning began that holds nothing
	completedAt time.Time // when all finish reasons, or the end of the dialect, had come
	terminated  bool      // the end of the dialect was seen
	startDue    bool      // the status line was due ahead of the content, and sent
	stopped     bool      // nothing more will be read or sent
	stopReason  error     // why the relay ended it
}

// run delivers the stream to its end.
func (s *stream) run() proxy.Delivery {
	now := time.Now()
	s.lastRead, s.choicesLeft = now, int(max(s.request.Parsed.Returned, 1))
	s.reader = classify.Stream{Dialect: s.request.Operation.Dialect, Header: s.response.Response.Header, Policy: s.policy()}
	s.stripUsage = !s.request.Parsed.IncludeUsage
	s.report.Outcome = outcome(health.Served, "")
	s.buf.memory = s.request.Memory
	s.buf.open(&s.streams)
	defer s.buf.close(&s.streams)
	s.startTimer(now)
	defer s.timer.Stop()
	for more := true; more; {
		n, err := s.response.Response.Body.Read(s.buf.free())
		more = s.handleRead(n, err)
	}
	s.recordAnswer(&s.reader.Info)
	return s.report
}

// handleRead handles the result of a read, and reports whether to read on.
func (s *stream) handleRead(n int, err error) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if n > 0 {
		s.lastRead = now
		s.buf.advance(n)
		s.handleEvents(now)
		s.forward(now)
		s.reportProgress()
		s.rearm = s.rearm || s.callerLeft && s.awaitsUsage
	}
	if err == nil && !s.stopped {
		err = s.buf.compact()
	}
	switch {
	case s.stopped:
	case err != nil || s.callerLeft && !s.awaitsUsage:
		s.conclude(err, now)
	case s.rearm:
		s.rearm = false
		s.arm(now)
	}
	return !s.stopped
}

// handleEvents handles every complete event.
func (s *stream) handleEvents(now time.Time) {
	for !s.stopped {
		event := s.buf.next()
		if event == nil {
			return
		}
		s.handleEvent(event, now)
	}
}

// handleEvent handles one event: it is held back, commits the response, or ends
// the stream.
func (s *stream) handleEvent(event []byte, now time.Time) {
	r := s.reader.Read(event, now)
	switch {
	case r.Kind == classify.ErrorEvent:
		s.handleError(event, &r, now)
		return
	case r.UsageOnly && s.stripUsage:
		s.awaitsUsage = false
		s.buf.drop(len(event))
		return
	case s.heldSince.IsZero():
		s.heldSince, s.rearm = now, true
	}
	if r.Thinks && s.thinksSince.IsZero() {
		s.thinksSince, s.rearm = now, true
	}
	if s.namesObjects(event) {
		s.reportCreated(sse.Parse(event).Data)
	}
	s.choicesLeft -= r.FinishedChoices
	s.terminated = s.terminated || r.Kind == classify.Done
	if s.completedAt.IsZero() && (s.terminated || s.choicesLeft <= 0 && s.reader.Complete()) {
		s.completedAt, s.rearm = now, true
	}
	s.awaitUsage()
	if r.Kind == classify.Content || r.Kind == classify.Done && (s.reader.Dialect == operations.Responses || s.reader.Dialect == operations.Messages) {
		s.markFirstToken(now)
	}
}

// startEarly sends the status line ahead of the content. The events stay held, so
// that another backend can still serve.
func (s *stream) startEarly() {
	s.startDue = true
	s.start(s.response.Hooks.MayStart)
}

// awaitUsage decides, after each event, whether the stream is read on although the
// caller leaves: what was delivered is paid for, and the usage that follows the
// finish reason is exact. Before it, a cancelled attempt costs less than it would
// tell.
func (s *stream) awaitUsage() {
	was := s.awaitsUsage
	s.awaitsUsage = !s.completedAt.IsZero() && !s.terminated && !s.reader.Info.HasUsage && s.reader.Dialect == operations.Chat
	if s.awaitsUsage && !was && s.response.Hooks.Finished != nil {
		s.response.Hooks.Finished()
	}
}

func (s *stream) reportProgress() {
	if s.response.Hooks.Progress != nil && s.report.Committed {
		s.response.Hooks.Progress(s.reader.Info.TextBytes)
	}
}

// markFirstToken records the first meaningful event, and commits the response.
func (s *stream) markFirstToken(now time.Time) {
	if s.report.FirstToken.IsZero() {
		s.report.FirstToken = now
		s.ensureCommitted()
	}
}

func (s *stream) ensureCommitted() {
	if s.report.Committed {
		return
	}
	s.stopped, s.rearm = !s.commit(-1), true
	s.recordAnswer(&s.reader.Info)
}

// forward sends the held events of a committed response.
func (s *stream) forward(now time.Time) {
	if held := s.buf.held(); s.report.Committed && len(held) > 0 {
		s.send(held, now)
		s.buf.forwarded()
		s.lastWrite = now
	}
}

// handleError handles an error event. Before any content it is the outcome of the
// attempt, and the status that it means. After it the caller gets the event and then
// an aborted connection: the one end that all clients report as an
// error (docs/azure-openai.md#what-clients-tolerate); behind an event that is no error to
// them, one that is. A failed response ends its dialect, so its stream ends normally.
func (s *stream) handleError(event []byte, r *classify.EventResult, now time.Time) {
	if !s.report.Committed {
		s.stopped = true
		s.refuseError(&r.Outcome, sse.Parse(event).Data)
		return
	}
	s.report.Outcome = r.Outcome
	if string(sse.Parse(event).Name) == "response.failed" {
		s.terminated, s.completedAt, s.rearm = true, now, true
		return
	}
	s.forward(now)
	if r.Unnoticed {
		s.send(s.reader.FormatErrorEvent(interruptedMessage, interruptedCode), now)
	}
	s.stopped, s.report.Broken = true, true
	s.response.Cancel(errRefused)
}

// namesObjects reports whether an event may name objects that the service made:
// of a chat the first one, and those with sound; of a response those that begin
// or end it or one of its parts.
func (s *stream) namesObjects(event []byte) bool {
	switch {
	case s.response.Hooks.Created == nil:
		return false
	case s.reader.Dialect == operations.Messages:
		return classify.NamesCode(event) || s.request.Parsed.KeepsMessage && bytes.Contains(event, []byte(`"message_start"`))
	case s.reader.Dialect == operations.Chat:
		return s.created == nil || bytes.Contains(event, []byte(`"audio"`))
	}
	name := string(sse.Parse(event).Name)
	return !strings.HasSuffix(name, ".delta")
}
