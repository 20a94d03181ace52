// Package consumer defines what a consumer may do: models, geographies, limits.
// It does not know how a consumer proves who it is.
package consumer

import (
	"slices"
	"strings"
)

// Consumer is a configured caller with its permissions. The zero value of a limit
// means no limit.
type Consumer struct {
	Name              string
	Models            []string // empty = all
	Geographies       []string // empty = all; never crossed
	MinPriority       int      // of the priority groups that it may use; 0 = all
	MaxRequestTokens  int64
	Concurrency       int
	TokensPerMinute   int64
	RequestsPerMinute int64
	TokensPerMonth    int64
	BudgetPerMonth    float64 // in the currency of the prices
	Class             Class
	PerModel          map[string]Limits
	PerCaller         *CallerLimits // nil = callers are not kept apart
	Transcripts       bool
	WarnAt            []float64 // percentages of a month's limit at which a warning is given
	AllowUnmetered    bool      // use operations that report no usage, in spite of a limit of tokens or money
	Reach             []Reach   // what it may use although it can show what others stored
}

// Reach is something that reaches stored things without naming them.
type Reach string

// The kinds of reach.
const (
	DataSources       Reach = "data-sources"       // indexes that the backend reads with its own identity
	StoredCompletions Reach = "stored-completions" // evaluations over what is stored
)

// Reaches reports whether the consumer has this reach. A nil consumer has any.
func (c *Consumer) Reaches(r Reach) bool { return c == nil || slices.Contains(c.Reach, r) }

// Limits are the limits of one consumer for one model.
type Limits struct {
	TokensPerMinute   int64
	RequestsPerMinute int64
	TokensPerMonth    int64
	BudgetPerMonth    float64
}

// CallerLimits are the limits of each caller of a consumer, over all models.
type CallerLimits struct {
	Limits
	MaxActive int // so many callers who called lately have limits of their own on an instance; the rest share one
}

// counted reports whether the limits count tokens or money.
func (l *Limits) counted() bool {
	return l.TokensPerMinute+l.TokensPerMonth > 0 || l.BudgetPerMonth > 0
}

// hasBudget reports whether the limits count money.
func (l *Limits) hasBudget() bool { return l.BudgetPerMonth > 0 }

// MayUseUnmetered reports whether the consumer may start what reports no usage:
// batches, fine-tuning, evals, videos. A limit of tokens or money would not see them. A nil
// consumer may.
func (c *Consumer) MayUseUnmetered() bool { return !c.limited((*Limits).counted) }

// MayUseUnpriced reports whether the consumer may use what costs money besides tokens,
// as calls of tools that the service runs: a limit of money would not see it. A nil
// consumer may.
func (c *Consumer) MayUseUnpriced() bool { return !c.limited((*Limits).hasBudget) }

// limited reports whether one of its limits is of this kind, for a consumer that may
// not exceed them by what is not metered.
func (c *Consumer) limited(kind func(l *Limits) bool) bool {
	if c == nil || c.AllowUnmetered {
		return false
	}
	if c.PerCaller != nil && kind(&c.PerCaller.Limits) {
		return true
	}
	for _, l := range c.PerModel {
		if kind(&l) {
			return true
		}
	}
	return kind(&Limits{TokensPerMinute: c.TokensPerMinute, TokensPerMonth: c.TokensPerMonth, BudgetPerMonth: c.BudgetPerMonth})
}

// Class is which requests go first when capacity is short. The zero Class is
// Interactive.
type Class uint8

// The classes.
const (
	Interactive Class = iota
	Batch
)

// MayUse reports whether the consumer may use a model, whatever the case of its
// name. A nil consumer may use all.
func (c *Consumer) MayUse(model string) bool {
	return !c.Restricted() || slices.ContainsFunc(c.Models, func(m string) bool { return strings.EqualFold(m, model) })
}

// Restricted reports whether the consumer may use some models only.
func (c *Consumer) Restricted() bool { return c != nil && len(c.Models) > 0 }

// Measured reports whether the size of the consumer's requests is limited.
func (c *Consumer) Measured() bool { return c != nil && c.MaxRequestTokens > 0 }

// Bounds returns what limits the consumer's choice of backends. A nil consumer
// has none.
func (c *Consumer) Bounds() (geographies []string, minPriority int) {
	if c == nil {
		return nil, 0
	}
	return c.Geographies, c.MinPriority
}
