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
	name    string // as in the configuration: tokensPerMinute
	rowName string // in the row key: tpm
	model   string // "" = over all models
	unit    unit
	amount  int64
	period  lease.Period
}

// limitsOf lists the limits that are set, those that fill up soonest first.
func limitsOf(l consumer.Limits, model string) []limit {
	all := []limit{
		{"requestsPerMinute", "rpm", model, requests, lease.Clamp(l.RequestsPerMinute), lease.Minute},
		{"tokensPerMinute", "tpm", model, tokens, lease.Clamp(l.TokensPerMinute), lease.Minute},
		{"tokensPerMonth", "tpmo", model, tokens, lease.Clamp(l.TokensPerMonth), lease.Month},
		{"budgetPerMonth", "bpmo", model, money, lease.Money(l.BudgetPerMonth), lease.Month},
	}
	set := all[:0]
	for _, l := range all {
		if l.amount > 0 {
			set = append(set, l)
		}
	}
	return set
}

// label is the limit with its model, for messages.
func (l limit) label() string {
	if l.model == "" {
		return l.name
	}
	return fmt.Sprintf("%s of model %s", l.name, l.model)
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

// reserve is what a request of this estimate may cost.
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
