package config

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"

	"spillway/handler/internal/balancer"
	"spillway/handler/internal/config/document"
	"spillway/handler/internal/config/jsondoc"
	"spillway/handler/internal/consumer"
	"spillway/handler/internal/openai/usage"
)

// Print writes the configuration for people. Secrets are never shown, only where
// they are kept.
func (cfg *Config) Print(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	p := &printer{w: t}
	cfg.Settings.print(p)
	for i := range cfg.Pools {
		cfg.printPool(p, &cfg.Pools[i])
	}
	cfg.printPolicies(p)
	for i := range cfg.Consumers {
		cfg.printConsumer(p, i)
	}
	return cmp.Or(p.err, t.Flush())
}

// printPolicies prints the pool's policies and those of the backends that have
// their own.
func (cfg *Config) printPolicies(p *printer) {
	d := cfg.Document
	p.line("breaker", "%v", d.CircuitBreaker)
	p.line("throttle", "%v", d.Throttle)
	for i := range d.Backends {
		b := &d.Backends[i]
		if b.CircuitBreaker != nil {
			p.line("breaker of "+b.Name, "%v", d.BreakerOf(b))
		}
		if b.Throttle != nil {
			p.line("throttle of "+b.Name, "%v", d.ThrottleOf(b))
		}
	}
}

// printer keeps the first error.
type printer struct {
	w   io.Writer
	err error
}

func (p *printer) line(name, format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.w, name+"\t"+format+"\n", args...)
	}
}

func (s *Settings) print(p *printer) {
	p.line("listen", "%s%s", s.Listen, pick(s.Standalone, " (standalone)", " (behind the Functions host)"))
	p.line("instance", "%s%s", s.Instance, pick(s.Region != "", " in "+s.Region, ""))
	p.line("state", "%s, tables %s*, read every %v", s.State, s.StateTable, jsondoc.Duration(s.StateRefresh))
	p.line("callers", "%s", s.Callers)
	p.line("operators", "%s", s.operators())
	p.line("timeouts", "first token %v, response %v, commit after %v, heartbeat %v, longest wait %v",
		jsondoc.Duration(s.FirstTokenTimeout), jsondoc.Duration(s.ResponseTimeout), jsondoc.Duration(s.CommitAfter), jsondoc.Duration(s.Heartbeat), jsondoc.Duration(s.MaxWait))
	p.line("limits", "bodies up to %d bytes, memory %s", s.MaxBody, pick(s.MemoryLimit > 0, fmt.Sprintf("%d bytes", s.MemoryLimit), "by the instance"))
	p.line("telemetry", "log level %s%s%s%s", strings.ToLower(s.LogLevel.String()),
		pick(s.Expose, ", backends exposed to callers", ""), pick(s.Transcripts != "", ", transcripts in "+s.Transcripts, ""), pick(s.OTLP != "", ", telemetry to "+s.OTLP, ""))
}

// operators is who may use /ops.
func (s *Settings) operators() string {
	var ways []string
	if s.OperatorKey.Set() {
		ways = append(ways, "by key (SPILLWAY_OPERATOR_KEY)")
	}
	if s.OperatorRole != "" {
		ways = append(ways, "by Entra token with the app role "+s.OperatorRole)
	}
	if len(ways) == 0 {
		return pick(s.Standalone && s.Loopback, "everyone on this machine", "nobody: SPILLWAY_OPERATOR_KEY is not set")
	}
	return strings.Join(ways, ", ")
}

func pick(is bool, yes, no string) string {
	if is {
		return yes
	}
	return no
}

// String is where state lives, without secrets.
func (c Connection) String() string {
	switch {
	case c.Memory():
		return "memory"
	case c.Text.Set():
		return "table by " + c.Setting
	}
	return "table " + c.TableURL + " by identity" + pick(c.ClientID != "", " "+c.ClientID, "") + " (" + c.Setting + ")"
}

// String is how callers are let in.
func (c Callers) String() string {
	switch {
	case c.None():
		return "everyone"
	case c.Key && c.Entra:
		return "by key or Entra token for " + c.Audience
	case c.Entra:
		return "by Entra token for " + c.Audience
	}
	return "by key"
}

func (cfg *Config) printPool(p *printer, from *balancer.Pool) {
	words := []string{[...]string{"weighted", "round-robin", "least-busy", "lowest-latency"}[from.Strategy]}
	if len(from.Aliases) > 0 {
		words = append(words, "also "+strings.Join(from.Aliases, ", "))
	}
	if from.Attempts > 0 {
		words = append(words, fmt.Sprintf("at most %d attempts", from.Attempts))
	}
	if len(from.Fallbacks) > 0 {
		words = append(words, "falls back to "+strings.Join(from.Fallbacks, ", "))
	}
	if from.Price.Currency != "" {
		words = append(words, priceText(&from.Price)+" (per million tokens"+pick(hasOwnPrice(from), ", where a backend has no price of its own)", ")"))
	}
	p.line("model "+from.Model, "%s", strings.Join(words, "; "))
	line := slices.Clone(from.Backends)
	slices.SortStableFunc(line, func(a, b balancer.Backend) int { return cmp.Compare(a.Priority, b.Priority) })
	for _, b := range line {
		p.line(fmt.Sprintf("  priority %d", b.Priority), "%s: deployment %s at %s, weight %d%s%s%s", b.Name, cmp.Or(b.Deployment, "as called"),
			cfg.Resources[b.Index].Endpoint, b.Weight, pick(b.Provisioned, ", provisioned", ""), pick(b.Geography != "", ", in "+b.Geography, ""), priceHere(&b))
	}
}

// hasOwnPrice reports whether a backend has another price than the model.
func hasOwnPrice(p *balancer.Pool) bool {
	return slices.ContainsFunc(p.Backends, func(b balancer.Backend) bool { return b.Price != nil })
}

// priceHere is what answers cost at a backend that has a price of its own.
func priceHere(b *balancer.Backend) string {
	if b.Price == nil {
		return ""
	}
	return ", " + priceText(b.Price)
}

// priceText lists what is priced, and what else costs as much.
func priceText(p *usage.Price) string {
	var words []string
	for _, part := range []struct {
		price float64
		name  string
	}{
		{p.Input, "prompt"},
		{p.CachedInput, "cached"},
		{p.CacheWrite, "cache writes"},
		{p.CacheWriteHour, "cache writes for an hour"},
		{p.AudioInput, "audio in"},
		{p.Output, "completion"},
		{p.Reasoning, "reasoning"},
		{p.AudioOutput, "audio out"},
		{p.Image, "each image"},
		{p.AudioSecond, "each second of audio"},
	} {
		if part.price > 0 {
			words = append(words, fmt.Sprintf("%s %g", part.name, part.price))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(p.Tiers)) {
		tier := p.Tiers[name]
		words = append(words, fmt.Sprintf("at tier %s: %s", name, priceText(&tier)))
	}
	return strings.TrimSpace(p.Currency + " " + cmp.Or(strings.Join(words, ", "), "0"))
}

func (cfg *Config) printConsumer(p *printer, i int) {
	who := &cfg.Consumers[i]
	var words []string
	for _, key := range cfg.Keys {
		if key.Consumer == i {
			words = append(words, "key in "+key.Setting)
		}
	}
	for _, id := range cfg.Entra {
		if id.Consumer == i {
			words = append(words, "Entra "+strings.TrimSpace(strings.Join([]string{id.AppID, id.Group, id.Role}, " ")))
		}
	}
	words = append(words, pick(len(who.Models) > 0, "models "+strings.Join(who.Models, ", "), "all models"))
	if len(who.Geographies) > 0 {
		words = append(words, "only in "+strings.Join(who.Geographies, ", "))
	}
	words = append(words, limitWords(&consumer.Limits{
		TokensPerMinute: who.TokensPerMinute, RequestsPerMinute: who.RequestsPerMinute, TokensPerMonth: who.TokensPerMonth, BudgetPerMonth: who.BudgetPerMonth,
	})...)
	if who.Concurrency > 0 {
		words = append(words, fmt.Sprintf("%d at once", who.Concurrency))
	}
	if who.MaxRequestTokens > 0 {
		words = append(words, fmt.Sprintf("%d tokens/request", who.MaxRequestTokens))
	}
	for _, model := range slices.Sorted(maps.Keys(who.PerModel)) {
		limits := who.PerModel[model]
		words = append(words, "of "+model+" "+strings.Join(limitWords(&limits), ", "))
	}
	if who.PerCaller != nil {
		words = append(words, "each caller "+strings.Join(limitWords(&who.PerCaller.Limits), ", "))
	}
	p.line("consumer "+who.Name, "%s", strings.Join(append(words, pick(who.Class == consumer.Batch, "batch", "interactive")), "; "))
}

// limitWords lists the limits that are set.
func limitWords(l *consumer.Limits) []string {
	var words []string
	for _, limit := range []struct {
		n    float64
		unit string
	}{
		{float64(l.TokensPerMinute), "%.0f tokens/min"},
		{float64(l.RequestsPerMinute), "%.0f requests/min"},
		{float64(l.TokensPerMonth), "%.0f tokens/month"},
		{l.BudgetPerMonth, "%.2f money/month"},
	} {
		if limit.n > 0 {
			words = append(words, fmt.Sprintf(limit.unit, limit.n))
		}
	}
	return words
}

// Validate is `spillway validate`: it loads the configuration of this process
// and writes the configuration and its warnings to w. The error holds
// everything that is wrong, one fault a line.
func Validate(w io.Writer) error {
	cfg, err := Load()
	if err != nil {
		return err
	}
	if err := cfg.Print(w); err != nil {
		return fmt.Errorf("print configuration: %w", err)
	}
	for _, warning := range cfg.Warnings {
		if _, err := fmt.Fprintf(w, "warning: %v\n", warning); err != nil {
			return fmt.Errorf("print warnings: %w", err)
		}
	}
	_, err = fmt.Fprintf(w, "valid: %d backends, %d models, %d consumers\n", len(cfg.Resources), len(cfg.Pools), len(cfg.Consumers))
	return err
}

// PrintSchema is `spillway schema`.
func PrintSchema(w io.Writer) error {
	_, err := w.Write(document.Schema())
	return err
}
