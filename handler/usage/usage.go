// Package usage is the tokens and the money of one answer, and their sums.
package usage

// Tokens is what one answer consumed (facts/azure-openai.md §5.2). Cached is
// part of Prompt, Reasoning is part of Completion. The zero value is nothing.
type Tokens struct {
	Prompt     int64
	Cached     int64
	Completion int64
	Reasoning  int64
}

// Price is money per million tokens in Currency. The zero Price is free.
type Price struct {
	Currency    string
	Input       float64
	CachedInput float64 // 0 with Input set: cached tokens cost as much as others
	Output      float64
}
