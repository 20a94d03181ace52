package replay

import (
	"cmp"
	"slices"
	"time"

	"spillway/handler/internal/balancer"
	"spillway/handler/internal/config"
	"spillway/handler/internal/config/pricelist"
	"spillway/handler/internal/openai/usage"
	"spillway/handler/internal/proxy"
	"spillway/handler/internal/telemetry"
)

// Outcome is what would have happened.
type Outcome struct {
	Name     string    `json:"name"`
	Begin    time.Time `json:"begin"`
	End      time.Time `json:"end"`
	Requests int       `json:"requests"`
	Served   int       `json:"served"`
	Spilled  int       `json:"spilled"`   // served by a lower group than the best that they may use, or by a fallback
	Refused  int       `json:"refused"`   // with any error
	Throttle int       `json:"throttled"` // 429s of backends, which the callers do not see when another one serves
	Waited   int       `json:"waited"`    // requests that waited for a throttled pool

	RefusedFor map[string]int `json:"refusedFor"`
	WaitTime   Milliseconds   `json:"waitTime"`   // of all requests together
	Added      Percentiles    `json:"added"`      // what refusals and waits put before the first content
	FirstToken Percentiles    `json:"firstToken"` // from the arrival to the first content
	Currency   string         `json:"currency"`
	TokenCost  float64        `json:"tokenCost"`       // of pay-as-you-go
	PTUCost    float64        `json:"provisionedCost"` // over the time of the log
	Unpriced   []string       `json:"unpriced,omitempty"`
	Strangers  []string       `json:"strangers,omitempty"` // consumers that the document does not have
	Backends   []ByBackend    `json:"backends"`
	Consumers  []ByConsumer   `json:"consumers"`
	Step       Milliseconds   `json:"step"`
	Intervals  []Interval     `json:"intervals"`
}

// Milliseconds is a duration as JSON has it.
type Milliseconds float64

// Percentiles are of times in milliseconds.
type Percentiles struct {
	P50 float64 `json:"p50"`
	P95 float64 `json:"p95"`
	P99 float64 `json:"p99"`
}

// ByBackend is what one deployment did.
type ByBackend struct {
	Backend     string  `json:"backend"`
	Model       string  `json:"model"`
	Provisioned bool    `json:"provisioned"`
	Units       int     `json:"units,omitempty"`
	Limit       string  `json:"limit"` // what it can do
	Served      int     `json:"served"`
	Throttled   int     `json:"throttled"`
	Prompt      int64   `json:"promptTokens"`
	Cached      int64   `json:"cachedTokens"`
	Completion  int64   `json:"completionTokens"`
	Cost        float64 `json:"cost"`        // of tokens, or of the units
	Utilization float64 `json:"utilization"` // percent, of provisioned capacity
	Busiest     float64 `json:"busiest"`     // percent, in the busiest interval
}

// ByConsumer is what one consumer got.
type ByConsumer struct {
	Consumer   string  `json:"consumer"`
	Requests   int     `json:"requests"`
	Served     int     `json:"served"`
	Spilled    int     `json:"spilled"`
	Refused    int     `json:"refused"`
	Prompt     int64   `json:"promptTokens"`
	Completion int64   `json:"completionTokens"`
	Cost       float64 `json:"cost"` // of pay-as-you-go tokens
}

// Interval is the requests that arrived within one step.
type Interval struct {
	Start       time.Time `json:"start"`
	Requests    int       `json:"requests"`
	Refused     int       `json:"refused"`
	Spilled     int       `json:"spilled"`
	Served      []int     `json:"served"`      // by Outcome.Backends
	Utilization []float64 `json:"utilization"` // percent, by Outcome.Backends; 0 of pay-as-you-go
}

// tally counts.
type tally struct {
	Outcome
	step     int64
	boundary int64 // of the interval that is being drained
	drained  []float64
	ended    []float64 // tokens drained when the last request arrived
	added    []int32   // microseconds
	first    []int32
	prices   map[*balancer.Pool]*usage.Price // of pools without a price
	list     pricelist.List
}

// stepOf is how long the intervals of a log are.
func stepOf(span time.Duration) time.Duration {
	switch {
	case span <= 3*time.Hour:
		return time.Minute
	case span <= 48*time.Hour:
		return 15 * time.Minute
	case span <= 14*24*time.Hour:
		return time.Hour
	}
	return 24 * time.Hour
}

func (t *tally) begin(w *world) {
	l := w.log
	step := stepOf(l.End().Sub(l.Begin()))
	start := l.Begin().Truncate(step)
	t.step, t.boundary, t.list = int64(step), start.Add(step).UnixNano(), pricelist.Azure()
	t.Outcome = Outcome{
		Name: w.scenario.Name, Begin: l.Begin(), End: l.End(), Requests: len(l.Records), RefusedFor: map[string]int{}, Step: Milliseconds(step.Milliseconds()),
	}
	for at := start; !at.After(l.End()); at = at.Add(step) {
		t.Intervals = append(t.Intervals, Interval{Start: at, Served: make([]int, len(w.deployments)), Utilization: make([]float64, len(w.deployments))})
	}
	for _, d := range w.deployments {
		t.Backends = append(t.Backends, ByBackend{Backend: d.Name, Model: d.Model, Provisioned: d.kind == provisioned, Units: d.units, Limit: d.limit()})
	}
	for _, name := range l.Consumers.All {
		t.Consumers = append(t.Consumers, ByConsumer{Consumer: name})
	}
	if len(t.Consumers) == 0 {
		t.Consumers = []ByConsumer{{}}
	}
	t.drained, t.ended = make([]float64, len(w.deployments)), make([]float64, len(w.deployments))
	w.at(l.End().UnixNano(), func() {
		for n, d := range w.deployments {
			t.ended[n] = d.Report(l.End()).Drained
		}
	})
	t.prices = map[*balancer.Pool]*usage.Price{}
	t.added, t.first = make([]int32, 0, len(l.Records)), make([]int32, 0, len(l.Records))
}

// limit is what the deployment can do.
func (d *deployment) limit() string {
	c := Capacity{Units: d.units, TokensPerMinute: d.TokensPerMinute + d.ProvisionedTokensPerMinute, RequestsPerMinute: d.RequestsPerMinute}
	if d.units > 0 {
		c.TokensPerMinute = 0
	}
	return c.String()
}

// reach ends the intervals that end before the instant.
func (t *tally) reach(w *world, instant int64) {
	for ; t.boundary <= instant; t.boundary += t.step {
		i := int((t.boundary-t.Intervals[0].Start.UnixNano())/t.step) - 1
		if i >= len(t.Intervals) {
			return
		}
		for n, d := range w.deployments {
			if d.ProvisionedTokensPerMinute > 0 {
				drained := d.Report(time.Unix(0, t.boundary)).Drained
				t.Intervals[i].Utilization[n] = 100 * (drained - t.drained[n]) / (float64(d.ProvisionedTokensPerMinute) * time.Duration(t.step).Minutes())
				t.drained[n] = drained
			}
		}
	}
}

func (t *tally) interval(x *Record) *Interval {
	return &t.Intervals[(x.At-t.Intervals[0].Start.UnixNano())/t.step]
}

func (t *tally) consumer(x *Record) *ByConsumer {
	return &t.Consumers[min(int(x.Consumer), len(t.Consumers)-1)]
}

func (t *tally) throttled(d *deployment) {
	t.Throttle++
	t.Backends[d.number].Throttled++
}

func (t *tally) wait(waited time.Duration) {
	if waited > 0 {
		t.Waited++
		t.WaitTime += Milliseconds(waited.Seconds() * 1000)
	}
}

func (t *tally) refuse(_ *world, x *Record, why string) {
	t.Refused++
	t.RefusedFor[why]++
	i, c := t.interval(x), t.consumer(x)
	i.Requests++
	i.Refused++
	c.Requests++
	c.Refused++
}

func (t *tally) serve(c *call, r *proxy.Result) {
	x, by := c.x, &c.tries[c.winner]
	d := c.w.slots[by.backend.Slot]
	cost := 0.0
	if d.kind == payAsYouGo {
		cost = t.priceAt(by.pool, by.backend).Cost(x.tokens())
	}
	t.Served++
	t.TokenCost += cost
	t.added = append(t.added, microseconds(by.began.Sub(c.began)))
	t.first = append(t.first, microseconds(c.first))
	b := &t.Backends[d.number]
	b.Served++
	b.Prompt, b.Cached, b.Completion, b.Cost = b.Prompt+int64(x.Prompt), b.Cached+int64(x.Cached), b.Completion+int64(x.Completion), b.Cost+cost
	who, at := t.consumer(x), t.interval(x)
	who.Requests++
	who.Served++
	who.Prompt, who.Completion, who.Cost = who.Prompt+int64(x.Prompt), who.Completion+int64(x.Completion), who.Cost+cost
	at.Requests++
	at.Served[d.number]++
	if telemetry.Spilled(r) {
		t.Spilled++
		who.Spilled++
		at.Spilled++
	}
}

func microseconds(d time.Duration) int32 { return int32(min(d.Microseconds(), 1<<31-1)) }

// priceAt is the price of the document, else that of the program's list.
func (t *tally) priceAt(p *balancer.Pool, b *balancer.Backend) *usage.Price {
	price := p.PriceAt(b)
	if price.Input > 0 || price.Output > 0 || b.Price != nil {
		t.Currency = price.Currency
		return price
	}
	known := t.prices[p]
	if known == nil {
		known = new(usage.Price)
		listed, ok := config.ListedPrice(&t.list, p.Model)
		if !ok {
			t.Unpriced = append(t.Unpriced, p.Model)
		} else {
			*known, t.Currency = listed, t.list.Currency
		}
		t.prices[p] = known
	}
	return known
}

// outcome is what was counted.
func (t *tally) outcome(w *world) *Outcome {
	hours := t.End.Sub(t.Begin).Hours()
	for n, d := range w.deployments {
		b := &t.Backends[n]
		if b.Provisioned {
			b.Cost = float64(d.units) * w.scenario.PTUPrice * hours
			t.PTUCost += b.Cost
		}
		for i := range t.Intervals {
			b.Busiest = max(b.Busiest, t.Intervals[i].Utilization[n])
		}
		if minutes := t.End.Sub(t.Begin).Minutes(); d.ProvisionedTokensPerMinute > 0 && minutes > 0 {
			b.Utilization = 100 * t.ended[n] / (float64(d.ProvisionedTokensPerMinute) * minutes)
		}
	}
	for i, name := range w.log.Consumers.All {
		if i > 0 && w.consumers[i] == nil {
			t.Strangers = append(t.Strangers, name)
		}
	}
	t.Currency = cmp.Or(t.Currency, t.list.Currency)
	t.Added, t.FirstToken = percentiles(t.added), percentiles(t.first)
	t.Consumers = slices.DeleteFunc(t.Consumers, func(c ByConsumer) bool { return c.Requests == 0 })
	slices.SortStableFunc(t.Consumers, func(a, b ByConsumer) int { return b.Requests - a.Requests })
	slices.Sort(t.Unpriced)
	return &t.Outcome
}

// percentiles are the smallest times that so many percent do not exceed.
func percentiles(us []int32) Percentiles {
	if len(us) == 0 {
		return Percentiles{}
	}
	slices.Sort(us)
	at := func(percent int) float64 { return float64(us[(len(us)*percent+99)/100-1]) / 1000 }
	return Percentiles{at(50), at(95), at(99)}
}

// Cost is what all of it costs.
func (o *Outcome) Cost() float64 { return o.TokenCost + o.PTUCost }

// ProvisionedShare is the share of the requests that provisioned capacity served.
func (o *Outcome) ProvisionedShare() float64 {
	served := 0
	for i := range o.Backends {
		if o.Backends[i].Provisioned {
			served += o.Backends[i].Served
		}
	}
	return share(served, o.Requests)
}

// share is a part of the whole; 0 of nothing.
func share(part, whole int) float64 {
	if whole == 0 {
		return 0
	}
	return float64(part) / float64(whole)
}
