package admin

import (
	"context"
	"fmt"
	"time"

	"spillway/handler/internal/accounting"
	"spillway/handler/internal/balancer"
	"spillway/handler/internal/fleet"
	"spillway/handler/internal/health"
	"spillway/handler/internal/openai/usage"
	"spillway/handler/internal/proxy"
)

// scenarios are the states of a fleet in which the page is tested.
func scenarios(at func() time.Time) map[string]*fakeFleet {
	return map[string]*fakeFleet{
		"healthy": healthyScenario(at), "spilling": spillingScenario(at), "open": openScenario(at), "down": downScenario(at),
		"fifty": fiftyBackendsScenario(at), "outage": outageScenario(at), "hostile": hostileScenario(at), "memory": memoryScenario(at),
	}
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

func fiftyBackendsScenario(at func() time.Time) *fakeFleet {
	var many []backendSpec
	for i := range 50 {
		many = append(many, backendSpec{fmt.Sprintf("payg-region-%02d", i), fmt.Sprintf("region%02d", i), 1 + i/10, 1 + i%3, i < 10})
	}
	w := newFakeFleet(at, []string{"gpt-4o"}, many)
	p := &w.cfg.Pools[0]
	for i := 3; i < 50; i += 7 {
		w.health[i].Throttle = health.Throttle{Until: at().Add(time.Duration(5+i) * time.Second), Kind: health.LimitTokens, MaxTokens: 1200}
		w.health[i].Reason = "429 tokens"
	}
	w.traffic(300, p, func(i int) []proxy.Attempt {
		return []proxy.Attempt{served(&p.Backends[i%10], time.Duration(200+i*3)*time.Millisecond, float64(40+i%50))}
	})
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
