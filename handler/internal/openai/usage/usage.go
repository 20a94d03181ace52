// Package usage is the tokens and the money of one answer, and their sums.
//
// What a backend reports is taken as it is or not at all: a usage object with a
// number that is negative, broken or absurd is refused whole, so that no answer
// can earn its caller money.
package usage

import "math"

// Tokens is what one answer consumed (facts/azure-openai.md §5.2). Cached is
// part of Prompt, Reasoning is part of Completion. The zero value is nothing.
type Tokens struct {
	Prompt     int64
	Cached     int64
	Completion int64
	Reasoning  int64
}

// Add is the sum of both. It saturates.
func (t Tokens) Add(o Tokens) Tokens {
	return Tokens{
		Prompt:     add(t.Prompt, o.Prompt),
		Cached:     add(t.Cached, o.Cached),
		Completion: add(t.Completion, o.Completion),
		Reasoning:  add(t.Reasoning, o.Reasoning),
	}
}

// Total is the prompt and the completion together. It saturates.
func (t Tokens) Total() int64 { return add(t.Prompt, t.Completion) }

// Sum is all of them together. It saturates.
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
	CachedInput float64 // 0 with Input set: cached tokens cost as much as others
	Output      float64
}
