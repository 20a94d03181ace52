package health

import (
	"time"
)

// OutcomeClass is what the outcome of an attempt means for its backend.
type OutcomeClass uint8

// The classes. A 429 is never a failure and a failure never a throttle.
const (
	Served        OutcomeClass = iota // it answered, whatever status the caller gets
	Throttled                         // it asked us to wait
	Failed                            // it could not answer
	Misconfigured                     // our credential or its deployment may be wrong: no conclusion that others need
	Abandoned                         // the caller left: no conclusion about the backend
)

func (c OutcomeClass) String() string {
	switch c {
	case Served:
		return "served"
	case Throttled:
		return "throttled"
	case Failed:
		return "failed"
	case Misconfigured:
		return "misconfigured"
	case Abandoned:
		return "abandoned"
	}
	return "unknown"
}

// Outcome is the result of one attempt at one backend. The zero Outcome is a
// served request without signals.
type Outcome struct {
	Class   OutcomeClass
	Wait    time.Duration // with Throttled: how long not to use the backend, clamped to the policy; 0 = it named none
	RawWait time.Duration // the wait as the backend sent it, for the log; 0 = it sent none
	Limit   LimitKind     // with a Wait: which limit
	Reason  string        // short, bounded vocabulary: "429 tokens", "503", "connection reset", "first token timeout", "silent, given up", "in-stream 429"
	Status  int           // of the backend's answer; 0 = there was none, or it is known otherwise
	Tokens  int64         // with Throttled: estimated size of the request that was refused; 0 = unknown
	Model   string        // with Throttled: the model that it concerns, in lower case; "" = all of the slot's
	Signals Signals

	Resent   bool // it was sent again on a new connection, since a reused one was closed without an answer
	Answered bool // its first content was reported already: with Served there is nothing more to count
}

// Signals are what a response's headers report of the backend's saturation
// (docs/azure-openai.md#rate-limit-headers). A negative number is unknown.
type Signals struct {
	Utilization       float64 // percent, of provisioned deployments
	RemainingTokens   int64
	RemainingRequests int64
	LimitTokens       int64
}

// NoSignals are the signals of a response without such headers.
func NoSignals() Signals {
	return Signals{Utilization: -1, RemainingTokens: -1, RemainingRequests: -1, LimitTokens: -1}
}

// Permit allows one attempt. The zero Permit is for slot 0.
type Permit struct {
	ID         uint64 // of the attempt, unique in this process
	Slot       Slot
	Began      time.Time // when it was admitted
	Order      uint64    // counts the attempts at the slot; 0 = not counted
	Consumer   string    // whose request it is; "" = nobody's
	Lease      uint64    // with Probe: the lease that it is made under
	Probe      bool      // the one probe of the fleet: its lease must be checked just before the request is sent
	LocalProbe bool      // a probe of a circuit that binds this instance alone
	Trial      bool      // made in spite of an open circuit, because no other backend is left
}
