package admin

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"spillway/handler/internal/accounting"
	"spillway/handler/internal/api"
	"spillway/handler/internal/balancer"
	"spillway/handler/internal/consumer"
	"spillway/handler/internal/fleet"
	"spillway/handler/internal/health"
	"spillway/handler/internal/metering"
	"spillway/handler/internal/openai/usage"
	"spillway/handler/internal/proxy"
	"spillway/handler/internal/quota"
)

// fakeFleet is a Replica with the state that a test sets, and the configuration of
// a handler with finished requests.
type fakeFleet struct {
	mu          sync.Mutex
	at          func() time.Time
	health      []health.Health
	slots       []fleet.SlotState
	counters    fleet.Counters
	fleetErr    error
	overrideErr error
	overrides   []string
	actions     []Action
	reads       int
	cfg         Config
}

func (w *fakeFleet) Snapshot() *health.Snapshot {
	w.mu.Lock()
	defer w.mu.Unlock()
	return &health.Snapshot{Version: 7, Slots: append([]health.Health(nil), w.health...)}
}

func (w *fakeFleet) PeekSnapshot() *health.Snapshot { return w.Snapshot() }

func (w *fakeFleet) Counters() fleet.Counters { return w.counters }

func (w *fakeFleet) ReadState(context.Context) (fleet.State, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.reads++
	if w.fleetErr != nil {
		return fleet.State{}, w.fleetErr
	}
	now := w.at()
	return fleet.State{
		At: now, Revision: 43, Slots: append([]fleet.SlotState(nil), w.slots...),
		Instances: []fleet.Instance{
			{Name: w.cfg.Instance, Revision: 43, At: now.Add(-4 * time.Second), Behind: 412 * time.Millisecond},
			{Name: "flex-7c41-b", Revision: 43, At: now.Add(-9 * time.Second), Behind: 388 * time.Millisecond},
			{Name: "flex-7c41-c", Revision: 41, At: now.Add(-13 * time.Second), Behind: 455 * time.Millisecond, Outage: 21 * time.Second},
		},
	}, nil
}

func (w *fakeFleet) Drain(_ context.Context, backend, who string) error {
	return w.override("drain", backend, who, func(h *health.Health, r *health.Record) {
		h.Drained, r.Override = true, health.OperatorOverride{Drained: true, Operator: who, At: w.at().UnixMilli()}
	})
}

func (w *fakeFleet) Restore(_ context.Context, backend, who string) error {
	return w.override("restore", backend, who, func(h *health.Health, r *health.Record) {
		h.Drained, r.Override = false, health.OperatorOverride{Operator: who, At: w.at().UnixMilli()}
	})
}

func (w *fakeFleet) Reset(_ context.Context, backend, who string) error {
	return w.override("reset", backend, who, func(h *health.Health, _ *health.Record) {
		h.State, h.Until, h.Throttle = health.Closed, time.Time{}, health.Throttle{}
	})
}

func (w *fakeFleet) override(verb, backend, who string, to func(*health.Health, *health.Record)) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.overrides = append(w.overrides, fmt.Sprintf("%s %s by %s", verb, backend, who))
	if w.overrideErr != nil {
		return w.overrideErr
	}
	known := false
	for i := range w.slots {
		if name := w.slots[i].Name; name == backend || len(name) > len(backend) && name[:len(backend)+1] == backend+"/" {
			before := w.slots[i].Record
			to(&w.health[i], &w.slots[i].Record)
			w.slots[i].Record.LastChange = health.Change{At: w.at().UnixMilli(), By: w.cfg.Instance, Reason: verb + " by " + who}
			w.cfg.Recent.Changed(health.Slot(i), before, w.slots[i].Record)
			known = true
		}
	}
	if !known {
		return fmt.Errorf("%w: %q; known are ptu-uksouth", fleet.ErrNoSuchBackend, backend)
	}
	return nil
}

// written is the overrides so far.
func (w *fakeFleet) written() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]string(nil), w.overrides...)
}

// backendSpec is one backend of a pool.
type backendSpec struct {
	name, region string
	priority     int
	weight       int
	provisioned  bool
}

// newFakeFleet has these models, each with these backends.
func newFakeFleet(at func() time.Time, models []string, backends []backendSpec) *fakeFleet {
	w := &fakeFleet{at: at}
	w.cfg = Config{
		Instance: "flex-7c41-a", Version: "1.2.0", Region: "uksouth", Refresh: 500 * time.Millisecond, Replica: w, Now: at,
		InFlight: func(s health.Slot) int64 { return int64(s) % 4 },
		Audit: func(_ context.Context, a Action) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.actions = append(w.actions, a)
		},
	}
	for _, model := range models {
		p := balancer.Pool{Model: model, Price: usage.Price{Currency: "USD", Input: 2.5, CachedInput: 1.25, Output: 10}}
		for i, b := range backends {
			p.Backends = append(p.Backends, balancer.Backend{
				Name: b.name, Index: i, Slot: health.Slot(len(w.cfg.Slots)), Deployment: model, Region: b.region, Geography: "eu",
				Priority: b.priority, Weight: b.weight, Provisioned: b.provisioned,
			})
			w.cfg.Slots = append(w.cfg.Slots, b.name+"/"+model)
			w.slots = append(w.slots, fleet.SlotState{Name: b.name + "/" + model})
		}
		w.cfg.Pools = append(w.cfg.Pools, p)
	}
	w.health = make([]health.Health, len(w.cfg.Slots))
	w.cfg.Recent = NewRecent(w.cfg.Instance, w.cfg.Slots, 100, at)
	w.counters = fleet.Counters{Exchanges: 120, ExchangeTime: time.Second, Disagreements: 9, Disagreement: 3 * time.Second, SinceContact: 210 * time.Millisecond, StaleRequests: 2}
	return w
}

// threeBackends is a provisioned backend and two pay-as-you-go ones.
func threeBackends() []backendSpec {
	return []backendSpec{
		{"ptu-uksouth", "uksouth", 1, 1, true},
		{"payg-sweden", "swedencentral", 2, 3, false},
		{"payg-france", "francecentral", 2, 1, false},
	}
}

func (w *fakeFleet) addConsumers() {
	w.cfg.Consumers = []consumer.Consumer{
		{Name: "team-a", TokensPerMinute: 50_000, RequestsPerMinute: 300, TokensPerMonth: 100_000_000, BudgetPerMonth: 500, WarnAt: []float64{50, 80, 95}},
		{Name: "nightly-batch", Class: consumer.Batch},
	}
	w.cfg.Quotas = func() []quota.LimitStatus {
		return []quota.LimitStatus{
			{Consumer: w.cfg.Consumers[0].Name, Limit: "budgetPerMonth", Amount: 500, Used: 500 - 212.5, Remaining: 212.5, Reset: 9 * 24 * time.Hour},
			{Consumer: w.cfg.Consumers[0].Name, Limit: "requestsPerMinute", Amount: 300, Used: 300 - 241, Remaining: 241, Reset: 12 * time.Second},
			{Consumer: w.cfg.Consumers[0].Name, Limit: "tokensPerMinute", Amount: 50_000, Used: 50_000 - 6_100, Remaining: 6_100, Reset: 40 * time.Second},
		}
	}
}

// addManyConsumers has limits that are used between 0 and 99 %.
func (w *fakeFleet) addManyConsumers(n int) {
	var limits []quota.LimitStatus
	for i := range n {
		name := fmt.Sprintf("team-%03d", i)
		w.cfg.Consumers = append(w.cfg.Consumers, consumer.Consumer{Name: name})
		for j, limit := range []string{"budgetPerMonth", "tokensPerMinute", "requestsPerMinute"} {
			limits = append(limits, quota.LimitStatus{Consumer: name, Limit: limit, Amount: 1000, Used: float64((i*37 + j*13) % 95 * 10), Remaining: float64(1000 - (i*37+j*13)%95*10), Reset: time.Hour})
		}
	}
	w.cfg.Quotas = func() []quota.LimitStatus { return limits }
}

// usageRows is generated usage of every hour.
func (w *fakeFleet) usageRows(from, to time.Time) []accounting.Row {
	var rows []accounting.Row
	for h := from; h.Before(to); h = h.Add(time.Hour) {
		for i, who := range []string{"team-a", "nightly-batch", ""} {
			for j, b := range w.cfg.Pools[0].Backends {
				n := int64(200 + 150*((h.Hour()+i*5)%9) + 90*j)
				t := usage.Tokens{Prompt: n * 800, Cached: n * 300, Completion: n * 150}
				rows = append(rows, accounting.Row{
					Hour: h, Key: accounting.Key{Consumer: who, Model: w.cfg.Pools[0].Model, Backend: b.Name, Currency: "USD"},
					Totals: accounting.Totals{Requests: n, Tokens: t, Cost: accounting.MoneyOf(w.cfg.Pools[0].Price.Cost(t))},
				})
			}
		}
	}
	return rows
}

// fakeRequest is a finished request. The last attempt is the one that served, if
// any.
type fakeRequest struct {
	id       string
	consumer *consumer.Consumer
	pool     *balancer.Pool
	attempts []proxy.Attempt
	skipped  []balancer.Candidate
	status   int
	ago      time.Duration
	took     time.Duration
	tokens   usage.Tokens
}

func (w *fakeFleet) finish(v fakeRequest) {
	began := w.at().Add(-v.ago - v.took)
	for i, at := 0, began; i < len(v.attempts); i++ {
		v.attempts[i].Start = at
		at = at.Add(v.attempts[i].Duration)
	}
	x := &api.RequestRecord{
		ID: v.id, Start: began, Duration: v.took, Method: "POST", Operation: "chat/completions", Family: "v1", Consumer: v.consumer,
		Model: v.pool.Model, Status: v.status, Result: &proxy.Result{Pool: v.pool, Attempts: v.attempts},
	}
	d := &x.Result.Decision
	d.Model, d.Version = v.pool.Model, 7
	for i := range v.attempts {
		d.Candidates = append(d.Candidates, balancer.Candidate{Backend: v.attempts[i].Backend})
	}
	d.Eligible = len(d.Candidates)
	d.Candidates = append(d.Candidates, v.skipped...)
	x.Result.Err = proxy.ErrUnavailable
	if n := len(v.attempts); n > 0 && v.attempts[n-1].Outcome.Class == health.Served {
		last := &v.attempts[n-1]
		x.Result.ServedBy, x.Backend, x.Result.Err = last.Backend, last.Backend, nil
		x.Result.Delivery = proxy.Delivery{
			Committed: true, Usage: v.tokens, FinishReason: "stop", Outcome: last.Outcome,
			FirstToken: last.Start.Add(last.Duration / 4),
		}
		x.Charges = []metering.Charge{{Pool: v.pool, Backend: last.Backend, Tokens: v.tokens, Cost: v.pool.Price.Cost(v.tokens), Delivered: true}}
	} else {
		x.Code = "no_backend_available"
	}
	w.cfg.Recent.RequestDone(x)
}

func served(b *balancer.Backend, took time.Duration, utilization float64) proxy.Attempt {
	s := health.NoSignals()
	s.Utilization = utilization
	return proxy.Attempt{Backend: b, Status: 200, Duration: took, Outcome: health.Outcome{Signals: s}}
}

func throttledBy(b *balancer.Backend, wait time.Duration) proxy.Attempt {
	return proxy.Attempt{Backend: b, Status: 429, Duration: 9 * time.Millisecond, Outcome: health.Outcome{
		Class: health.Throttled, Wait: wait, RawWait: wait, Limit: health.LimitProvisioned, Reason: "429 provisioned", Signals: health.NoSignals(),
	}}
}

func failedBy(b *balancer.Backend, why string, status int) proxy.Attempt {
	return proxy.Attempt{Backend: b, Status: status, Duration: 31 * time.Millisecond, Outcome: health.Outcome{
		Class: health.Failed, Reason: why, Signals: health.NoSignals(),
	}}
}

var errTableUnreachable = errors.New("list instances: state: the table is unreachable")

func tokens(prompt, completion int64) usage.Tokens {
	return usage.Tokens{Prompt: prompt, Completion: completion}
}
