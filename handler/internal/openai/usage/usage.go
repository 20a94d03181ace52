// Package usage is the tokens and the cost of one answer, and their sums.
//
// What a backend reports is taken as it is or not at all: a usage object with a
// number that is negative, malformed or absurd is refused as a whole, so that no
// answer can lower what its caller has used.
package usage

import "math"

// Tokens is what one answer used (docs/azure-openai.md#usage). Cached is part of
// Prompt, Reasoning is part of Completion. The zero value is nothing.
type Tokens struct {
	Prompt     int64
	Cached     int64
	Completion int64
	Reasoning  int64
}

// Add returns the sum of both. It saturates.
func (t Tokens) Add(o Tokens) Tokens {
	return Tokens{
		Prompt:     add(t.Prompt, o.Prompt),
		Cached:     add(t.Cached, o.Cached),
		Completion: add(t.Completion, o.Completion),
		Reasoning:  add(t.Reasoning, o.Reasoning),
	}
}

// Total returns the prompt and the completion together. It saturates.
func (t Tokens) Total() int64 { return add(t.Prompt, t.Completion) }

// Sum returns the sum of all. It saturates.
func Sum(all ...Tokens) Tokens {
	var sum Tokens
	for _, t := range all {
		sum = sum.Add(t)
	}
	return sum
}

// add adds two numbers that are not negative.
func add(a, b int64) int64 {
	if a > math.MaxInt64-b {
		return math.MaxInt64
	}
	return a + b
}

// Price is money per million tokens in Currency. The zero Price is free.
type Price struct {
	Currency    string
	Input       float64
	CachedInput float64 // 0: cached tokens cost as much as others
	Output      float64
}

// perMillion is the number of tokens that a price is for.
const perMillion = 1e6

// Cost is the cost of the tokens, in the price's currency. It is never negative,
// whatever a backend reports or a price holds.
func (p Price) Cost(t Tokens) float64 {
	cachedPrice := p.CachedInput
	if cachedPrice == 0 {
		cachedPrice = p.Input
	}
	cached := min(max(t.Cached, 0), max(t.Prompt, 0))
	sum := float64(max(t.Prompt, 0)-cached)*p.Input + float64(cached)*cachedPrice + float64(max(t.Completion, 0))*p.Output
	return max(sum, 0) / perMillion
}
