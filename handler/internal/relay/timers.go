package relay

import (
	"cmp"
	"time"
)

// heartbeat is an SSE comment; every SDK passes over it
// (facts/azure-openai.md §5.1).
const heartbeat = ": keep-alive\n\n"

// stallCheck is how often a caller that takes nothing is looked at.
const stallCheck = time.Second

// noDeadline is when the timer wakes though nothing is due.
const noDeadline = time.Hour

// startTimer starts the timer.
func (s *stream) startTimer(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wakesAt = now.Add(noDeadline)
	s.timer = time.AfterFunc(noDeadline, s.tick)
	s.arm(now)
}

// arm makes sure that the timer wakes for what is due next. It need not be
// called for every event: what runs against silence only moves away, and a
// timer that wakes early finds nothing due and arms itself again.
func (s *stream) arm(now time.Time) {
	due := now.Add(noDeadline)
	due = earlier(due, s.lastRead, s.idle())
	if !s.completedAt.IsZero() {
		due = earlier(due, s.lastRead, s.linger())
	}
	if s.report.Committed {
		due = earlier(due, s.lastWrite, s.Heartbeat)
	} else {
		due = earlier(due, s.heldSince, s.CommitAfter)
		due = earlier(due, s.response.Began, s.firstTokenLimit())
	}
	if due.Before(s.wakesAt) {
		s.wakesAt = due
		s.timer.Reset(due.Sub(now))
	}
}

// earlier is the earlier of next and the end of a limit that runs since an
// instant. A limit of zero never ends; one whose instant is zero has not begun.
func earlier(next, since time.Time, limit time.Duration) time.Time {
	if limit > 0 && !since.IsZero() && since.Add(limit).Before(next) {
		return since.Add(limit)
	}
	return next
}

// tick steps in when something is due. While an event is on its way to the
// caller all that can be due is the end of a caller that does not take it.
func (s *stream) tick() {
	now := time.Now()
	if !s.mu.TryLock() {
		s.cutStalledCaller(now)
		s.timer.Reset(stallCheck)
		return
	}
	defer s.mu.Unlock()
	if s.stopped || s.stopReason != nil {
		return
	}
	s.fireDue(now)
	s.wakesAt = now.Add(noDeadline + 1)
	s.timer.Reset(noDeadline)
	s.arm(now)
}

// fireDue does what is due.
func (s *stream) fireDue(now time.Time) {
	ran := func(since time.Time, limit time.Duration) bool {
		return limit > 0 && !since.IsZero() && !now.Before(since.Add(limit))
	}
	switch committed := s.report.Committed; {
	case !s.completedAt.IsZero() && ran(s.lastRead, s.linger()):
		s.giveUp(errLinger)
	case ran(s.lastRead, s.idle()):
		s.giveUp(errIdle)
	case !committed && ran(s.response.Began, s.firstTokenLimit()):
		s.giveUp(errFirstToken)
	case !committed && ran(s.heldSince, s.CommitAfter):
		s.ensureCommitted()
		s.forward(now)
	case committed && ran(s.lastWrite, s.Heartbeat):
		s.send([]byte(heartbeat), now)
		s.lastWrite = now
	}
}

// giveUp gives the answer up. The reader is let know by the end of its read.
func (s *stream) giveUp(why error) {
	s.stopReason = why
	s.response.Cancel(why)
}

// firstTokenLimit is the limit for the first meaningful event.
func (s *stream) firstTokenLimit() time.Duration {
	if story := s.response.Result; story != nil && story.Pool != nil {
		return cmp.Or(story.Pool.FirstToken, s.FirstToken)
	}
	return s.FirstToken
}
