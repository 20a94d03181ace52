package health

import (
	"slices"
	"time"
)

// Evidence is what one instance saw of one slot lately: the failures one by one,
// so that each can be taken back. Instants are of any clock that only grows. The
// zero Evidence is none.
type Evidence struct {
	failures   []failure // oldest first
	lastFailed time.Duration
	older      int64 // attempts that were under way at the last failure, had begun before the failed one, and may be served
}

// failure is one failed attempt.
type failure struct {
	attempt    uint64
	order      uint64 // among the attempts at the slot
	began, at  time.Duration
	broke      bool // after its first content
	everywhere bool // its request failed at every backend: it counts until somebody else is served here
	reason     string
}

// MaxRunAge is how old the failures of an unbroken run may be.
const MaxRunAge = 10 * time.Minute

// maxFailures bounds the memory, far above what opens a circuit.
const maxFailures = 4096

// Fail counts a failed attempt with its outcome. older is how many attempts that began
// before it are under way, if that matters: where answers are slow and failures are
// quick, the first outcomes are failures, whatever their share is.
func (e *Evidence) Fail(t Permit, o Outcome, began, now time.Duration, older int64) {
	old, _ := slices.BinarySearchFunc(e.failures, now-MaxRunAge, func(f failure, t time.Duration) int { return int(f.at - t) })
	e.failures = append(e.failures[max(old, len(e.failures)-maxFailures+1):], failure{attempt: t.ID, order: t.Order, began: began, at: now, broke: o.Answered, reason: o.Reason})
	e.lastFailed, e.older = now, older
}

// TakeBack removes the failure of that attempt, and reports whether there was one.
func (e *Evidence) TakeBack(attempt uint64) bool {
	return e.remove(func(f failure) bool { return f.attempt == attempt })
}

func (e *Evidence) remove(takenBack func(failure) bool) bool {
	kept := len(e.failures)
	e.failures = slices.DeleteFunc(e.failures, takenBack)
	if len(e.failures) == kept {
		return false
	}
	e.lastFailed = 0
	if n := len(e.failures); n > 0 {
		e.lastFailed = e.failures[n-1].at
	}
	return true
}

// FailedEverywhere marks the failure of a request that no backend served: it is
// the request's own as soon as somebody else is served here, or was since it began.
func (e *Evidence) FailedEverywhere(attempt uint64, lastServed time.Duration) {
	for i := range e.failures {
		if f := &e.failures[i]; f.attempt == attempt {
			f.everywhere = true
			if lastServed >= f.began {
				e.TakeBack(attempt)
			}
			return
		}
	}
}

// Served takes back the failures that only their requests explain, and reports
// whether there were any.
func (e *Evidence) Served() bool {
	return e.remove(func(f failure) bool { return f.everywhere })
}

// Awaits reports whether a served request would take failures back.
func (e *Evidence) Awaits() bool {
	return slices.ContainsFunc(e.failures, func(f failure) bool { return f.everywhere })
}

// Broke reports whether the last failure is of an answer that broke off, of a later
// attempt than this one.
func (e *Evidence) Broke(ended uint64) bool {
	n := len(e.failures)
	return n > 0 && e.failures[n-1].broke && e.failures[n-1].order > ended
}

// Clear forgets all failures.
func (e *Evidence) Clear() { e.failures = nil }

// Clone returns a copy, which is independent.
func (e *Evidence) Clone() Evidence {
	c := *e
	c.failures = slices.Clone(e.failures)
	return c
}

// Since are the failures after from: their number and the instant of the first.
func (e *Evidence) Since(from time.Duration) (n int, first time.Duration) {
	for _, f := range e.failures {
		if f.at > from {
			if n == 0 {
				first = f.at
			}
			n++
		}
	}
	return n, first
}

// LastFailed is the instant of the last failure that was not taken back; 0 = there
// was none.
func (e *Evidence) LastFailed() time.Duration { return e.lastFailed }

// Successes are the attempts at a slot that were served: they complete the evidence.
type Successes struct {
	Lately      int64         // of the policy's interval
	Last        time.Duration // when the last one was answered
	LatestBegan time.Duration // when the latest one of them began
	Ended       uint64        // order of the latest one whose answer came to its end
	Breaking    bool          // since that one, answers broke off and a circuit opened
}

// Opens reports whether the evidence opens this instance's own circuit. It does when
// the failures of the interval are enough and enough of all outcomes, or when the last
// outcomes, as many as the policy's failures, all failed: requests that fall silent
// together say less than one that began after them and was served. What may be served
// counts as if it were, and then twice as many failures are enough.
func (e *Evidence) Opens(now time.Duration, s Successes, p BreakerPolicy) bool {
	enough := p.Failures
	if e.older > 0 { // half of few outcomes fail by chance
		enough *= 2
	}
	if n, _ := e.Since(now - p.Interval); n >= enough && p.shareReached(n, s.Lately+e.older) {
		return true
	}
	run, from := 0, max(s.Last, now-MaxRunAge)
	for _, f := range e.failures {
		if f.at > from && f.began >= s.LatestBegan {
			run++
		}
	}
	return run >= enough && p.shareReached(run, e.older) || e.breaks(now, s, p)
}

// breaks reports whether the answers break off: since the latest that came to its end,
// only failures are known. Answers that have begun do not end such a run, or it would
// never grow while new ones begin; but those that began after its first and have not
// ended may be served. A run that has opened the circuit goes on after a probe that
// began to answer.
func (e *Evidence) breaks(now time.Duration, s Successes, p BreakerPolicy) bool {
	run, first, last, broke := 0, uint64(0), uint64(0), false
	for _, f := range e.failures {
		if f.order > s.Ended && f.at > now-MaxRunAge {
			if run == 0 || f.order < first {
				first = f.order
			}
			run, last, broke = run+1, max(last, f.order), f.broke
		}
	}
	if !broke || s.Breaking { // the last of them
		return broke
	}
	enough, others := p.Failures, int64(last-first)+1-int64(run)
	if others > 0 {
		enough *= 2
	}
	return run >= enough && p.shareReached(run, others)
}

// Suspects reports whether the evidence is worth a suspicion: the share is
// reached, by however few failures.
func (e *Evidence) Suspects(now time.Duration, served int64, p BreakerPolicy) bool {
	n, _ := e.Since(now - p.Interval)
	return n > 0 && p.shareReached(n, served+e.older)
}

// Fresh reports whether this instance is being served: its last outcome was a
// success, no longer than within ago, and failures are below the policy's share.
func (e *Evidence) Fresh(now time.Duration, served int64, lastServed, within time.Duration, p BreakerPolicy) bool {
	if lastServed == 0 || lastServed < e.lastFailed || now-lastServed > within {
		return false
	}
	n, _ := e.Since(now - p.Interval)
	return !p.shareReached(n, served)
}

// shareReached reports whether failures are the policy's percentage of all
// outcomes. Without failures it is not.
func (p BreakerPolicy) shareReached(failures int, served int64) bool {
	return failures > 0 && int64(failures)*100 >= int64(p.Percentage)*(int64(failures)+served)
}
