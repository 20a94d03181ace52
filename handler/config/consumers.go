package config

import (
	"slices"
	"strings"

	"spillway/handler/consumer"
)

// Key is one static key of a consumer.
type Key struct {
	Consumer int    // into Config.Consumers
	Setting  string // where it is written, for logs
	Value    Secret
}

// Identity is which Entra ID tokens belong to a consumer: those that match
// everything that is not "".
type Identity struct {
	Consumer int // into Config.Consumers
	AppID    string
	Group    string
	Role     string
}

func (cfg *Config) consumers(l *layout) {
	for i := range l.document.Consumers {
		who := &l.document.Consumers[i]
		cfg.Consumers = append(cfg.Consumers, l.consumer(who))
		if e := who.Entra; e != nil {
			cfg.Entra = append(cfg.Entra, Identity{Consumer: i, AppID: strings.ToLower(e.AppID), Group: e.Group, Role: e.Role})
		}
	}
}

// consumer is what the rest of the program knows of a consumer.
func (l *layout) consumer(who *Consumer) consumer.Consumer {
	out := consumer.Consumer{
		Name: who.Name, Geographies: who.Geographies, MinPriority: who.MinPriority,
		MaxRequestTokens: who.MaxRequestTokens, Concurrency: who.Concurrency,
		TokensPerMinute: who.TokensPerMinute, RequestsPerMinute: who.RequestsPerMinute,
		TokensPerMonth: who.TokensPerMonth, BudgetPerMonth: who.BudgetPerMonth, Transcripts: who.Transcripts,
	}
	if who.Class == "batch" {
		out.Class = consumer.Batch
	}
	for _, name := range who.Models {
		if model := l.canonical(name); !slices.Contains(out.Models, model) {
			out.Models = append(out.Models, model)
		}
	}
	for name, limits := range who.PerModel {
		if out.PerModel == nil {
			out.PerModel = map[string]consumer.Limits{}
		}
		out.PerModel[l.canonical(name)] = consumer.Limits{
			TokensPerMinute: limits.TokensPerMinute, RequestsPerMinute: limits.RequestsPerMinute,
			TokensPerMonth: limits.TokensPerMonth, BudgetPerMonth: limits.BudgetPerMonth,
		}
	}
	return out
}

// canonical is the model that a name stands for. A name that only "*" serves
// stands for itself.
func (l *layout) canonical(name string) string {
	if model, ok := l.model(name); ok {
		return model
	}
	return name
}
