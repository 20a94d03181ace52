package quota

import (
	"fmt"
	"hash/fnv"

	"spillway/handler/internal/consumer"
	"spillway/handler/internal/openai/usage"
	"spillway/handler/internal/quota/lease"
	"spillway/handler/internal/tablestore"
)

// limit is one limit of one consumer, as configured.
type limit struct {
	name      string // as in the configuration: tokensPerMinute
	rowName   string // in the row key: tpm
	model     string // "" = over all models
	unit      unit
	amount    int64
	period    lease.Period
	perCaller bool // of each caller of the consumer
	ceiling   bool // of what requests may use, besides a limit of what they are expected to use
}

// limitsOf lists the limits that are set, those that fill up soonest first.
func limitsOf(l consumer.Limits, model string) []limit {
	all := []limit{
		{name: "requestsPerMinute", rowName: "rpm", model: model, unit: requests, amount: lease.Clamp(l.RequestsPerMinute), period: lease.Minute},
		{name: "tokensPerMinute", rowName: "tpm", model: model, unit: tokens, amount: lease.Clamp(l.TokensPerMinute), period: lease.Minute},
		{name: "tokensPerMinute", rowName: "tpmc", model: model, unit: tokens, amount: ceilingOf(l.TokensPerMinute), period: lease.Minute, ceiling: true},
		{name: "tokensPerMonth", rowName: "tpmo", model: model, unit: tokens, amount: lease.Clamp(l.TokensPerMonth), period: lease.Month},
		{name: "budgetPerMonth", rowName: "bpmo", model: model, unit: money, amount: lease.Money(l.BudgetPerMonth), period: lease.Month},
	}
	set := all[:0]
	for _, l := range all {
		if l.amount > 0 {
			set = append(set, l)
		}
	}
	return set
}

// An expectation can be trained to be wrong. So a limit of tokens per minute has a
// ceiling of twice its size, of which a request reserves what it may use of the minute:
// what has ended and what is under way come to that at most, over all instances
// (docs/quotas.md#bounds).
func ceilingOf(limit int64) int64 { return 2 * min(lease.Clamp(limit), lease.MaxAmount/2) }

// leastUnderWay requests fit below a ceiling, however large they may be, so that a
// limit of a few answers is not one of a single request at a time.
const leastUnderWay = 4

// label is the limit with its model, for messages.
func (l limit) label() string {
	if l.perCaller {
		return l.name + " of each caller"
	}
	if l.model == "" {
		return l.name
	}
	return fmt.Sprintf("%s of model %s", l.name, l.model)
}

// id tells the limits of a consumer apart, its callers' included.
func (l limit) id() string {
	if l.perCaller {
		return "caller|" + l.rowName
	}
	return l.key()
}

// key is the limit's part of the row key.
func (l limit) key() string {
	if l.model == "" {
		return l.rowName
	}
	return l.rowName + "@" + tablestore.EncodeKey(l.model)
}

// A large limit is cut into shards, rows that the instances divide among
// themselves: more than about fifty writers of one row mostly conflict
// (docs/quotas.md#leases).
const (
	writersPerShard     = 50
	minTokensPerShard   = 1_500_000 // a shard must hold the largest request
	minRequestsPerShard = 1_000
	maxShards           = 8
	columnsPerRow       = 200 // of the feed; an entity has at most 252
)

// shards depends on the configuration alone, so that all instances agree.
func (l limit) shards(mostInstances int) int {
	least := int64(minTokensPerShard)
	if l.unit == requests {
		least = minRequestsPerShard
	}
	if l.period == lease.Month || l.unit == money {
		return 1
	}
	wanted := min(int64((mostInstances+writersPerShard-1)/writersPerShard), l.amount/least, maxShards)
	return int(max(1, wanted))
}

// feedColumn is the column of the feed for a shard of a consumer's limit.
func feedColumn(consumerName string, l limit, shard int) string {
	h := fnv.New64a()
	fmt.Fprintf(h, "%d:%s|%s|%d", len(consumerName), consumerName, l.key(), shard)
	return fmt.Sprintf("q_%016x", h.Sum64())
}

// unit is what a limit counts.
type unit uint8

const (
	tokens unit = iota
	requests
	money
)

// Demand is what a request may use. The zero Demand is a request without tokens.
type Demand struct {
	Caller    string  // the name of the consumer's caller; "" = it has none
	Model     string  // whose limits apply, besides those over all models
	Size      int64   // what maxRequestTokens bounds: the prompt and the answer that it asks for
	Prompt    int64   // expected tokens of the prompt, as far as the request shows it
	Hidden    int64   // expected tokens of what it only names, such as an earlier response
	Output    int64   // expected tokens of the answer
	Lasting   bool    // its usage is not known when it ends: what it reserves of a month is kept
	Certainty float64 // of Output, in [0,1]: at 0 as much as it may be is expected, within half of the limit
	// MinuteOutput is how much of the answer a limit per minute may have to bear,
	// should the expectation be wrong; less than Output = Output.
	MinuteOutput int64
	MaxPrompt    int64 // the most tokens that the prompt can have; less than expected = as expected
	MaxOutput    int64 // the most that the answer can have; less than Output = Output
	Images       int64 // that are billed each
	Seconds      int64 // of audio that are billed each, as expected
	MaxSeconds   int64 // the most of them; less than Seconds = Seconds
	Price        usage.Price
	MaxPrice     usage.Price // the dearest that may apply; the zero Price = Price
}

// unknownPart is the most of a limit that an answer of unknown size is expected to
// use: 1/unknownPart. Within it all that it may use is, so that the first minute comes
// to the limit.
const unknownPart = 2

// expected is what the request is expected to use of the limit; a smaller limit
// than the expectation can still serve it.
func (l limit) expected(d *Demand) int64 {
	switch l.unit {
	case requests:
		return 1
	case money:
		least := min(l.most(d), 1) // something, so that nothing is served when nothing is left
		return max(least, min(l.unit.used(d.tokens(), d.Price), l.amount))
	case tokens:
	}
	if l.ceiling {
		return l.mayUse(d)
	}
	prompt := lease.Clamp(d.Prompt)
	output := float64(lease.Clamp(d.Hidden)) + float64(lease.Clamp(d.Output))*d.Certainty
	output += float64(min(l.amount/unknownPart, d.mayOutput())) * (1 - d.Certainty)
	return max(prompt, min(prompt+lease.Clamp(int64(output)), l.amount))
}

// mayUse is what the request reserves of a ceiling: what it may use of the minute.
func (l limit) mayUse(d *Demand) int64 {
	return min(lease.Clamp(d.prompt()+d.mayOutput()), l.amount/leastUnderWay)
}

// mayOutput is how much of the answer a limit per minute may have to bear.
func (d *Demand) mayOutput() int64 { return max(lease.Clamp(d.MinuteOutput), lease.Clamp(d.Output)) }

// prompt is how large the prompt is expected to be.
func (d *Demand) prompt() int64 { return lease.Clamp(lease.Clamp(d.Prompt) + lease.Clamp(d.Hidden)) }

// tokens is the expected usage.
func (d *Demand) tokens() usage.Tokens {
	return usage.Tokens{Prompt: d.prompt(), Completion: lease.Clamp(d.Output), Images: d.Images, Seconds: d.Seconds}
}

// most is the most that the request can use of the limit, which may be more than
// the limit.
func (l limit) most(d *Demand) int64 {
	if l.unit == requests {
		return 1
	}
	t := usage.Tokens{
		Prompt: max(lease.Clamp(d.MaxPrompt), d.prompt()), Completion: max(lease.Clamp(d.MaxOutput), lease.Clamp(d.Output)),
		Images: d.Images, Seconds: max(d.MaxSeconds, d.Seconds),
	}
	return max(l.unit.used(t, d.Price), l.unit.used(t, d.MaxPrice))
}

// used is what an answer cost. Negative numbers of a backend count as zero.
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
