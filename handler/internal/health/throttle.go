// Package throttle is the arithmetic of being told to wait.
package health

import "time"

// LimitKind is which limit of the backend was reached. It decides who may still pass.
type LimitKind uint8

// The kinds of 429 (facts/azure-openai.md §3.1, §3.5). The zero Kind is one
// that could not be told: nobody passes.
const (
	Unknown     LimitKind = iota
	Tokens                // tokens per minute: small requests may still fit into Room
	Requests              // requests per 1 or 10 seconds
	Capacity              // the service as a whole is short, not our quota
	Provisioned           // a PTU over 100 %: its wait is exact to the millisecond
)

// Window is the time until which a backend asked to be left alone.
// The zero Window is no window.
type Window struct {
	Until time.Time
	Kind  LimitKind
	Room  int64 // with Tokens: requests of at most this many tokens may still be sent; 0 = none
}

// Shut reports whether a request of about this many tokens would still be
// refused at now.
func (w Window) Shut(now time.Time, tokens int64) bool {
	if !now.Before(w.Until) {
		return false
	}
	return w.Kind != Tokens || w.Room <= 0 || tokens > w.Room
}

func (k LimitKind) String() string {
	switch k {
	case Unknown:
		return "unknown limit"
	case Tokens:
		return "tokens"
	case Requests:
		return "requests"
	case Capacity:
		return "capacity"
	case Provisioned:
		return "provisioned"
	}
	return "unknown limit"
}
