package health

import (
	"time"
)

// OutcomeClass is what an attempt says about its backend.
type OutcomeClass uint8

// The verdicts. A 429 is never a failure and a failure never a throttle.
const (
	Served        OutcomeClass = iota // it answered, whatever the caller thinks of the answer
	Throttled                         // it asked us to wait
	Failed                            // it could not answer
	Misconfigured                     // our credential or its deployment is wrong: trips at once, for long
	Abandoned                         // the caller left; this says nothing about the backend
)

func (v OutcomeClass) String() string {
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
	Class   OutcomeClass
	Wait    time.Duration // with Throttled: how long to leave it alone, clamped to the policy
	RawWait time.Duration // the wait as the backend said it, for the log; 0 = it said none
	Limit   LimitKind     // with Throttled: which limit
	Reason  string        // short, bounded vocabulary: "429 tokens", "503", "reset", "first token timeout", "in-stream 429"
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

// Permit is the leave to make one attempt. It carries the breaker epoch in
// which the attempt began, so that late news of an older epoch is harmless.
type Permit struct {
	Slot            Slot
	Incarnation     uint64
	Epoch           uint64
	SnapshotVersion uint64 // of the snapshot that the decision was made on
	Probe           bool   // the one probe of the fleet: ask Recheck just before its bytes leave
	LocalProbe      bool   // an uncoordinated probe: the table is out of reach
}
