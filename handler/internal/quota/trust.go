package quota

import "spillway/handler/internal/quota/lease"

// trust is what requests under way on this instance may use of a limit per minute
// beyond what they reserved. An expectation can be trained to be wrong, so it is
// trusted so far that a minute comes to about twice its limit
// (docs/quotas.md#bounds).
type trust struct {
	tokens   int64
	requests int
}

// A limit of a few answers would serve one at a time if only its even part counted.
const (
	fewInstances = 5 // on so many, one request of each is always trusted
	leastTrusted = 2 // so many requests are always trusted, over more instances
	leastUnknown = 1 // … of kinds of which nothing is known yet
	leastOfSmall = 3 // … and so many on each that may use about its part of the limit at most
)

// trusting is how a request is treated that may use more than it is expected to.
type trusting uint8

const (
	trusted    trusting = iota // it reserves what is expected; endTrust must be called
	reservesIt                 // it reserves a part of what it may use, or all
	distrusted                 // it is refused: those under way may use as much already
)

// takeTrust decides about a request that may use so much more than is expected.
// What those under way may use, and what is reserved and used of the minute, come to
// twice the limit together, and to the limit and one answer while nothing is known of
// their kind; each instance has its even part. What instances have not heard of each
// other yet comes on top.
func (e *limitState) takeTrust(expected, more int64, known bool, m lease.Moment) trusting {
	e.mu.Lock()
	defer e.mu.Unlock()
	s, instances := e.account.Status(m), int64(e.account.Instances(m))
	var certain int // so many requests are trusted whatever they may use
	var fits bool
	most := s.Limit / instances
	switch {
	case !known:
		most = max(0, s.Remaining-e.account.Waiting()) / instances
		if m.Cold {
			return reservesIt // others may have started with this instance
		}
		certain, fits = e.drawn(leastUnknown, instances), e.trust.tokens+expected+more <= most
	case 3*(expected+more) <= 4*most:
		certain, most = leastOfSmall, max(most, leastOfSmall*more)
		fits = e.trust.tokens+more <= (s.Limit+s.Remaining)/instances
	default:
		certain, fits = e.drawn(leastTrusted, instances), e.trust.tokens+more <= (s.Limit+s.Remaining)/instances
		if instances <= fewInstances {
			certain = max(certain, 1)
		}
	}
	switch {
	case e.trust.requests < certain, fits:
		e.trust.tokens += more
		e.trust.requests++
		return trusted
	case e.trust.tokens > most:
		return distrusted
	}
	return reservesIt
}

// drawn is this instance's part of so many requests of the fleet: by its random number,
// where there are fewer requests than instances.
func (e *limitState) drawn(requests float64, instances int64) int {
	return int(requests/float64(instances) + e.account.Jitter*min(1, float64(instances-1)))
}

// part is how much is reserved for a request that may use so much and is not trusted:
// three quarters, so that what may be used stays below twice the limit, or a quarter of
// a limit that is smaller than that. While nothing is known it is all.
func (l limit) part(mayUse int64, known bool) int64 {
	if !known {
		return min(mayUse, l.amount)
	}
	return min(mayUse*3/4, l.amount/4)
}

// endTrust ends what takeTrust counted.
func (e *limitState) endTrust(more int64) {
	if more > 0 {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.trust.tokens -= more
		e.trust.requests--
	}
}
