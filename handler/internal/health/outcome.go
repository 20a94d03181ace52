package health

import (
	"time"
)

// Verdict is what an attempt says about its backend.
type Verdict uint8

// The verdicts. A 429 is never a failure and a failure never a throttle.
const (
	Served        Verdict = iota // it answered, whatever the caller thinks of the answer
	Throttled                    // it asked us to wait
	Failed                       // it could not answer
	Misconfigured                // our credential or its deployment is wrong: trips at once, for long
	Abandoned                    // the caller left; this says nothing about the backend
)

func (v Verdict) String() string {
	switch v {
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
// service that says nothing new.
type Outcome struct {
	Verdict Verdict
	Wait    time.Duration // with Throttled: how long to leave it alone, clamped to the policy
	RawWait time.Duration // the wait as the backend said it, for the log; 0 = it said none
	Kind    LimitKind     // with Throttled: which limit
	Why     string        // short, bounded vocabulary: "429 tokens", "503", "reset", "first token timeout", "in-stream 429"
	Signals Signals
}

// Signals are what an answer's headers say of how full its backend is
// (facts/azure-openai.md §3.4, §3.5). A negative number is unknown: limits of
// -1 and resets of 0 are quirks, not news.
type Signals struct {
	Utilization       float64 // percent, of provisioned deployments
	RemainingTokens   int64
	RemainingRequests int64
	LimitTokens       int64
}

// NoSignals is what an answer without such headers says.
func NoSignals() Signals {
	return Signals{Utilization: -1, RemainingTokens: -1, RemainingRequests: -1, LimitTokens: -1}
}

// Ticket is the leave to make one attempt. It carries the breaker epoch in
// which the attempt began, so that late news of an older epoch is harmless.
type Ticket struct {
	Slot        Slot
	Incarnation uint64
	Epoch       uint64
	Version     uint64 // of the snapshot that the decision was made on
	Probe       bool   // the one probe of the fleet: ask Recheck just before its bytes leave
	Alone       bool   // an uncoordinated probe: the table is out of reach
}
