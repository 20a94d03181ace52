package fleet

import (
	"time"

	"spillway/handler/internal/health"
)

// backend fails, is slow, and throttles, in turn.
type backend struct {
	w              *simulation
	n              health.Slot
	up             bool
	throttledUntil int64 // 429 until, by the true clock
	leaks          map[*machine]int
	probes         []*call // the fleet's probes in flight
}

// call is one probe at the backend.
type call struct {
	m       *machine
	granted time.Duration // when its sender must break it off
}

// dropCalls ends the calls of a machine that died.
func (b *backend) dropCalls(m *machine) {
	kept := b.probes[:0]
	for _, c := range b.probes {
		if c.m != m {
			kept = append(kept, c)
		}
	}
	b.probes = kept
}

func (b *backend) done(c *call) {
	for i, other := range b.probes {
		if other == c {
			b.probes = append(b.probes[:i], b.probes[i+1:]...)
			return
		}
	}
}

// run makes it fail and throttle now and then.
func (b *backend) run() {
	w := b.w
	w.spawn(nil, simulationTask, 1, func() {
		for !w.stopping {
			if w.scenario.throttles {
				w.sleep(w.between(10*time.Second, 30*time.Second))
				b.leaks = map[*machine]int{}
				b.throttledUntil = w.serviceNow() + w.between(5*time.Second, 20*time.Second).Milliseconds()
				w.checker.result.windows++
				w.sleep(21 * time.Second)
				continue
			}
			w.sleep(w.between(time.Second, 4*time.Second))
			b.up = w.stopping
			w.sleep(w.between(time.Second, 6*time.Second))
			b.up = true
		}
	})
}

// respond is the backend's response.
func (b *backend) respond() health.Outcome {
	if !b.up {
		return health.Outcome{Class: health.Failed, Reason: "503", Signals: health.NoSignals()}
	}
	return health.Outcome{Signals: health.NoSignals()}
}

// throttle is its 429, exact to the millisecond.
func (b *backend) throttle() health.Outcome {
	left := time.Duration(b.throttledUntil-b.w.serviceNow()) * time.Millisecond
	return health.Outcome{Class: health.Throttled, Wait: left, Limit: health.LimitProvisioned, Reason: "429", Signals: health.NoSignals()}
}

// traffic is the machine's requests.
func (w *simulation) traffic(m *machine) {
	slowest := 900 * time.Millisecond
	if w.scenario.thin {
		slowest = 40 * time.Second
	}
	for _, b := range w.backends {
		w.spawn(m, requestTask, w.between(0, time.Second), func() {
			for {
				w.sleep(w.between(100*time.Millisecond, slowest))
				w.request(m, b)
			}
		})
	}
}

// request is one attempt, as the proxy makes it.
func (w *simulation) request(m *machine, b *backend) {
	if m.run.over {
		return // the process was killed
	}
	replica := m.replica
	h := replica.Snapshot().Of(b.n)
	if h.SkipReason(m.local(), 100) != health.NotSkipped {
		if h.State != health.Closed {
			replica.RequestProbe(b.n)
		}
		return
	}
	permit, ok := replica.Acquire(b.n, "")
	if !ok {
		return
	}
	w.checker.acquired(m, b, permit)
	granted, _ := replica.RenewProbe(permit)
	var t *task
	t = w.spawn(m, requestTask, 1, func() {
		w.attempt(m, b, permit, granted)
		for i, c := range m.calls {
			if c == t {
				m.calls = append(m.calls[:i], m.calls[i+1:]...)
				break
			}
		}
	})
	m.calls = append(m.calls, t)
}

// attempt sends the request and waits for its response; a probe only as long as its
// lease certainly holds, or is renewed.
func (w *simulation) attempt(m *machine, b *backend, permit health.Permit, granted time.Duration) {
	replica := m.replica
	asked := w.now
	if permit.Probe && w.scenario.pausesBeforeProbe && w.happens(.2) {
		m.freeze(w.between(0, 8*time.Second))
		w.sleep(1)
	}
	if permit.Probe && !w.scenario.noLeaseCheck {
		left, ok := replica.RenewProbe(permit)
		if !ok {
			replica.Release(permit)
			return
		}
		granted, asked = left, w.now
	}
	if b.throttledUntil > w.serviceNow() { // it responds at once
		o := b.throttle()
		w.checker.throttled(m, b)
		w.sleep(w.between(5*time.Millisecond, 25*time.Millisecond))
		replica.ReportOutcome(permit, o)
		return
	}
	takes := w.between(20*time.Millisecond, 220*time.Millisecond)
	if w.happens(.1+w.scenario.slow) && !w.stopping {
		takes = w.between(0, 9*time.Second)
	}
	if !permit.Probe {
		w.sleep(takes)
		replica.ReportOutcome(permit, b.respond())
		return
	}
	c := &call{m: m, granted: asked + granted}
	w.checker.probeSent(b, c)
	replica.ReportOutcome(permit, w.serveProbe(m, b, permit, c, takes))
}

// serveProbe is the probe at the backend, which works on it whether or not the
// sender is suspended.
func (w *simulation) serveProbe(m *machine, b *backend, permit health.Permit, c *call, takes time.Duration) health.Outcome {
	ends := w.now + takes
	served := w.spawn(nil, simulationTask, takes, func() { b.done(c) })
	for w.now < ends {
		w.sleep(max(min(ends, c.granted)-w.now, 1))
		if w.now >= ends {
			break
		}
		left, ok := m.replica.RenewProbe(permit)
		if !ok || w.scenario.noLeaseCheck {
			w.kill(served)
			b.done(c)
			return health.Outcome{Class: health.Failed, Reason: "lease lost", Signals: health.NoSignals()}
		}
		c.granted = w.now + left
	}
	return b.respond()
}
