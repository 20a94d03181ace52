package relay

import (
	"errors"
	"io"
	"time"

	"spillway/handler/internal/health"
	"spillway/handler/internal/openai/operations"
	"spillway/handler/internal/overload"
)

// The error events of streams that broke off.
const (
	interruptedMessage = "The backend's answer broke off before it was complete, and a part of it has been sent already. Please send the request again."
	interruptedCode    = "upstream_stream_interrupted"
	overloadedMessage  = "Too many or too large requests are under way here for the rest of this answer. Please send the request again."
	overloadedCode     = "overloaded"
)

// ends are the last events of the dialects that a stream may lack.
var ends = map[operations.Dialect]string{
	operations.Chat:     "data: [DONE]\n\n",
	operations.Messages: "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
}

var (
	errTooLarge = errors.New("relay: an event is larger than any client accepts")
	errEmpty    = errors.New("relay: the stream has no meaningful event")
)

// complete reports whether the answer is complete, however its transport ended:
// a stream that has its finish reasons and only lacks [DONE] is. Events without a
// dialect are complete, too, when the transport ends between two of them, unless an
// image or a sound has begun that lacks its end.
func (s *stream) complete(err error) bool {
	if !s.completedAt.IsZero() {
		return true
	}
	return s.reader.Dialect == operations.Plain && errors.Is(err, io.EOF) && len(s.buf.partial()) == 0 && !s.reader.HasEnd()
}

// conclude ends the stream when nothing more will be read.
func (s *stream) conclude(err error, now time.Time) {
	s.stopped = true
	complete := s.complete(err)
	switch {
	case complete && s.report.Committed:
		s.finish(now)
	case complete:
		s.breakOff(errEmpty, now)
	case s.stopReason != nil:
		s.breakOff(s.stopReason, now)
	case errors.Is(err, overload.ErrOverloaded):
		s.giveUpMemory(now)
	case s.abandoned():
		// When the process stops, the caller is still connected and gets the
		// error event.
		s.breakOff(err, now)
		s.abandon()
	default:
		s.breakOff(err, now)
	}
}

// finish ends a complete stream. Clients wait for the end of the dialect, so a
// stream that lacks it gets one.
func (s *stream) finish(now time.Time) {
	if !s.terminated {
		s.send([]byte(ends[s.reader.Dialect]), now)
	}
	s.report.Broken, s.report.CallerLeft = s.callerLeft, s.callerLeft
}

// giveUpMemory ends a stream whose next event there is no memory for.
func (s *stream) giveUpMemory(now time.Time) {
	if s.report.Committed {
		s.report.Broken = true
		s.send(s.reader.FormatErrorEvent(overloadedMessage, overloadedCode), now)
	}
	s.overloaded()
}

// breakOff ends an incomplete stream. A caller that has a part of it gets an
// error event in the dialect of the stream.
func (s *stream) breakOff(err error, now time.Time) {
	s.report.Outcome = outcome(health.Failed, breakReason(err))
	if s.report.Committed {
		s.report.Broken = true
		s.send(s.reader.FormatErrorEvent(interruptedMessage, interruptedCode), now)
	}
	s.response.Cancel(err)
}
