package admin

import (
	"context"
	"errors"
	"fmt"
	"time"

	"spillway/handler/internal/accounting"
	"spillway/handler/internal/balancer"
	"spillway/handler/internal/fleet"
	"spillway/handler/internal/health"
	"spillway/handler/internal/openai/usage"
	"spillway/handler/internal/proxy"
	"spillway/handler/internal/quota"
	"spillway/handler/internal/telemetry/condition"
)

// scenarios are the states of a fleet in which the page is tested.
func scenarios(at func() time.Time) map[string]*fakeFleet {
	return map[string]*fakeFleet{
		"healthy": healthyScenario(at), "spilling": spillingScenario(at), "open": openScenario(at), "down": downScenario(at),
		"throttled": throttledScenario(at), "budget": budgetScenario(at), "big": bigScenario(at), "outage": outageScenario(at), "hostile": hostileScenario(at), "memory": memoryScenario(at),
		"refusing": refusingScenario(at),
	}
}

// bigScenarios are those of 60 backends with one trouble each, for screenshots.
func bigScenarios(at func() time.Time) map[string]*fakeFleet {
	all := map[string]*fakeFleet{}
	for name, trouble := range map[string]func(w *fakeFleet, slot int){
		"big-healthy": func(*fakeFleet, int) {},
		"big-down": func(w *fakeFleet, slot int) {
			if slot/60 == 3 {
				w.trip(slot, 6*time.Minute)
			}
		},
		"big-throttled": func(w *fakeFleet, slot int) { w.throttle(slot, time.Duration(10+slot%60)*time.Second) },
		"big-outage": func(w *fakeFleet, slot int) {
			w.counters.Disconnected, w.counters.SinceContact, w.counters.LastError = true, 42*time.Second, context.DeadlineExceeded
		},
		"big-budget": func(w *fakeFleet, slot int) {
			w.event(LimitMark, fmt.Sprintf("team-%03d", slot%60), "80\u00a0% of the budget per month used", time.Hour, time.Hour, 1)
			limits := w.cfg.Quotas()
			limits[3*7].Used, limits[3*7].Remaining = 960, 40
		},
	} {
		w := bigFleet(at)
		for slot := range w.cfg.Slots {
			trouble(w, slot)
		}
		w.bigTraffic(func(model int) bool { return w.health[60*model].State == health.Open })
		all[name] = w
	}
	return all
}

// traffic records n requests of the last half minute, of the consumers in turn,
// with the attempts of line.
func (w *fakeFleet) traffic(n int, p *balancer.Pool, line func(i int) []proxy.Attempt) {
	for i := range n {
		v := fakeRequest{
			id: fmt.Sprintf("req_%s%04d", p.Model, i), pool: p, status: 200, attempts: line(i),
			ago: time.Duration(n-i) * 30 * time.Second / time.Duration(n), took: time.Duration(400+37*(i%23)) * time.Millisecond,
			tokens: usage.Tokens{Prompt: int64(700 + i%5*40), Cached: 256, Completion: int64(90 + i%7*11)},
		}
		if len(w.cfg.Consumers) > 0 {
			v.consumer = &w.cfg.Consumers[i%len(w.cfg.Consumers)]
		}
		if last := v.attempts[len(v.attempts)-1]; last.Outcome.Class != health.Served {
			v.status = 503
		}
		w.finish(v)
	}
}

func (w *fakeFleet) stamp(slot int, by, why string, ago time.Duration) {
	w.slots[slot].Record.LastChange = health.Change{At: w.at().Add(-ago).UnixMilli(), By: by, Reason: why}
	w.health[slot].Reason = why
}

func healthyScenario(at func() time.Time) *fakeFleet {
	w := newFakeFleet(at, []string{"gpt-4o", "text-embedding-3-large"}, threeBackends())
	w.addConsumers()
	w.cfg.UsageRows = func(_ context.Context, from, to time.Time) ([]accounting.Row, error) {
		return w.usageRows(from, to), nil
	}
	p := &w.cfg.Pools[0]
	p.Aliases, p.Fallbacks = []string{"gpt-4"}, []string{"gpt-4o-mini"}
	w.past(p)
	w.past(&w.cfg.Pools[1])
	w.event(Tripped, w.cfg.Slots[2], "circuit opened: 503", 3*time.Hour, 3*time.Hour, 1)
	w.event(Recovered, w.cfg.Slots[2], "circuit closed: probe answered", 170*time.Minute, 170*time.Minute, 1)
	w.event(ThrottleBegan, w.cfg.Slots[0], "throttled: 429 provisioned", 2*time.Hour, 80*time.Minute, 412)
	w.traffic(90, p, func(i int) []proxy.Attempt {
		return []proxy.Attempt{served(&p.Backends[0], time.Duration(300+i*11)*time.Millisecond, 61.4)}
	})
	w.traffic(40, &w.cfg.Pools[1], func(i int) []proxy.Attempt {
		return []proxy.Attempt{served(&w.cfg.Pools[1].Backends[i%10/9], time.Duration(80+i)*time.Millisecond, -1)}
	})
	return w
}

func spillingScenario(at func() time.Time) *fakeFleet {
	w := healthyScenario(at)
	p := &w.cfg.Pools[0]
	w.health[0].Throttle = health.Throttle{Until: at().Add(8400 * time.Millisecond), Kind: health.LimitProvisioned}
	w.stamp(0, "flex-7c41-b", "429 provisioned", 2*time.Second)
	w.slots[0].Record.Windows = w.slots[0].Record.Windows.Add(health.LimitProvisioned, health.ThrottleWindow{Until: at().Add(8 * time.Second).UnixMilli()})
	for range 37 {
		before := health.Record{}
		w.cfg.Recent.Changed(0, before, w.slots[0].Record)
	}
	w.event(ThrottleBegan, w.cfg.Slots[0], "throttled: 429 provisioned", 12*time.Minute, 0, 37)
	w.traffic(120, p, func(i int) []proxy.Attempt {
		to := served(&p.Backends[1+i%4/3], time.Duration(420+i*9)*time.Millisecond, -1)
		if i%3 > 0 {
			return []proxy.Attempt{to}
		}
		return []proxy.Attempt{throttledBy(&p.Backends[0], 8400*time.Millisecond), to}
	})
	return w
}

func openScenario(at func() time.Time) *fakeFleet {
	w := healthyScenario(at)
	p := &w.cfg.Pools[0]
	trip := func(slot int, why string) {
		before := w.slots[slot].Record
		w.slots[slot].Record.Circuit = health.Circuit{Epoch: 3, State: health.Open, Until: at().Add(14 * time.Second).UnixMilli()}
		w.health[slot].State, w.health[slot].Until = health.Open, at().Add(14*time.Second)
		w.stamp(slot, "flex-7c41-c", why, 6*time.Second)
		w.cfg.Recent.Changed(health.Slot(slot), before, w.slots[slot].Record)
	}
	trip(1, "503")
	w.health[2].TrafficPercent = 30
	w.health[3].Drained, w.slots[3].Record.Override = true, health.OperatorOverride{Drained: true, Operator: "anna", At: at().Add(-time.Hour).UnixMilli()}
	w.health[4].State, w.health[4].Until = health.HalfOpen, at().Add(4*time.Second)
	w.traffic(12, p, func(int) []proxy.Attempt {
		return []proxy.Attempt{failedBy(&p.Backends[1], "503", 503), served(&p.Backends[2], 700*time.Millisecond, -1)}
	})
	return w
}

func downScenario(at func() time.Time) *fakeFleet {
	w := newFakeFleet(at, []string{"gpt-4o"}, threeBackends())
	w.addConsumers()
	p := &w.cfg.Pools[0]
	for i, why := range []string{"503", "first token timeout", "401: the credential was refused"} {
		w.health[i].State, w.health[i].Until = health.Open, at().Add(time.Duration(9+20*i)*time.Second)
		w.stamp(i, "flex-7c41-b", why, 30*time.Second)
		w.event(Tripped, w.cfg.Slots[i], "circuit opened: "+why, time.Duration(20-6*i)*time.Minute, time.Minute, 5)
	}
	w.traffic(30, p, func(int) []proxy.Attempt {
		return []proxy.Attempt{failedBy(&p.Backends[0], "503", 503), failedBy(&p.Backends[1], "first token timeout", 0), failedBy(&p.Backends[2], "401", 401)}
	})
	w.finish(fakeRequest{id: "req_nobody", pool: p, status: 503, took: 2 * time.Millisecond, skipped: []balancer.Candidate{
		{Backend: &p.Backends[0], Reason: health.SkipOpen, Until: at().Add(9 * time.Second)},
		{Backend: &p.Backends[1], Reason: health.SkipOpen, Until: at().Add(29 * time.Second)},
		{Backend: &p.Backends[2], Reason: health.SkipOpen},
	}})
	return w
}

// throttledScenario has no backend that takes requests, because all are at their
// limits.
func throttledScenario(at func() time.Time) *fakeFleet {
	w := spillingScenario(at)
	p := &w.cfg.Pools[0]
	for i := range p.Backends {
		w.health[i].Throttle = health.Throttle{Until: at().Add(time.Duration(8+5*i) * time.Second), Kind: health.LimitTokens}
		w.stamp(i, "flex-7c41-b", "429 tokens", time.Second)
		w.event(ThrottleBegan, w.cfg.Slots[i], "throttled: 429 tokens", time.Duration(25-8*i)*time.Minute, 0, 300)
	}
	w.traffic(60, p, func(i int) []proxy.Attempt {
		return []proxy.Attempt{throttledBy(&p.Backends[0], time.Second), throttledBy(&p.Backends[1], time.Second), throttledBy(&p.Backends[i%2+1], time.Second)}
	})
	return w
}

// budgetScenario has a consumer whose budget is nearly spent.
func budgetScenario(at func() time.Time) *fakeFleet {
	w := healthyScenario(at)
	w.cfg.Quotas = func() []quota.LimitStatus {
		return []quota.LimitStatus{
			{Consumer: "team-a", Limit: "budgetPerMonth", Amount: 500, Used: 500 - 16.25, Remaining: 16.25, Reset: 9 * 24 * time.Hour},
			{Consumer: "team-a", Limit: "tokensPerMinute", Amount: 50_000, Used: 50_000 - 41_000, Remaining: 41_000, Reset: 40 * time.Second},
		}
	}
	w.event(LimitMark, "team-a", "80\u00a0% of the budget per month used", 4*time.Hour, 4*time.Hour, 1)
	w.event(LimitMark, "team-a", "95\u00a0% of the budget per month used", 35*time.Minute, 35*time.Minute, 1)
	return w
}

// event records an event that began and ended so long ago.
func (w *fakeFleet) event(kind EventKind, subject, text string, began, ended time.Duration, times int) {
	w.cfg.Recent.events.add(Event{At: w.at().Add(-began), Last: w.at().Add(-ended), Kind: kind, Subject: subject, Text: text, By: "flex-7c41-b", Times: times})
}

// past records traffic of the last six hours.
func (w *fakeFleet) past(p *balancer.Pool) {
	for i := range stepCount {
		for j := range 2 + i%7 + i/20 {
			to := served(&p.Backends[(i+j)%5/4], time.Duration(300+10*i+90*j)*time.Millisecond, -1)
			w.finish(fakeRequest{id: "past", pool: p, status: 200, attempts: []proxy.Attempt{to}, ago: time.Duration(stepCount-i)*stepLength - time.Minute, took: time.Second, tokens: tokens(900, 120)})
		}
	}
}

// bigFleet has 60 backends, 20 models and 200 consumers.
func bigFleet(at func() time.Time) *fakeFleet {
	var backends []backendSpec
	var models []string
	for i := range 60 {
		backends = append(backends, backendSpec{fmt.Sprintf("payg-region-%02d", i), fmt.Sprintf("region%02d", i), 1 + i/20, 1 + i%3, i < 20})
	}
	for i := range 20 {
		models = append(models, fmt.Sprintf("model-%02d", i))
	}
	w := newFakeFleet(at, models, backends)
	w.addManyConsumers(200)
	for m := range models {
		w.past(&w.cfg.Pools[m])
	}
	return w
}

func (w *fakeFleet) trip(slot int, ago time.Duration) {
	w.health[slot].State, w.health[slot].Until = health.Open, w.at().Add(40*time.Second)
	w.health[slot].Evidence = "5 of 7 within 1.2s: 503 (4), silent (1)"
	w.stamp(slot, "flex-7c41-b", "503", 20*time.Second)
	w.event(Tripped, w.cfg.Slots[slot], "circuit opened: 503", ago, time.Minute, 4)
}

func (w *fakeFleet) throttle(slot int, left time.Duration) {
	w.health[slot].Throttle = health.Throttle{Until: w.at().Add(left), Kind: health.LimitTokens}
	w.stamp(slot, "flex-7c41-b", "429 tokens", time.Second)
}

// bigScenario has trouble of every kind.
func bigScenario(at func() time.Time) *fakeFleet {
	w := bigFleet(at)
	for i := range w.cfg.Slots {
		model, b := i/60, i%60
		switch {
		case model == 3: // down
			w.trip(i, 6*time.Minute)
		case model == 7 || model == 11 && b < 20: // throttled, and spilling over
			w.throttle(i, time.Duration(10+b)*time.Second)
		case model == 15 && b == 30:
			w.health[i].Drained, w.slots[i].Record.Override = true, health.OperatorOverride{Drained: true, Operator: "anna", At: at().Add(-time.Hour).UnixMilli()}
		}
	}
	w.bigTraffic(func(model int) bool { return model == 3 })
	return w
}

func (w *fakeFleet) bigTraffic(down func(model int) bool) {
	for m := range w.cfg.Pools {
		p := &w.cfg.Pools[m]
		w.traffic(30, p, func(i int) []proxy.Attempt {
			if down(m) {
				return []proxy.Attempt{failedBy(&p.Backends[i], "503", 503)}
			}
			return []proxy.Attempt{served(&p.Backends[(i+20*(m/11%2))%40], time.Duration(200+i*13)*time.Millisecond, float64(40+i%50))}
		})
	}
}

// refusingScenario has a backend that refuses an operation, one that another instance
// cannot reach, and parts that fail.
func refusingScenario(at func() time.Time) *fakeFleet {
	w := healthyScenario(at)
	w.cfg.Refusals = func(now time.Time) []proxy.OpenedOperation {
		return []proxy.OpenedOperation{{Slot: 1, Operation: "chat", Reason: "deployment not found", Since: now.Add(-20 * time.Minute), Until: now.Add(41 * time.Second)}}
	}
	w.event(OperationRefused, w.cfg.Slots[1], "refuses chat (deployment not found)", 20*time.Minute, time.Minute, 6)
	w.cfg.Conditions = condition.New(
		condition.Part{
			Name: "entra-keys", Works: "callers with keys; tokens signed by keys that were fetched in the last 72 hours", Fix: "check that this app reaches the issuer (login.microsoftonline.com): DNS, firewall, proxy",
			Check: func(time.Time) (condition.State, error) {
				return condition.Failing, errors.New("dial tcp: no route to host")
			},
		},
		condition.Part{
			Name: "telemetry", Works: "requests are served, and logged; /ops/metrics", Fix: "check the address and the credentials of the OTEL_ variables",
			Check: func(time.Time) (condition.State, error) { return condition.Degraded, errors.New("503") },
		},
	)
	w.cfg.Conditions.Check(at())
	return w
}

func outageScenario(at func() time.Time) *fakeFleet {
	w := spillingScenario(at)
	w.counters.Disconnected, w.counters.SinceContact, w.counters.Outage = true, 42*time.Second, 42*time.Second
	w.counters.LastError = fmt.Errorf("get row: %w", context.DeadlineExceeded)
	return w
}

func memoryScenario(at func() time.Time) *fakeFleet {
	w := newFakeFleet(at, []string{"gpt-4o"}, threeBackends())
	w.cfg.Memory, w.cfg.Instance = true, "localhost-4711"
	return w
}

// hostileNames would run, format or mislead if they were rendered as anything but
// text.
func hostileNames() []string {
	return []string{
		`<img src=x onerror=alert(1)>`, `</script><script>alert(2)</script>`, `"><svg onload=alert(3)>`, `{{7*7}}`, `javascript:alert(4)`,
		"\u202eevil\u202c", `'-alert(5)-'`, `</template><script>alert(6)</script>`, `<iframe srcdoc="<script>parent.alert(7)</script>">`,
		`</title><script>alert(8)</script>`, `a b#c?d=e&f`, `__proto__`,
	}
}

// hostileScenario has hostileNames in every name, error and reason.
func hostileScenario(at func() time.Time) *fakeFleet {
	var many []backendSpec
	for i, text := range hostileNames() {
		many = append(many, backendSpec{text, text, 1 + i%3, 1, i%2 == 0})
	}
	w := newFakeFleet(at, []string{hostileNames()[0], hostileNames()[1], "constructor"}, many)
	w.addConsumers()
	w.cfg.Instance, w.cfg.Version = hostileNames()[2], hostileNames()[1]
	w.cfg.UsageRows = func(_ context.Context, from, to time.Time) ([]accounting.Row, error) {
		rows := w.usageRows(from, to)
		for i := range rows {
			rows[i].Consumer, rows[i].Currency = hostileNames()[i%len(hostileNames())], hostileNames()[i%2]
		}
		return rows, nil
	}
	w.counters.LastError = fmt.Errorf("%s", hostileNames()[0])
	for i := range w.cfg.Consumers {
		w.cfg.Consumers[i].Name = hostileNames()[i]
	}
	for i := range w.slots {
		text := hostileNames()[i%len(hostileNames())]
		w.health[i].State, w.health[i].Until = health.Open, at().Add(time.Minute)
		w.health[i].Drained = i%5 == 0
		w.slots[i].Record.Override = health.OperatorOverride{Drained: i%5 == 0, Operator: text}
		w.stamp(i, text, text, time.Second)
		w.cfg.Recent.Changed(health.Slot(i), health.Record{}, w.slots[i].Record)
	}
	p := &w.cfg.Pools[0]
	w.traffic(24, p, func(i int) []proxy.Attempt {
		return []proxy.Attempt{failedBy(&p.Backends[i%12], hostileNames()[i%12], 500), served(&p.Backends[(i+1)%12], time.Second, -1)}
	})
	w.finish(fakeRequest{id: hostileNames()[0], pool: p, status: 200, took: time.Second, attempts: []proxy.Attempt{served(&p.Backends[0], time.Second, -1)}})
	return w
}

var _ Replica = (*fleet.Replica)(nil)
