package config

import (
	"cmp"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"spillway/handler/internal/balancer"
	"spillway/handler/internal/config/document"
	"spillway/handler/internal/config/pricelist"
	"spillway/handler/internal/consumer"
	"spillway/handler/internal/health"
	"spillway/handler/internal/openai/usage"
)

// pools lays out the pools, and numbers the slots backend by backend.
func (cfg *Config) pools(l *document.Layout) {
	cfg.index = map[string]int{}
	for i, model := range l.Models {
		cfg.index[strings.ToLower(model)] = i
		cfg.Pools = append(cfg.Pools, poolOf(l, model))
	}
	for alias, model := range l.Aliases {
		cfg.index[strings.ToLower(alias)] = cfg.index[strings.ToLower(model)]
	}
	for i := range l.Document.Backends {
		b := &l.Document.Backends[i]
		for p := range cfg.Pools {
			deployment, ok := document.Serves(b, cfg.Pools[p].Model)
			if !ok {
				continue
			}
			if deployment == cfg.Pools[p].Model && l.PassesName(deployment) {
				deployment = ""
			}
			member := member(l, b, i, deployment)
			member.Price = priceAt(b, l, cfg.Pools[p].Model)
			member.Slot = cfg.addSlot(l.Document, b, deployment, cfg.Pools[p].Model)
			cfg.Pools[p].Backends = append(cfg.Pools[p].Backends, member)
		}
	}
}

// addSlot appends a slot with its identity and policies. Of two slots with one
// identity the second is told apart by its name.
func (cfg *Config) addSlot(d *document.Document, b *document.Backend, deployment, model string) health.Slot {
	name, id := b.Name+"/"+model, document.Identity(b, deployment, model)
	if slices.Contains(cfg.Identities, id) {
		id += " " + name
	}
	breaker, throttle := d.BreakerOf(b), d.ThrottleOf(b)
	cfg.Slots = append(cfg.Slots, name)
	cfg.Identities = append(cfg.Identities, id)
	cfg.Breakers = append(cfg.Breakers, breakerPolicy(&breaker))
	cfg.Throttles = append(cfg.Throttles, throttlePolicy(&throttle))
	return health.Slot(len(cfg.Slots) - 1)
}

func member(l *document.Layout, b *document.Backend, index int, deployment string) balancer.Backend {
	return balancer.Backend{
		Name: b.Name, Index: index, Deployment: deployment, Region: b.Region, Geography: b.Geography,
		Priority: l.Priority(b), Weight: b.Weight, Provisioned: b.Capacity == "provisioned",
		Stateful: b.Stateful, Adopt: b.Adopt, OpenAI: b.Kind == "openai",
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
		Attempts:           m.Attempts,
		FilteredFallBack:   m.OnContentFilter == "fallback",
		MaxOutputTokens:    m.MaxOutputTokens,
		Hedge:              hedge(m.Hedge),
	}
	if m.Affinity == "none" {
		p.Affinity = balancer.NoAffinity
	}
	if m.Price != nil {
		p.Price = price(m.Price)
	}
	for _, name := range m.Fallbacks {
		fallback, _ := l.Model(name)
		p.Fallbacks = append(p.Fallbacks, fallback)
	}
	return p
}

// priceAt is the backend's own price of a model; nil = it has none.
func priceAt(b *document.Backend, l *document.Layout, model string) *usage.Price {
	for name := range b.Prices {
		if own := b.Prices[name]; l.Canonical(name) == model {
			p := price(&own)
			return &p
		}
	}
	return nil
}

// price is a price as it is charged.
func price(p *document.Price) usage.Price {
	out := usage.Price{
		Currency: p.Currency, Input: p.Input, CachedInput: p.CachedInput, CacheWrite: p.CacheWrite, Output: p.Output, Reasoning: p.Reasoning,
		AudioInput: p.AudioInput, AudioOutput: p.AudioOutput, Image: p.Image, AudioSecond: p.AudioSecond, CacheWriteHour: p.CacheWriteHour,
	}
	if p.Tiers == nil {
		return out
	}
	out.Tiers = map[string]usage.Price{}
	for name, t := range map[string]*document.TierPrice{"priority": p.Tiers.Priority, "flex": p.Tiers.Flex, "batch": p.Tiers.Batch} {
		if t != nil {
			out.Tiers[name] = usage.Price{
				Input: t.Input, CachedInput: t.CachedInput, CacheWrite: t.CacheWrite, Output: t.Output, Reasoning: t.Reasoning,
				AudioInput: t.AudioInput, AudioOutput: t.AudioOutput, Image: p.Image, AudioSecond: p.AudioSecond, CacheWriteHour: t.CacheWriteHour,
			}
		}
	}
	return out
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
	i, ok := cfg.index[strings.ToLower(model)]
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

// Kind is what a resource speaks.
type Kind uint8

// The kinds of resource. The zero Kind is AzureOpenAI.
const (
	AzureOpenAI Kind = iota
	OpenAI           // any OpenAI-compatible base URL
)

// Mode is how Spillway authenticates to a resource.
type Mode uint8

// The modes. The zero Mode is ManagedIdentity.
const (
	ManagedIdentity Mode = iota
	APIKey
	PassThrough // the caller's own Entra token
	NoAuth
)

// Resource is one place that requests are sent to.
type Resource struct {
	Name      string
	Endpoint  *url.URL // no trailing slash, no query; its path, mostly empty, goes before everything
	Kind      Kind
	Mode      Mode
	Key       Secret // with APIKey
	ClientID  string // with ManagedIdentity; "" = the system-assigned one, or the developer's sign-in
	Region    string
	Geography string
	HTTP2     bool
	NoUsage   bool // streams are not asked for their usage

	CallerHeader string   // in its canonical form; "" = no backend learns who calls
	PassHeaders  []string // in their canonical form

	Throttle    health.ThrottlePolicy
	IgnoreWaits bool // a 429 always lasts Throttle.DefaultWait, whatever it asks
}

func (cfg *Config) resource(b *document.Backend, env map[string]string) Resource {
	address, _, _ := document.Endpoint(b.Endpoint, b.Kind)
	r := Resource{
		Name: b.Name, Endpoint: address, Region: b.Region, Geography: b.Geography, HTTP2: b.HTTP2, NoUsage: !b.CountUsage, CallerHeader: http.CanonicalHeaderKey(b.CallerHeader),
		Mode: map[string]Mode{"api-key": APIKey, "pass-through": PassThrough, "none": NoAuth}[b.Auth.Mode],
	}
	if b.Kind == "openai" {
		r.Kind = OpenAI
	}
	for _, name := range b.PassHeaders {
		r.PassHeaders = append(r.PassHeaders, http.CanonicalHeaderKey(name))
	}
	throttle := cfg.Document.ThrottleOf(b)
	r.Throttle, r.IgnoreWaits = throttlePolicy(&throttle), !throttle.AcceptRetryAfter
	switch r.Mode {
	case APIKey:
		r.Key = NewSecret(env[b.Auth.Setting])
	case ManagedIdentity:
		r.ClientID = cmp.Or(b.Auth.ClientID, cfg.Settings.ClientID)
	case PassThrough, NoAuth:
	}
	return r
}

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
		TokensPerMonth: who.TokensPerMonth, BudgetPerMonth: who.BudgetPerMonth, Transcripts: who.Transcripts, AllowUnmetered: who.AllowUnmetered, WarnAt: who.WarnAt,
	}
	if who.Class == "batch" {
		out.Class = consumer.Batch
	}
	for _, name := range who.Models {
		if model := l.Canonical(name); !slices.Contains(out.Models, model) {
			out.Models = append(out.Models, model)
		}
	}
	if c := who.PerCaller; c != nil {
		out.PerCaller = &consumer.CallerLimits{MaxActive: c.MaxActive, Limits: consumer.Limits{
			TokensPerMinute: c.TokensPerMinute, RequestsPerMinute: c.RequestsPerMinute, TokensPerMonth: c.TokensPerMonth, BudgetPerMonth: c.BudgetPerMonth,
		}}
	}
	for _, reach := range who.Reach {
		out.Reach = append(out.Reach, consumer.Reach(reach))
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

func breakerPolicy(b *document.CircuitBreaker) health.BreakerPolicy {
	return health.BreakerPolicy{
		Failures: b.Failures, Interval: time.Duration(b.Interval), Percentage: b.Percentage,
		TripDuration: time.Duration(b.TripDuration), MaxTripDuration: time.Duration(b.MaxTripDuration),
	}
}

func throttlePolicy(t *document.Throttle) health.ThrottlePolicy {
	out := health.ThrottlePolicy{DefaultWait: time.Duration(t.DefaultWait), MaxWait: time.Duration(t.MaxWait)}
	if t.LeaveAt != nil && t.LeaveAt.Enabled {
		out.LeaveAt = health.LeaveAt{Utilization: t.LeaveAt.Utilization, RemainingTokens: t.LeaveAt.RemainingTokens}
	}
	return out
}

// ListedPrice is the price of a model in a list of prices.
func ListedPrice(list *pricelist.List, model string) (usage.Price, bool) {
	entry, ok := list.Prices[model]
	if !ok {
		return usage.Price{}, false
	}
	p := document.Price{Currency: list.Currency}
	if json.Unmarshal(entry, &p) != nil {
		return usage.Price{}, false
	}
	return price(&p), true
}
