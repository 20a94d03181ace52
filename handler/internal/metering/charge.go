package metering

import (
	"cmp"
	"net/http"
	"time"

	"spillway/handler/internal/balancer"
	"spillway/handler/internal/health"
	"spillway/handler/internal/openai/usage"
	"spillway/handler/internal/proxy"
	"spillway/handler/internal/quota"
)

// Charge is what one attempt of a request used.
type Charge struct {
	Pool      *balancer.Pool // whose model served
	Backend   *balancer.Backend
	Tokens    usage.Tokens
	Tier      string  // the service tier, as the backend names it; "" = not told
	Cost      float64 // in the currency of the pool's price
	Delivered bool    // its answer was delivered, in part at least
	Broken    bool    // Delivered, but not to its end
	Estimated bool    // the backend did not report it
	Lasting   bool    // Estimated, and it goes on: the limits of a month keep all that was reserved
	Overhead  bool    // of an attempt that was of no use to the caller: recorded, and charged to no limit

	Caller string    // as reports name it; "" = that of the request
	At     time.Time // for which hour it is recorded; zero = that of the request's end
	// Correction: of an earlier request, whose estimate is Withdrawn and replaced by
	// what was reported. It is part of no total of this one.
	Correction, Withdrawn bool
}

// Settle charges what the attempts of a request used: to the limits what the
// caller was served or made the backend do, and returns all of it for the records.
// It ends the reservation.
func (m *Meter) Settle(x *Reservation, r *proxy.Request, result *proxy.Result) []Charge {
	charges := m.charges(x, r, result)
	if x == nil {
		return charges
	}
	var used []quota.Usage
	settle := x.quota.Settle
	for i := range charges {
		if c := &charges[i]; !c.Overhead {
			used = append(used, c.usage())
		}
		if charges[i].Lasting {
			settle = x.quota.Keep
		}
	}
	if len(used) == 0 && sent(result) {
		used = append(used, quota.Usage{Model: result.Pool.Model})
	}
	settle(used...)
	return charges
}

// usage is what the limits are charged.
func (c *Charge) usage() quota.Usage {
	return quota.Usage{Model: c.Pool.Model, Tokens: c.Tokens, Cost: c.Cost}
}

// price sets the cost.
func (c *Charge) price() {
	p := c.Pool.PriceAt(c.Backend).ForTier(c.Tier)
	c.Cost = p.Cost(c.Tokens)
}

// sent reports whether a backend may have received the request.
func sent(result *proxy.Result) bool {
	for i := range result.Attempts {
		if a := &result.Attempts[i]; a.Status != 0 || !unsent(a.Outcome.Reason) {
			return true
		}
	}
	return false
}

// lostHedge is the reason of an attempt that ended because another one of the
// same request answered.
const lostHedge = "another attempt won"

// unsent reports whether an attempt ended for this reason before its request was
// sent.
func unsent(reason string) bool {
	switch reason {
	case "credential unavailable", "no token to pass through", "probe lost", "caller's body broke", "body sent already",
		"dns", "refused", "unreachable", "tls", "timeout":
		return true
	}
	return false
}

// charges lists what the attempts used.
func (m *Meter) charges(x *Reservation, r *proxy.Request, result *proxy.Result) []Charge {
	var all []Charge
	delivered := deliveredAttempt(result)
	for i := range result.Attempts {
		a := &result.Attempts[i]
		abandoned := a.Outcome.Class == health.Abandoned && a.Status < http.StatusBadRequest && !unsent(a.Outcome.Reason) && !r.Operation.Free()
		var c Charge
		switch promised := x.promisedFor(a.Backend); {
		case promised != nil && (i == delivered || abandoned):
			c = *promised
			c.Delivered, c.Broken = i == delivered, i == delivered && result.Delivery.Broken
			all = append(all, c)
			continue
		case i == delivered:
			c = m.delivered(r, result, a)
		case a.Wasted != usage.Tokens{} && (!abandoned || a.Outcome.Reason == lostHedge):
			c = Charge{Tokens: a.Wasted, Tier: tierOf(r), Overhead: true}
		case a.Filtered:
			c = m.filteredPrompt(r, result.Pool)
		case abandoned:
			c = Charge{Tokens: m.estimate(r, result.Pool, a, &proxy.Delivery{}), Tier: tierOf(r), Estimated: true, Overhead: a.Outcome.Reason == lostHedge, Lasting: goesOn(r, &proxy.Delivery{})}
			if a.Wasted.Prompt > 0 { // the usage so far, as the beginning of a stream reports it
				reported := a.Wasted
				reported.Completion = max(reported.Completion, c.Tokens.Completion)
				c.Tokens = reported
			}
		default:
			continue
		}
		c.Pool, c.Backend = m.poolOf(result, a.Backend), a.Backend
		c.price()
		all = append(all, c)
	}
	return all
}

// deliveredAttempt is the index of the attempt whose answer was delivered; -1 =
// none was.
func deliveredAttempt(result *proxy.Result) int {
	for i := len(result.Attempts) - 1; i >= 0 && result.ServedBy != nil; i-- {
		if result.Attempts[i].Backend == result.ServedBy {
			return i
		}
	}
	return -1
}

// poolOf is the pool for which a backend was tried: the last one, or one that has
// it as a fallback.
func (m *Meter) poolOf(result *proxy.Result, b *balancer.Backend) *balancer.Pool {
	for i := range result.Pool.Backends {
		if result.Pool.Backends[i].Slot == b.Slot {
			return result.Pool
		}
	}
	if int(b.Slot) < len(m.Pools) && m.Pools[b.Slot] != nil {
		return m.Pools[b.Slot]
	}
	return result.Pool
}

// filteredPrompt is the charge for a prompt that the content filter refused, which is
// billed (docs/azure-openai.md#content-filter).
func (m *Meter) filteredPrompt(r *proxy.Request, p *balancer.Pool) Charge {
	e := m.expect(keyOf(r, p.Model))
	return Charge{Tokens: usage.Tokens{Prompt: e.Prompt(r.Parsed.PromptBytes)}, Tier: tierOf(r), Estimated: true}
}

// delivered is the charge for the answer that was delivered. The caller's own errors
// use nothing, but for what the content filter had to read.
func (m *Meter) delivered(r *proxy.Request, result *proxy.Result, a *proxy.Attempt) Charge {
	d := &result.Delivery
	c := Charge{Tokens: d.Usage, Tier: d.ServiceTier, Delivered: true, Broken: d.Broken}
	switch {
	case a.Filtered && !r.Operation.Free():
		c = m.filteredPrompt(r, result.Pool)
		c.Delivered = true
		return c
	case a.Status >= http.StatusBadRequest, r.Operation.Free():
		return c
	case d.Usage == usage.Tokens{}:
		c.Tokens, c.Estimated, c.Lasting = m.estimate(r, result.Pool, a, d), true, goesOn(r, d)
		c.Tier = cmp.Or(c.Tier, tierOf(r))
	case d.Broken && d.FinishReason == "", d.LaterText > 0 && d.Usage.Seconds == 0: // the usage so far, which some services report from the beginning on
		c.Tokens.Completion = max(c.Tokens.Completion, m.estimate(r, result.Pool, a, d).Completion)
		c.Estimated, c.Tier = true, cmp.Or(c.Tier, tierOf(r))
	case !d.Broken:
		m.learn(r, result.Pool.Model, sample(r, a, d))
	}
	c.Tokens.Images = images(r)
	return c
}

// Total is what the caller is charged: all but the overhead.
func Total(charges []Charge) (t usage.Tokens, cost float64, estimated bool) {
	for i := range charges {
		if c := &charges[i]; !c.Overhead && !c.Correction {
			t, cost, estimated = t.Add(c.Tokens), cost+c.Cost, estimated || c.Estimated
		}
	}
	return t, cost, estimated
}

// goesOn reports whether what was begun was not seen to end.
func goesOn(r *proxy.Request, d *proxy.Delivery) bool {
	return startsBackground(r) && !d.Stored.Ended
}

func sample(r *proxy.Request, a *proxy.Attempt, d *proxy.Delivery) usage.Sample {
	return usage.Sample{
		Choices: r.Parsed.Choices, PromptBytes: r.Parsed.PromptBytes, Tokens: d.Usage, TextBytes: d.TextBytes,
		Duration: a.Duration, FirstToken: firstToken(r, a, d),
	}
}

// firstToken is when the first token came; 0 = unknown, as of an answer that comes
// whole.
func firstToken(r *proxy.Request, a *proxy.Attempt, d *proxy.Delivery) time.Duration {
	if d.FirstToken.IsZero() || !r.Parsed.Stream {
		return 0
	}
	return d.FirstToken.Sub(a.Start)
}

// estimate is what an attempt used that did not report its usage: its prompt, and
// the larger of what was relayed and what the model usually generates in the time,
// within what the caller allows.
func (m *Meter) estimate(r *proxy.Request, p *balancer.Pool, a *proxy.Attempt, d *proxy.Delivery) usage.Tokens {
	e := m.expect(keyOf(r, p.Model))
	t := usage.Tokens{Prompt: e.Prompt(r.Parsed.PromptBytes), Images: images(r), Seconds: seconds(r, usualSpeech)}
	if text := e.Text(d.TextBytes); text > 0 {
		t.Completion = text + e.Reasoning
	}
	switch {
	case goesOn(r, d): // whether its caller stays or not, so time tells nothing
		t.Completion = max(t.Completion, e.Output*max(1, r.Parsed.Choices))
		if e.Answers == 0 {
			t.Completion = maxOutput(r, p)
		}
	case e.Answers > 0 || t.Completion == 0:
		t.Completion = max(t.Completion, e.Generated(a.Duration, firstToken(r, a, d)))
	}
	t.Completion = min(t.Completion, maxOutput(r, p))
	if n := spoken(r, p); n > 0 {
		t.Completion, t.AudioOutput = n, n
	}
	return t
}
