package telemetry

import (
	"time"

	"spillway/handler/internal/api"
	"spillway/handler/internal/balancer"
	"spillway/handler/internal/health"
	"spillway/handler/internal/metering"
	"spillway/handler/internal/proxy"
)

// result writes which backends were tried, which were skipped and why, and what
// it cost.
func (f *jsonLine) result(x *api.RequestRecord) {
	r := x.Result
	if r.ServedBy != nil {
		f.text("backend", r.ServedBy.Name).text("region", r.ServedBy.Region).number("priority", int64(r.ServedBy.Priority))
		f.flag("spilled", Spilled(r))
	}
	if r.Pool.Model != x.Model {
		f.text("fallback_model", r.Pool.Model)
	}
	f.key("attempts").raw("[")
	for i := range r.Attempts {
		f.attempt(&r.Attempts[i])
	}
	f.raw("]")
	f.skipped(x)
	f.number("state_version", int64(r.Decision.Version))
	if r.Waited > 0 {
		f.millis("waited_ms", r.Waited)
	}
	if !r.RetryAt.IsZero() {
		f.millis("reopens_ms", max(0, r.RetryAt.Sub(x.Start.Add(x.Duration))))
	}
	f.millis("overhead_ms", overhead(x))
	f.delivery(x)
}

// delivery writes what the caller received, and what it cost.
func (f *jsonLine) delivery(x *api.RequestRecord) {
	d := &x.Result.Delivery
	if !d.FirstToken.IsZero() {
		f.millis("first_token_ms", d.FirstToken.Sub(x.Start))
	}
	f.text("finish", d.FinishReason).nonZero("bytes", d.Bytes).flag("broken", d.Broken).flag("caller_left", d.CallerLeft)
	f.text("service_tier", d.ServiceTier).text("spilled_from", d.Spillover.From).text("spilled_to", d.Spillover.To).text("spilled_for", d.Spillover.Error)
	used, cost, estimated := metering.Total(x.Charges)
	if used.Prompt+used.Completion > 0 {
		f.number("prompt_tokens", used.Prompt).number("cached_tokens", used.Cached)
		f.number("completion_tokens", used.Completion).number("reasoning_tokens", used.Reasoning)
	}
	f.flag("estimated", estimated)
	if cost > 0 {
		f.decimal("cost", cost, 6).text("currency", x.Result.Pool.Price.Currency)
	}
	for i := range x.Charges {
		if c := &x.Charges[i]; c.Correction {
			f.correction(c)
		}
	}
}

// correction writes what an earlier request was charged, and what replaces that.
func (f *jsonLine) correction(c *metering.Charge) {
	prefix := "corrected_"
	if c.Withdrawn {
		prefix = "withdrawn_"
	}
	f.number(prefix+"prompt_tokens", c.Tokens.Prompt).number(prefix+"completion_tokens", c.Tokens.Completion)
	f.decimal(prefix+"cost", c.Cost, 6)
}

func (f *jsonLine) attempt(a *proxy.Attempt) {
	f.object().text("backend", a.Backend.Name).text("verdict", a.Outcome.Class.String()).text("why", a.Outcome.Reason)
	f.nonZero("status", int64(a.Status))
	if a.Outcome.RawWait > 0 {
		f.millis("asked_wait_ms", a.Outcome.RawWait)
	}
	f.flag("probe", a.Probe).flag("hedge", a.Hedge).flag("repeat", a.Repeat).flag("trial", a.Trial).flag("resent", a.Resent).flag("silent", a.Silent)
	if a.SilentAfter > 0 {
		f.millis("silent_after_ms", a.SilentAfter)
	}
	f.nonZero("wasted_tokens", a.Wasted.Total()).millis("ms", a.Duration).raw("}")
}

// skipped writes the candidates that their state kept back and that were not tried,
// and for how long it does.
func (f *jsonLine) skipped(x *api.RequestRecord) {
	d := &x.Result.Decision
	any := false
	for i := range d.Candidates {
		c := &d.Candidates[i]
		if !proxy.PassedOver(c, x.Result.Attempts) {
			continue
		}
		if !any {
			f.key("skipped").raw("[")
		}
		any = true
		f.candidate(c, x.Start).raw("}")
	}
	if any {
		f.raw("]")
	}
}

func (f *jsonLine) candidate(c *balancer.Candidate, now time.Time) *jsonLine {
	f.object().text("backend", c.Backend.Name).text("why", string(c.Reason))
	f.text("cause", c.Cause)
	if c.Own {
		f.text("scope", "instance")
	}
	if left := c.Until.Sub(now); left > 0 {
		f.millis("for_ms", left)
	}
	return f
}

// order writes the eligible candidates, best first.
func (f *jsonLine) order(r *proxy.Result) {
	f.key("order").raw("[")
	for i := range r.Decision.Candidates[:r.Decision.Eligible] {
		c := &r.Decision.Candidates[i]
		f.object().text("backend", c.Backend.Name).number("priority", int64(c.Backend.Priority)).number("weight", int64(c.Backend.Weight))
		f.text("why", string(c.Reason)).raw("}")
	}
	f.raw("]")
}

// permitted reports whether the consumer may use the candidate and it has a
// weight: only its health keeps it out.
func permitted(c *balancer.Candidate) bool {
	switch c.Reason {
	case balancer.OutsideGeographies, balancer.ReservedPriority, balancer.ZeroWeight:
		return false
	case health.NotSkipped, health.SkipDrained, health.SkipOpen, health.SkipProbing, health.SkipThrottled, balancer.Recovering:
	}
	return true
}
