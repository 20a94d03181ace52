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
	leastTrusted = 2 // so many requests are always trusted, over all instances
	leastOfSmall = 3 // … and so many on each that may use about its part of the limit at most
)

// trusting is how a request is treated that may use more than it is expected to.
type trusting uint8

const (
	trusted    trusting = iota // it reserves what is expected; endTrust must be called
	reservesIt                 // it reserves what it may use
	distrusted                 // it is refused: those under way may use as much already
)

// takeTrust decides about a request that may use so much more than is expected.
// What those under way may use, and what is reserved and used of the minute, come to
// twice the limit together; each instance has its even part. What instances have not
// heard of each other yet comes on top.
func (e *limitState) takeTrust(expected, more int64, m lease.Moment) trusting {
	e.mu.Lock()
	defer e.mu.Unlock()
	s, instances := e.account.Status(m), int64(e.account.Instances(m))
	least := int(leastTrusted/float64(instances) + e.account.Jitter*min(1, float64(instances-1)))
	most := s.Limit / instances
	if 3*(expected+more) <= 4*most {
		least, most = leastOfSmall, max(most, leastOfSmall*more)
	}
	switch {
	case e.trust.requests < least, e.trust.tokens+more <= (s.Limit+s.Remaining)/instances:
		e.trust.tokens += more
		e.trust.requests++
		return trusted
	case e.trust.tokens > most:
		return distrusted
	}
	return reservesIt
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
