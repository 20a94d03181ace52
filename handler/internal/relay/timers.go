package relay

import "time"

// heartbeat is an SSE comment, which every SDK skips. A blank line behind it would be
// an event without data to some.
const heartbeat = ": keep-alive\n"

// stallCheck is how often a write under way is checked for a stalled caller.
const stallCheck = time.Second

// thinkLimit is how long after the beginning of its reasoning a backend may still refuse
// the request, so that another one serves: limits and faults of the service show at
// once, while a model may think for minutes.
const thinkLimit = time.Second

// noDeadline is what the timer is set to while nothing is due.
const noDeadline = time.Hour

func (s *stream) startTimer(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wakesAt = now.Add(noDeadline)
	s.timer = time.AfterFunc(noDeadline, s.tick)
	s.arm(now)
}

// arm sets the timer to what is due next. It is not needed after every event: the
// limits of silence only move away, and a timer that fires early sets itself
// again.
func (s *stream) arm(now time.Time) {
	due := now.Add(noDeadline)
	due = earlier(due, s.lastRead, s.idle())
	if !s.completedAt.IsZero() {
		due = earlier(due, s.lastRead, s.closeLimit())
	}
	if !s.report.Committed {
		due = earlier(due, s.thinksSince, thinkLimit)
	}
	switch {
	case s.callerLeft:
	case s.report.Committed:
		due = earlier(due, s.lastWrite, s.Heartbeat)
	case !s.startDue:
		due = earlier(due, s.heldSince, s.CommitAfter)
	}
	if due.Before(s.wakesAt) {
		s.wakesAt = due
		s.timer.Reset(due.Sub(now))
	}
}

// earlier is the earlier of next and the end of a limit that began at since. A
// limit of zero never ends; one with a zero since has not begun.
func earlier(next, since time.Time, limit time.Duration) time.Time {
	if limit > 0 && !since.IsZero() && since.Add(limit).Before(next) {
		return since.Add(limit)
	}
	return next
}

// tick handles what is due. During a write to the caller, that can only be the end
// of a stalled caller.
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

func (s *stream) fireDue(now time.Time) {
	elapsed := func(since time.Time, limit time.Duration) bool {
		return limit > 0 && !since.IsZero() && !now.Before(since.Add(limit))
	}
	switch committed := s.report.Committed; {
	case !s.completedAt.IsZero() && elapsed(s.lastRead, s.closeLimit()):
		s.giveUp(errLinger)
	case elapsed(s.lastRead, s.idle()):
		s.giveUp(errIdle)
	case !committed && elapsed(s.thinksSince, thinkLimit):
		s.markFirstToken(now)
		s.forward(now)
	case !committed && !s.startDue && elapsed(s.heldSince, s.CommitAfter):
		s.startEarly()
	case committed && !s.callerLeft && elapsed(s.lastWrite, s.Heartbeat):
		s.send([]byte(heartbeat), now)
		s.lastWrite = now
	}
}

// closeLimit is how long a complete stream may stay open: less when its caller has
// left, and longer for the usage chunk that it asked for.
func (s *stream) closeLimit() time.Duration {
	switch {
	case s.callerLeft:
		return min(s.usageLimit(), s.linger())
	case s.awaitsUsage && !s.stripUsage:
		return s.idle()
	}
	return s.linger()
}

// giveUp cancels the attempt, which ends the read under way.
func (s *stream) giveUp(why error) {
	s.stopReason = why
	s.response.Cancel(why)
}
