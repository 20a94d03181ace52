package metering

import (
	"encoding/json"
	"net/http"
	"time"

	"spillway/handler/internal/balancer"
	"spillway/handler/internal/openai/usage"
	"spillway/handler/internal/proxy"
	"spillway/handler/internal/quota"
)

// due is what a request was charged whose usage is reported to a later one, perhaps
// on another instance: that of a background response.
type due struct {
	Model      string     `json:"model"`
	Backend    string     `json:"backend"`
	Tier       string     `json:"tier,omitempty"`
	At         int64      `json:"at"` // Unix milliseconds
	Prompt     int64      `json:"prompt"`
	Completion int64      `json:"completion"`
	Cost       float64    `json:"cost,omitempty"`
	Broken     bool       `json:"broken,omitempty"`
	Kept       quota.Kept `json:"kept"`
}

// lasting is the charge for a background response that goes on; nil = there is none.
func lasting(r *proxy.Request, result *proxy.Result, charges []Charge) *Charge {
	stored := &result.Delivery.Stored
	for i := range charges {
		c := &charges[i]
		if c.Delivered && c.Estimated && r.Parsed.Background && stored.ID != "" && !stored.Ended && result.Status() < http.StatusMultipleChoices {
			return c
		}
	}
	return nil
}

// keep charges an estimate that is to be corrected.
func (m *Meter) keep(x *Reservation, c *Charge) {
	d := due{
		Model: c.Pool.Model, Backend: c.Backend.Name, Tier: c.Tier, Prompt: c.Tokens.Prompt, Completion: c.Tokens.Completion, Cost: c.Cost,
		At: time.Now().UnixMilli(), Broken: c.Broken,
	}
	if x != nil {
		d.Kept = x.quota.Keep(quota.Usage{Model: d.Model, Tokens: c.Tokens, Cost: c.Cost})
	}
	text, err := json.Marshal(d)
	if err != nil {
		panic("metering: plain values did not encode: " + err.Error())
	}
	c.Due, c.At, c.Caller = string(text), time.UnixMilli(d.At), d.Kept.Caller
}

// Correct replaces the estimate that a background response was charged, due, by what
// it reports in its last state: in the limits per month, and in the records by the
// returned charges. Of one that reports nothing, as when it was cancelled, the
// estimate is cut to what is usually generated in the time that it had.
func (m *Meter) Correct(r *proxy.Request, text string, stored *proxy.Stored, tier string) []Charge {
	var d due
	if json.Unmarshal([]byte(text), &d) != nil {
		return nil
	}
	pool, backend := m.placeOf(&d)
	if pool == nil {
		return nil // no longer configured, and without a price
	}
	k := keyOf(r, d.Model)
	k.operation, k.stream = "responses", false
	was := Charge{
		Pool: pool, Backend: backend, Tier: d.Tier, Tokens: usage.Tokens{Prompt: d.Prompt, Completion: d.Completion}, Cost: d.Cost,
		Delivered: true, Broken: d.Broken, Estimated: true, Caller: d.Kept.Caller, At: time.UnixMilli(d.At), Correction: true, Withdrawn: true,
	}
	is := was
	is.Withdrawn = false
	if stored.Reported {
		is.Tokens, is.Tier, is.Estimated = stored.Usage, tier, false
		m.learnKind(k, usage.Sample{Tokens: stored.Usage})
	} else {
		e := m.expect(k)
		is.Tokens.Completion = min(d.Completion, e.Generated(time.Since(was.At), 0))
	}
	price := pool.PriceAt(backend).ForTier(is.Tier)
	is.Cost = price.Cost(is.Tokens)
	if m.Limiter != nil {
		m.Limiter.Correct(r.Consumer, d.Kept, quota.Usage{Model: d.Model, Tokens: was.Tokens, Cost: was.Cost}, quota.Usage{Model: d.Model, Tokens: is.Tokens, Cost: is.Cost})
	}
	return []Charge{was, is}
}

// placeOf is the pool and the backend that were charged for; nil = they are not
// configured.
func (m *Meter) placeOf(d *due) (*balancer.Pool, *balancer.Backend) {
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
