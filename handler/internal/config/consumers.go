package config

import (
	"slices"
	"strings"

	"spillway/handler/internal/config/document"
	"spillway/handler/internal/consumer"
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

func (cfg *Config) consumers(l *document.Layout) {
	for i := range l.Document.Consumers {
		who := &l.Document.Consumers[i]
		cfg.Consumers = append(cfg.Consumers, consumerOf(l, who))
		if e := who.Entra; e != nil {
			cfg.Entra = append(cfg.Entra, Identity{Consumer: i, AppID: strings.ToLower(e.AppID), Group: e.Group, Role: e.Role})
		}
	}
}

// consumerOf is what the rest of the program knows of a consumer.
func consumerOf(l *document.Layout, who *document.Consumer) consumer.Consumer {
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
		if model := l.Canonical(name); !slices.Contains(out.Models, model) {
			out.Models = append(out.Models, model)
		}
	}
	for name, limits := range who.PerModel {
		if out.PerModel == nil {
			out.PerModel = map[string]consumer.Limits{}
		}
		out.PerModel[l.Canonical(name)] = consumer.Limits{
			TokensPerMinute: limits.TokensPerMinute, RequestsPerMinute: limits.RequestsPerMinute,
			TokensPerMonth: limits.TokensPerMonth, BudgetPerMonth: limits.BudgetPerMonth,
		}
	}
	return out
}
