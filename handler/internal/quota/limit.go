package quota

import (
	"fmt"
	"hash/fnv"

	"spillway/handler/internal/consumer"
	"spillway/handler/internal/quota/lease"
	"spillway/handler/internal/tablestore"
)

// limit is one limit of one consumer, as configured.
type limit struct {
	name    string // as the pool document says it, for people: tokensPerMinute
	rowName string // as the table says it: tpm
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

// label is the limit for people, with its model.
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

// Where a limit is cut into shards: rows that instances share out among
// themselves, because more than about fifty that write one row mostly meet each
// other's conflicts (facts/table-state.md §1).
const (
	writersPerShard     = 50
	minTokensPerShard   = 1_500_000 // a shard must hold the largest request there is
	minRequestsPerShard = 1_000
	maxShards           = 8
	columnsPerRow       = 200 // of the board; an entity has at most 252
)

// shards depends on configuration alone, so that all instances agree.
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

// feedColumn is where the board keeps a shard of a consumer's limit.
func feedColumn(consumerName string, l limit, shard int) string {
	h := fnv.New64a()
	fmt.Fprintf(h, "%d:%s|%s|%d", len(consumerName), consumerName, l.key(), shard)
	return fmt.Sprintf("q_%016x", h.Sum64())
}
