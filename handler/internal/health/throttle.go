// Package throttle is the arithmetic of being told to wait.
package health

import "time"

// LimitKind is which limit of the backend was reached. It decides who may still pass.
type LimitKind uint8

// The kinds of 429 (facts/azure-openai.md §3.1, §3.5). The zero Kind is one
// that could not be told: nobody passes.
const (
	LimitUnknown     LimitKind = iota
	LimitTokens                // tokens per minute: small requests may still fit into Room
	LimitRequests              // requests per 1 or 10 seconds
	LimitCapacity              // the service as a whole is short, not our quota
	LimitProvisioned           // a PTU over 100 %: its wait is exact to the millisecond
)

// Throttle is the time until which a backend asked to be left alone.
// The zero Throttle is no window.
type Throttle struct {
	Until     time.Time
	Kind      LimitKind
	MaxTokens int64 // with Tokens: requests of at most this many tokens may still be sent; 0 = none
}

// Blocks reports whether a request of about this many tokens would still be
// refused at now.
func (w Throttle) Blocks(now time.Time, tokens int64) bool {
	if !now.Before(w.Until) {
		return false
	}
	return w.Kind != LimitTokens || w.MaxTokens <= 0 || tokens > w.MaxTokens
}

func (k LimitKind) String() string {
	switch k {
	case LimitUnknown:
		return "unknown limit"
	case LimitTokens:
		return "tokens"
	case LimitRequests:
		return "requests"
	case LimitCapacity:
		return "capacity"
	case LimitProvisioned:
		return "provisioned"
	}
	return "unknown limit"
}
