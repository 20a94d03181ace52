package health

import (
	"cmp"
	"slices"
)

// MaxSuspects bounds the list: beyond it the oldest suspicions are forgotten.
const MaxSuspects = 64

// Suspect is a batch of failures that one instance saw, published because the
// sum over the fleet may trip a circuit that no single instance would. Who and
// At identify it, so that publishing it twice counts once.
type Suspect struct {
	Who      string // the accuser, short
	At       int64  // its newest failure
	Failures int
}

func (s Suspect) compare(t Suspect) int {
	return cmp.Or(cmp.Compare(s.At, t.At), cmp.Compare(s.Who, t.Who))
}

// union is all that either says, in order of time, at most MaxSuspects.
func union(a, b []Suspect) []Suspect {
	if len(a) == 0 && len(b) == 0 {
		return nil
	}
	all := slices.Concat(a, b)
	// Of two batches with one name the larger stands; it comes last.
	slices.SortFunc(all, func(s, t Suspect) int { return cmp.Or(s.compare(t), cmp.Compare(t.Failures, s.Failures)) })
	all = slices.CompactFunc(all, func(s, t Suspect) bool { return s.compare(t) == 0 })
	return all[max(0, len(all)-MaxSuspects):]
}

// Accuse adds a batch, and forgets what has left the window.
func (c Circuit) Accuse(s Suspect, now Span, p BreakerPolicy) Circuit {
	fresh := slices.DeleteFunc(slices.Clone(c.Suspects), func(o Suspect) bool { return o.At <= now.Lo-p.Interval.Milliseconds() })
	c.Suspects = union(fresh, []Suspect{s})
	return c
}

// Accused reports whether the batch is on the list already.
func (c Circuit) Accused(s Suspect) bool {
	return slices.ContainsFunc(c.Suspects, func(o Suspect) bool { return o.compare(s) == 0 && o.Failures >= s.Failures })
}

// voice is what one accuser says in the window.
type voice struct {
	who      string
	failures int
	first    int64
}

// voices sums the window's suspicions by accuser, in order of their first.
func (c Circuit) voices(now Span, p BreakerPolicy) []voice {
	var all []voice
	for _, s := range c.Suspects {
		if s.At <= now.Lo-p.Interval.Milliseconds() {
			continue
		}
		i := slices.IndexFunc(all, func(v voice) bool { return v.who == s.Who })
		if i < 0 {
			all = append(all, voice{who: s.Who, first: s.At})
			i = len(all) - 1
		}
		all[i].failures += s.Failures
	}
	return all
}

// Guilty reports whether the suspicions add up to a trip.
//
// One accuser weighs at most half of what a trip takes, rounded up: an instance
// whose own network is broken sees every backend fail, and must not take them
// from the others. What it says alone is believed only when it has said enough
// for a trip and no instance that was served meanwhile contradicted it within
// the Hearing; until then its own overlay protects its own callers.
func (c Circuit) Guilty(now Span, p BreakerPolicy) bool {
	sum := 0
	for _, v := range c.voices(now, p) {
		sum += min(v.failures, (p.Failures+1)/2)
		if v.failures >= p.Failures && now.Lo >= v.first+p.Hearing.Milliseconds() && c.Dissent < v.first {
			return true
		}
	}
	return sum >= p.Failures
}

// Accuses reports whether who has failures on the list, within the window.
func (c Circuit) Accuses(who string, now Span, p BreakerPolicy) int {
	for _, v := range c.voices(now, p) {
		if v.who == who {
			return v.failures
		}
	}
	return 0
}

// Uncontradicted is the instant of the first accusation that nobody who was
// served since has contradicted; false when there is none.
func (c Circuit) Uncontradicted(now Span, p BreakerPolicy) (int64, bool) {
	for _, v := range c.voices(now, p) {
		if c.Dissent < v.first {
			return v.first, true
		}
	}
	return 0, false
}

// Contradict notes that an instance was served at that instant.
func (c Circuit) Contradict(served int64) Circuit {
	c.Dissent = max(c.Dissent, served)
	return c
}
