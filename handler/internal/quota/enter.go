package quota

import (
	"time"

	"spillway/handler/internal/consumer"
	"spillway/handler/internal/quota/lease"
)

// Enter counts a request that begins among those of its consumer that are under way.
// Nothing is known of it yet but who sends it, and whether it is free of tokens. leave
// must be called once, when it is over. The error is an [ExceededError] when the
// consumer's concurrency allows no more, and when nothing is left of a limit over all
// models that any such request needs. It does not wait. A nil consumer is not limited.
func (l *Limiter) Enter(c *consumer.Consumer, free bool) (leave func(), err error) {
	if c == nil {
		return func() {}, nil
	}
	b := l.limitsFor(c.Name)
	if b == nil {
		return func() {}, nil
	}
	now := l.moments()
	for _, e := range b.all {
		if e.ceiling {
			continue // what is reserved of it may not be used
		}
		if e.unit == requests || e.unit == tokens && !free {
			if l.feed.NoteTraffic(); l.usedUp(e, now[e.period]) {
				return nil, l.exceeded(e, lease.Denied, 1)
			}
		}
	}
	leave, ok := b.concurrency.acquire(c.Concurrency)
	if !ok {
		return nil, &ExceededError{Limit: "concurrency", Amount: float64(c.Concurrency), Wait: time.Second, Retryable: true}
	}
	return leave, nil
}

// usedUp reports whether a limit would refuse whatever needs any of it.
func (l *Limiter) usedUp(e *limitState, m lease.Moment) bool {
	defer l.wakeAt(e, m) // an old view is read again
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.account.Exhausted(m)
}
