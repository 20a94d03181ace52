// Package health is the arithmetic of backend health: circuit breakers,
// throttle windows, saturation, and how the outcome of an attempt changes them.
// It is pure. It never reads a clock, and it knows neither the table in which
// records are stored (package fleet does) nor HTTP.
//
// Instants are Unix milliseconds of the table service's clock, the only clock
// that all instances share, unless they are of type [time.Time].
package health

import (
	"slices"
	"time"
)

// Slot is the index of one backend × model, dense from 0 in the order of the
// pool document, so that reading its health is no map lookup.
type Slot int

// Health is what this instance knows of one slot. Instants are in this process's
// clock. The zero Health is healthy.
type Health struct {
	State          CircuitState
	Until          time.Time // Open: earliest probe; HalfOpen: end of the probe's lease; Closed: when the fleet's open circuit binds, unless this instance is served again; zero = it is closed too
	Probe          bool      // HalfOpen, and this instance holds the fleet's one probe, unused
	TrafficPercent uint8     // percent of its normal traffic while it recovers or is nearly full; 0 = all of it
	Throttle       Throttle
	Models         *ModelThrottles // of single models, where the backend serves models without a slot of their own; nil = none
	Drained        bool            // by an operator: no new requests
	Own            bool            // the circuit binds this instance alone
	FailedAt       time.Time       // last failure, here or of the fleet's probes; zero = served since, or none
	Reason         string          // of the last change, for people: "503", "429 tokens", "operator"
	Evidence       string          // of a circuit that is not closed: the failures that opened it; "" = not known
}

// SkipReason is why a backend is not offered a request. "" means that it is.
type SkipReason string

// The reasons, as the log, the explain header and the status page print them.
const (
	NotSkipped    SkipReason = ""
	SkipDrained   SkipReason = "drained"
	SkipOpen      SkipReason = "circuit open"
	SkipProbing   SkipReason = "half-open, probe taken"
	SkipThrottled SkipReason = "throttled"
)

// SkipReason returns why a request of about this many tokens should not be sent
// at now, or NotSkipped.
func (h *Health) SkipReason(now time.Time, tokens int64) SkipReason {
	switch {
	case h.Drained:
		return SkipDrained
	case h.State == Open || h.Bound(now):
		return SkipOpen
	case h.State == HalfOpen && !h.Probe:
		return SkipProbing
	case h.Throttle.Blocks(now, tokens):
		return SkipThrottled
	}
	return NotSkipped
}

// ThrottleOf is the throttle of one model, in lower case, beside that of the slot.
func (h *Health) ThrottleOf(model string) Throttle {
	if h.Models == nil {
		return Throttle{}
	}
	return (*h.Models)[model]
}

// ThrottledModels are the models that are throttled at now while the slot is not, in
// alphabetical order.
func (h *Health) ThrottledModels(now time.Time) []string {
	var models []string
	if h.Models != nil {
		for model, t := range *h.Models {
			if now.Before(t.Until) {
				models = append(models, model)
			}
		}
	}
	slices.Sort(models)
	return models
}

// Bound reports whether a closed circuit has ended at now: this instance's own
// successes are too old to outweigh the fleet's open circuit.
func (h *Health) Bound(now time.Time) bool {
	return h.State == Closed && !h.Until.IsZero() && !now.Before(h.Until)
}

// StateAt is the state of the circuit as it binds this instance at now.
func (h *Health) StateAt(now time.Time) CircuitState {
	if h.Bound(now) {
		return Open
	}
	return h.State
}

// CircuitAlone reports whether the reason to skip is an open circuit and no more:
// then a backend may be tried all the same when no other is left.
func (r SkipReason) CircuitAlone() bool { return r == SkipOpen || r == SkipProbing }

// AvailableAt is the earliest instant at which a skipped backend may be
// available; zero when only an operator can change that.
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
	Version uint64 // grows with every change that this instance applied
	Taken   time.Time
	Slots   []Health
}

// healthy is the health of slots that a snapshot does not have. Never written.
var healthy Health

// Of returns the health of a slot; one that the snapshot does not have is
// healthy. The caller must not write through the pointer.
func (s *Snapshot) Of(slot Slot) *Health {
	if s == nil || int(slot) >= len(s.Slots) || slot < 0 {
		return &healthy
	}
	return &s.Slots[slot]
}
