package quota

import (
	"spillway/handler/internal/openai/usage"
	"spillway/handler/internal/quota/lease"
)

// unit is what a limit counts.
type unit uint8

const (
	tokens unit = iota
	requests
	money
)

// reserve is what a request of about this many tokens may come to.
func (u unit) reserve(estimate int64, p usage.Price) int64 {
	switch u {
	case requests:
		return 1
	case money:
		each := max(p.Input, p.CachedInput, p.Output)
		return lease.Money(float64(lease.Clamp(estimate)) * each / 1e6)
	case tokens:
	}
	return lease.Clamp(estimate)
}

// used is what an answer came to. Nonsense from a backend counts as nothing
// rather than as less than nothing (facts/reliability.md T31).
func (u unit) used(t usage.Tokens, p usage.Price) int64 {
	switch u {
	case requests:
		return 1
	case money:
		return lease.Money(p.Cost(t))
	case tokens:
	}
	return lease.Clamp(lease.Clamp(t.Prompt) + lease.Clamp(t.Completion))
}
