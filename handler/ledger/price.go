package ledger

import (
	"spillway/handler/quota"
	"spillway/handler/usage"
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
		return quota.Money(float64(quota.Clamp(estimate)) * each / 1e6)
	case tokens:
	}
	return quota.Clamp(estimate)
}

// used is what an answer came to. Nonsense from a backend counts as nothing
// rather than as less than nothing (facts/reliability.md T31).
func (u unit) used(t usage.Tokens, p usage.Price) int64 {
	switch u {
	case requests:
		return 1
	case money:
		return quota.Money(p.Cost(t))
	case tokens:
	}
	return quota.Clamp(quota.Clamp(t.Prompt) + quota.Clamp(t.Completion))
}
