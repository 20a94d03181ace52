package admin

import (
	"strings"
	"testing"
	"time"

	"spillway/handler/internal/balancer"
	"spillway/handler/internal/health"
)

// The page must not show that a backend accepts requests when the balancer skips
// it, nor the reverse.
func TestBackendStateAgreesWithHealth(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	for phase := range health.HalfOpen + 1 {
		for _, ends := range []time.Time{{}, now.Add(-time.Second), now, now.Add(time.Second)} {
			for bits := range 32 {
				h := health.Health{State: phase, Until: now.Add(time.Second), Drained: bits&1 > 0, Probe: bits&2 > 0}
				h.Throttle = health.Throttle{Until: ends}
				if bits&4 > 0 {
					h.TrafficPercent = 30
				}
				b := balancer.Backend{Weight: bits >> 3 & 1}
				if bits&16 > 0 {
					h.Throttle.Kind, h.Throttle.MaxTokens = health.LimitTokens, 500 // less than the request
				}
				offered := b.Weight > 0 && h.SkipReason(now, 1<<40) == health.NotSkipped
				c := backendState(&b, &h, now)
				if c.acceptsRequests() != (offered && phase != health.HalfOpen) {
					t.Errorf("%+v of weight %d is shown as %s", h, b.Weight, c)
				}
			}
		}
	}
}

func TestPoolStateFollowsFirstPriority(t *testing.T) {
	for name, c := range map[string]struct {
		groups [][]BackendState
		want   PoolState
		says   string
	}{
		"all well":                         {[][]BackendState{{Available}, {Available}}, Healthy, "Priority 1 serves all requests."},
		"the first is throttled":           {[][]BackendState{{Throttled}, {Available}}, Spilling, "Requests spill to priority 2: b is throttled (provisioned)."},
		"one of the first is out":          {[][]BackendState{{Open, Available}, {Available}}, Reduced, "Priority 1 serves, but b has an open circuit (503)."},
		"a lower one is out":               {[][]BackendState{{Available}, {Drained}}, Reduced, "Priority 1 serves, but b is drained (503)."},
		"two groups are out":               {[][]BackendState{{Drained}, {HalfOpen}, {Partial}}, Spilling, "Requests spill to priority 3:"},
		"none accepts":                     {[][]BackendState{{Open}, {Drained}}, Down, "No backend accepts requests: b has an open circuit (503), b is drained (503)."},
		"unused backends do not count":     {[][]BackendState{{Unused}, {Available}}, Healthy, "Priority 2 serves all requests."},
		"no weight":                        {[][]BackendState{{Unused}}, Down, "No backend has a weight above 0: no request can be served."},
		"an empty pool":                    {nil, Down, "No backend has a weight above 0: no request can be served."},
		"many are out":                     {[][]BackendState{{Open, Open, Open, Open, Open, Available}}, Reduced, "and 2 more."},
		"the first takes a share":          {[][]BackendState{{Partial}, {Available}}, Reduced, "Priority 1 serves, but b gets 30\u00a0% of its share (503)."},
		"first by order, not by condition": {[][]BackendState{{Available}, {Open}}, Reduced, "Priority 1"},
	} {
		var s PoolStatus
		for i, group := range c.groups {
			g := GroupStatus{Priority: i + 1}
			for _, condition := range group {
				h := health.Health{TrafficPercent: 30, Throttle: health.Throttle{Kind: health.LimitProvisioned}}
				g.Backends = append(g.Backends, BackendStatus{Name: "b", State: condition, Label: condition.label(&h), Why: "503"})
			}
			s.Groups = append(s.Groups, g)
		}
		if got, says := summarizePool(&s); got != c.want || !strings.Contains(says, c.says) {
			t.Errorf("%s: %s, %q, want %s, %q", name, got, says, c.want, c.says)
		}
	}
}
