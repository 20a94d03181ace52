package metering

import (
	"encoding/json"
	"time"

	"spillway/handler/internal/balancer"
	"spillway/handler/internal/openai/usage"
	"spillway/handler/internal/proxy"
	"spillway/handler/internal/quota"
)

// promise is what a background response will be charged, whose usage is reported
// later, perhaps to another instance: an estimate that is to be corrected.
type promise struct {
	Model      string     `json:"model"`
	Backend    string     `json:"backend"`
	Tier       string     `json:"tier,omitempty"`
	At         int64      `json:"at"` // Unix milliseconds
	Prompt     int64      `json:"prompt"`
	Completion int64      `json:"completion"`
	Cost       float64    `json:"cost,omitempty"`
	Kept       quota.Kept `json:"kept"`
}

// Promise fixes what the background response that a backend has begun will be
// charged, before the caller has its id: by [Meter.Settle], whatever becomes of its
// delivery. It returns what is due, for the first who sees the response in its last
// state: [Meter.Correct], or [Reservation.Fulfil] where that is the request itself.
// "" = it is no background response.
func (m *Meter) Promise(x *Reservation, r *proxy.Request, a *proxy.BackendResponse) (due string) {
	if x == nil || !startsBackground(r) {
		return ""
	}
	c := Charge{Pool: m.poolOf(a.Result, a.Backend), Backend: a.Backend, Tier: tierOf(r), At: time.Now()}
	c.Tokens = m.estimate(r, c.Pool, &proxy.Attempt{}, &proxy.Delivery{})
	due, promised := x.promise(&c)
	x.promised.Store(promised)
	return due
}

// Raise promises more for a response that goes on, if more than was promised has been
// relayed. replace replaces what is due, unless it was taken.
func (m *Meter) Raise(x *Reservation, r *proxy.Request, result *proxy.Result, replace func(due string) bool) {
	i := deliveredAttempt(result)
	if i < 0 || x.promisedFor(result.ServedBy) == nil {
		return
	}
	c := *x.promisedFor(result.ServedBy)
	promised := c.Tokens.Completion
	c.Tokens = m.estimate(r, c.Pool, &result.Attempts[i], &result.Delivery)
	if c.Tokens.Completion <= promised {
		return
	}
	if due, more := x.promise(&c); replace(due) {
		x.promised.Store(more)
	}
}

// promise prices a charge, and returns it with what is due.
func (x *Reservation) promise(c *Charge) (due string, promised *Charge) {
	c.price()
	p := promise{
		Model: c.Pool.Model, Backend: c.Backend.Name, Tier: c.Tier, At: c.At.UnixMilli(),
		Prompt: c.Tokens.Prompt, Completion: c.Tokens.Completion, Cost: c.Cost, Kept: x.quota.Promise(c.usage()),
	}
	text, err := json.Marshal(p)
	if err != nil {
		panic("metering: plain values did not encode: " + err.Error())
	}
	charge := p.charge(c.Pool, c.Backend)
	return string(text), &charge
}

// startsBackground reports whether a request starts a response that goes on without
// its caller.
func startsBackground(r *proxy.Request) bool {
	return r.Parsed.Background && r.Operation.Name == "responses"
}

// charge is what was promised.
func (p *promise) charge(pool *balancer.Pool, b *balancer.Backend) Charge {
	return Charge{
		Pool: pool, Backend: b, Tier: p.Tier, Tokens: usage.Tokens{Prompt: p.Prompt, Completion: p.Completion}, Cost: p.Cost,
		Delivered: true, Estimated: true, Lasting: true, Caller: p.Kept.Caller, At: time.UnixMilli(p.At),
	}
}

// Fulfil records that the request itself saw the end of its response, and took what
// was due: it is charged what it used.
func (x *Reservation) Fulfil() {
	if x != nil {
		x.promised.Store(nil)
	}
}

// promisedFor is the charge that was promised for an attempt at this backend; nil =
// none.
func (x *Reservation) promisedFor(b *balancer.Backend) *Charge {
	if x == nil {
		return nil
	}
	c := x.promised.Load()
	if c == nil || c.Backend != b {
		return nil
	}
	return c
}

// Correct replaces the estimate that a background response was charged, which was
// due, by what it reports in its last state: in the limits per month, and in the
// records by the returned charges. Of one that reports nothing, as when it was
// cancelled, the estimate is cut to what is usually generated in the time that it had.
func (m *Meter) Correct(r *proxy.Request, due string, stored *proxy.Stored, tier string) []Charge {
	var p promise
	if json.Unmarshal([]byte(due), &p) != nil {
		return nil
	}
	pool, backend := m.placeOf(&p)
	if pool == nil {
		return nil // no longer configured, and without a price
	}
	k := keyOf(r, p.Model)
	k.operation, k.stream = "responses", false
	was := p.charge(pool, backend)
	was.Correction, was.Lasting = true, false
	is := was
	was.Withdrawn = true
	if stored.Reported {
		is.Tokens, is.Tier, is.Estimated = stored.Usage, tier, false
		m.learnKind(k, usage.Sample{Tokens: stored.Usage})
	} else {
		e := m.expect(k)
		is.Tokens.Completion = min(p.Completion, e.Generated(time.Since(was.At), 0))
	}
	is.price()
	if m.Limiter != nil {
		m.Limiter.Correct(r.Consumer, p.Kept, was.usage(), is.usage())
	}
	return []Charge{was, is}
}

// placeOf is the pool and the backend that were charged for; nil = they are not
// configured.
func (m *Meter) placeOf(d *promise) (*balancer.Pool, *balancer.Backend) {
	for _, p := range m.Pools {
		if p == nil || p.Model != d.Model {
			continue
		}
		for i := range p.Backends {
			if p.Backends[i].Name == d.Backend {
				return p, &p.Backends[i]
			}
		}
	}
	return nil, nil
}
