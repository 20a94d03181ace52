// Package consumer is what a caller by name may do: models, geographies, limits.
package consumer

import "slices"

// Consumer is one caller by name, with what it may do. The zero value of a
// limit means no limit.
type Consumer struct {
	Name              string
	Models            []string // empty = all
	Geographies       []string // empty = all; never crossed
	MinPriority       int      // 0 = all; else only priority groups >= this number (keeps the PTU for others)
	MaxRequestTokens  int64
	Concurrency       int
	TokensPerMinute   int64
	RequestsPerMinute int64
	TokensPerMonth    int64
	BudgetPerMonth    float64 // in the currency of the models' prices
	Class             Class
	PerModel          map[string]Limits
	Transcripts       bool
}

// Limits are the quotas of one consumer for one model.
type Limits struct {
	TokensPerMinute   int64
	RequestsPerMinute int64
	TokensPerMonth    int64
	BudgetPerMonth    float64
}

// Class is who goes first under pressure. The zero Class is Interactive.
type Class uint8

// The classes.
const (
	Interactive Class = iota
	Batch
)

// MayUse reports whether the consumer may ask for the pool of this model. A
// nil consumer is anybody, and may.
func (c *Consumer) MayUse(model string) bool {
	return c == nil || len(c.Models) == 0 || slices.Contains(c.Models, model)
}

// Bounds returns what limits the consumer's choice of backends. A nil consumer
// has none.
func (c *Consumer) Bounds() (geographies []string, minPriority int) {
	if c == nil {
		return nil, 0
	}
	return c.Geographies, c.MinPriority
}
