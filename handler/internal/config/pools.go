package config

import (
	"strconv"
	"strings"
	"time"

	"spillway/handler/internal/balancer"
	"spillway/handler/internal/config/document"
	"spillway/handler/internal/health"
	"spillway/handler/internal/openai/usage"
)

// pools lays out the pools, and numbers the slots backend by backend.
func (cfg *Config) pools(l *document.Layout) {
	cfg.index = map[string]int{}
	for i, model := range l.Models {
		cfg.index[model] = i
		cfg.Pools = append(cfg.Pools, poolOf(l, model))
	}
	for alias, model := range l.Aliases {
		cfg.index[alias] = cfg.index[model]
	}
	for i := range l.Document.Backends {
		b := &l.Document.Backends[i]
		for p := range cfg.Pools {
			deployment, ok := document.Serves(b, cfg.Pools[p].Model)
			if !ok {
				continue
			}
			member := member(l, b, i, deployment)
			member.Slot = health.Slot(len(cfg.Slots))
			cfg.Slots = append(cfg.Slots, b.Name+"/"+cfg.Pools[p].Model)
			cfg.Pools[p].Backends = append(cfg.Pools[p].Backends, member)
		}
	}
}

func member(l *document.Layout, b *document.Backend, index int, deployment string) balancer.Backend {
	return balancer.Backend{
		Name: b.Name, Index: index, Deployment: deployment, Region: b.Region, Geography: b.Geography,
		Priority: l.Priority(b), Weight: b.Weight, Provisioned: b.Capacity == "provisioned",
		Stateful: b.Stateful, OpenAI: b.Kind == "openai",
	}
}

// poolOf is how the model's backends are chosen.
func poolOf(l *document.Layout, model string) balancer.Pool {
	m := l.Entry(model)
	p := balancer.Pool{
		Model: model, Aliases: m.Aliases,
		Strategy: map[string]balancer.Strategy{
			"weighted": balancer.Weighted, "round-robin": balancer.RoundRobin,
			"least-busy": balancer.LeastBusy, "lowest-latency": balancer.LowestLatency,
		}[m.Strategy],
		LatencySensitivity: time.Duration(m.LatencySensitivity),
		FirstToken:         time.Duration(m.FirstTokenTimeout),
		Hedge:              hedge(m.Hedge),
	}
	if m.Affinity == "none" {
		p.Affinity = balancer.NoAffinity
	}
	if m.Price != nil {
		p.Price = usage.Price{Currency: m.Price.Currency, Input: m.Price.Input, CachedInput: m.Price.CachedInput, Output: m.Price.Output}
	}
	for _, name := range m.Fallbacks {
		fallback, _ := l.Model(name)
		p.Fallbacks = append(p.Fallbacks, fallback)
	}
	return p
}

// hedge reads "p95" as a percentile and everything else as a delay.
func hedge(h *document.Hedge) balancer.Hedge {
	if h == nil {
		return balancer.Hedge{}
	}
	out := balancer.Hedge{MaxPercent: h.MaxPercent}
	if percent, ok := strings.CutPrefix(h.After, "p"); ok {
		n, _ := strconv.ParseFloat(percent, 64)
		out.Percentile = n / 100
		return out
	}
	out.After, _ = time.ParseDuration(h.After)
	return out
}

// Pool is the pool that serves what a caller calls model: the model's own, the
// one it is an alias of, or else that of any model. ok is false when no
// backend serves it.
func (cfg *Config) Pool(model string) (*balancer.Pool, bool) {
	i, ok := cfg.index[model]
	if !ok || model == document.Wildcard {
		i, ok = cfg.index[document.Wildcard]
	}
	if !ok {
		return nil, false
	}
	return &cfg.Pools[i], true
}

// CandidatePools is the pool of a model and then those of its fallbacks, in the order in
// which they are tried; nil when no backend serves it.
func (cfg *Config) CandidatePools(model string) []*balancer.Pool {
	first, ok := cfg.Pool(model)
	if !ok {
		return nil
	}
	line := []*balancer.Pool{first}
	for _, name := range first.Fallbacks {
		if next, ok := cfg.Pool(name); ok {
			line = append(line, next)
		}
	}
	return line
}
