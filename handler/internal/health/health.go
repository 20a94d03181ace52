// Package health is what is known of the backends, and how one attempt's
// outcome changes it.
package health

import (
	"time"
)

// Slot numbers one backend × model, densely from 0 in the order of the pool
// document, so that a look at its health is an index, not a lookup.
type Slot int

// Health is what this instance believes of one backend × model. Instants are
// in this process's clock. The zero Health is healthy.
type Health struct {
	State    CircuitState
	Until    time.Time // Open: earliest probe; HalfOpen: end of the probe's lease
	Probe    bool      // HalfOpen, and this instance holds the one probe of the fleet, unused
	Share    uint8     // percent of its normal traffic while it recovers or is nearly full; 0 = all of it
	Throttle Throttle
	Drained  bool   // an operator's word: no new requests
	Reason   string // what last changed it, for people: "503", "429 tokens", "operator"
}

// SkipReason is why a backend would not be offered a request. "" is no refusal.
type SkipReason string

// The refusals, as the log, the explain header and the status page print them.
const (
	NotSkipped    SkipReason = ""
	SkipDrained   SkipReason = "drained"
	SkipOpen      SkipReason = "breaker open"
	SkipProbing   SkipReason = "half-open, probe taken"
	SkipThrottled SkipReason = "throttled"
)

// SkipReason says why a request of about this many tokens should not be sent at
// now, or Admitted.
func (h *Health) SkipReason(now time.Time, tokens int64) SkipReason {
	switch {
	case h.Drained:
		return SkipDrained
	case h.State == Open:
		return SkipOpen
	case h.State == HalfOpen && !h.Probe:
		return SkipProbing
	case h.Throttle.Blocks(now, tokens):
		return SkipThrottled
	}
	return NotSkipped
}

// AvailableAt is the instant at which a refusing backend may be worth another
// look; zero when nothing but an operator can tell.
func (h *Health) AvailableAt() time.Time {
	if h.Drained {
		return time.Time{}
	}
	if h.State != Closed && h.Until.After(h.Throttle.Until) {
		return h.Until
	}
	return h.Throttle.Until
}

// Snapshot is the health of every slot at one moment. It is immutable: readers
// share it without a lock.
type Snapshot struct {
	Version uint64 // grows with every change that this instance adopted
	Taken   time.Time
	Slots   []Health
}

// healthy stands in for slots never heard of.
var healthy Health //nolint:gochecknoglobals // never written

// Of is the health of a slot, healthy when never heard of. The caller must not
// write through the pointer.
func (s *Snapshot) Of(slot Slot) *Health {
	if s == nil || int(slot) >= len(s.Slots) || slot < 0 {
		return &healthy
	}
	return &s.Slots[slot]
}
