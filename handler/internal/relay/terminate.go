package relay

import (
	"errors"
	"io"
	"time"

	"spillway/handler/internal/health"
	"spillway/handler/internal/openai/operations"
)

// What a caller is told of an answer that broke off.
const (
	interruptedMessage = "The backend's answer broke off before it was complete, and a part of it has been sent already. Please send the request again."
	interruptedCode    = "upstream_stream_interrupted"
)

var (
	errTooLarge = errors.New("relay: an event is larger than any client takes")
	errEmpty    = errors.New("relay: the stream said nothing")
)

// complete reports whether the answer is whole, however its transport ended: a
// stream that has its finish reasons and only lacks [DONE] is
// (facts/reliability.md rule 2). Where the dialect has no end of its own, a
// clean end between two events is all there is to go by.
func (s *stream) complete(err error) bool {
	if s.reader.Dialect == operations.Plain {
		return errors.Is(err, io.EOF) && len(s.buf.partial()) == 0
	}
	return !s.completedAt.IsZero()
}

// conclude ends the matter when no more will be read.
func (s *stream) conclude(err error, now time.Time) {
	s.stopped = true
	whole := s.complete(err)
	switch {
	case whole && s.report.Committed:
		s.finish(now)
	case whole:
		s.breakOff(errEmpty, now)
	case s.stopReason != nil:
		s.breakOff(s.stopReason, now)
	case s.abandoned():
		// The caller left, or this process is about to: then it is still there
		// to be told.
		s.breakOff(err, now)
		s.report.Outcome = outcome(health.Abandoned, "caller left")
	default:
		s.breakOff(err, now)
	}
}

// finish ends a complete answer. Clients wait for [DONE], so a chat stream
// that lacks it gets one.
func (s *stream) finish(now time.Time) {
	if s.reader.Dialect == operations.Chat && !s.terminated {
		s.send([]byte("data: [DONE]\n\n"), now)
	}
	s.report.Broken = s.callerLeft
}

// breakOff ends an answer that is not whole. A caller who has a part of it is
// told in the dialect of the stream, and then by the connection.
func (s *stream) breakOff(err error, now time.Time) {
	s.report.Outcome = outcome(health.Failed, breakReason(err))
	if s.report.Committed {
		s.report.Broken = true
		s.send(s.reader.FormatErrorEvent(interruptedMessage, interruptedCode), now)
	}
	s.response.Cancel(err)
}
