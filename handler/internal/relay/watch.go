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

// far is when the timer wakes though nothing is due.
const far = time.Hour

// begin starts the timer.
func (s *stream) begin(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.armed = now.Add(far)
	s.timer = time.AfterFunc(far, s.tick)
	s.arm(now)
}

// arm makes sure that the timer wakes for what is due next. It need not be
// called for every event: what runs against silence only moves away, and a
// timer that wakes early finds nothing due and arms itself again.
func (s *stream) arm(now time.Time) {
	due := now.Add(far)
	due = sooner(due, s.heard, s.idle())
	if !s.finished.IsZero() {
		due = sooner(due, s.heard, s.linger())
	}
	if s.delivery.Committed {
		due = sooner(due, s.spoke, s.Heartbeat)
	} else {
		due = sooner(due, s.heldSince, s.CommitAfter)
		due = sooner(due, s.answer.Began, s.firstToken())
	}
	if due.Before(s.armed) {
		s.armed = due
		s.timer.Reset(due.Sub(now))
	}
}

// sooner is the earlier of next and the end of a limit that runs since an
// instant. A limit of zero never ends; one whose instant is zero has not begun.
func sooner(next, since time.Time, limit time.Duration) time.Time {
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
		s.stuck(now)
		s.timer.Reset(stallCheck)
		return
	}
	defer s.mu.Unlock()
	if s.over || s.why != nil {
		return
	}
	s.act(now)
	s.armed = now.Add(far + 1)
	s.timer.Reset(far)
	s.arm(now)
}

// act does what is due.
func (s *stream) act(now time.Time) {
	ran := func(since time.Time, limit time.Duration) bool {
		return limit > 0 && !since.IsZero() && !now.Before(since.Add(limit))
	}
	switch committed := s.delivery.Committed; {
	case !s.finished.IsZero() && ran(s.heard, s.linger()):
		s.quit(errLinger)
	case ran(s.heard, s.idle()):
		s.quit(errIdle)
	case !committed && ran(s.answer.Began, s.firstToken()):
		s.quit(errFirstToken)
	case !committed && ran(s.heldSince, s.CommitAfter):
		s.open()
		s.forward(now)
	case committed && ran(s.spoke, s.Heartbeat):
		s.send([]byte(heartbeat), now)
		s.spoke = now
	}
}

// quit gives the answer up. The reader is let know by the end of its read.
func (s *stream) quit(why error) {
	s.why = why
	s.answer.Cancel(why)
}

// firstToken is the limit for the first meaningful event.
func (s *stream) firstToken() time.Duration {
	if story := s.answer.Story; story != nil && story.Pool != nil {
		return cmp.Or(story.Pool.FirstToken, s.FirstToken)
	}
	return s.FirstToken
}
