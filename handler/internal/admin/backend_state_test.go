package admin

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"spillway/handler/internal/api"
	"spillway/handler/internal/balancer"
	"spillway/handler/internal/fleet"
	"spillway/handler/internal/health"
	"spillway/handler/internal/proxy"
)

// The page must not show that a backend accepts requests when the balancer skips
// it, nor the reverse.
func TestBackendStateAgreesWithHealth(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	for phase := range health.HalfOpen + 1 {
		for _, ends := range []time.Time{{}, now.Add(-time.Second), now, now.Add(time.Second)} {
			for bits := range 64 {
				h := health.Health{State: phase, Until: now.Add(time.Duration(1-bits>>5*2) * time.Second), Drained: bits&1 > 0, Probe: bits&2 > 0}
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
		"all well":                         {[][]BackendState{{Available}, {Available}}, Healthy, "priority 1 serves all requests"},
		"the first is throttled":           {[][]BackendState{{Throttled}, {Available}}, Spilling, "priority 2 serves: b: throttled (provisioned)"},
		"one of the first is out":          {[][]BackendState{{Open, Available}, {Available}}, Reduced, "b: circuit open (503)"},
		"a lower one is out":               {[][]BackendState{{Available}, {Drained}}, Reduced, "b: drained by anna"},
		"two groups are out":               {[][]BackendState{{Drained}, {HalfOpen}, {Partial}}, Spilling, "priority 3 serves: b: drained by anna; b: half-open (503);"},
		"it refuses an operation":          {[][]BackendState{{Refusing}, {Available}}, Spilling, "priority 2 serves: b: refusing"},
		"none accepts":                     {[][]BackendState{{Open}, {Drained}}, Down, "no backend takes requests: b: circuit open (503); b: drained by anna"},
		"unused backends do not count":     {[][]BackendState{{Unused}, {Available}}, Healthy, "priority 2 serves all requests"},
		"no weight":                        {[][]BackendState{{Unused}}, Down, "no backend has a weight above 0"},
		"an empty pool":                    {nil, Down, "no backend has a weight above 0"},
		"many are out":                     {[][]BackendState{{Open, Open, Open, Open, Open, Available}}, Reduced, "5 backends: circuit open (503)"},
		"the first takes a share":          {[][]BackendState{{Partial}, {Available}}, Reduced, "b: 30\u00a0% of its usual traffic (503)"},
		"first by order, not by condition": {[][]BackendState{{Available}, {Open}}, Reduced, "b: circuit open (503)"},
		"all are throttled":                {[][]BackendState{{Throttled}, {Throttled}}, Exhausted, "no backend takes requests: b, b: throttled (provisioned)"},
		"throttled, and one is out":        {[][]BackendState{{Open}, {Throttled}}, Exhausted, "no backend takes requests: b: circuit open (503); b: throttled (provisioned)"},
	} {
		var s PoolStatus
		for i, group := range c.groups {
			g := GroupStatus{Priority: i + 1}
			for _, condition := range group {
				h := health.Health{TrafficPercent: 30, Throttle: health.Throttle{Kind: health.LimitProvisioned}}
				g.Backends = append(g.Backends, BackendStatus{Name: "b", State: condition, Label: condition.label(&h), Why: "503", Drained: &DrainStatus{By: "anna"}, Priority: i + 1})
			}
			s.Groups = append(s.Groups, g)
		}
		if summarizePool(&s); s.State != c.want || !strings.Contains(s.Summary, c.says) {
			t.Errorf("%s: %s, %q, want %s, %q", name, s.State, s.Summary, c.want, c.says)
		}
	}
}

// The page tells a circuit that binds this instance alone from the fleet's, and
// shows what the fleet holds against a backend that this instance goes on using.
func TestOwnCircuitIsToldFromTheFleets(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	suspicions := []health.Suspicion{{Reporter: "a", Failures: 1}, {Reporter: "b", Failures: 2}}
	for name, c := range map[string]struct {
		health               health.Health
		circuit              health.Circuit
		label, detail, fleet string
		suspected            *SuspicionStatus
	}{
		"own circuit":           {health.Health{State: health.Open, Own: true, Until: now.Add(time.Second)}, health.Circuit{}, "circuit open on this instance alone", "", "closed", nil},
		"the fleet's circuit":   {health.Health{State: health.Open, Until: now.Add(time.Second)}, health.Circuit{State: health.Open}, "circuit open", "", "", nil},
		"served despite it":     {health.Health{Until: now.Add(time.Second)}, health.Circuit{State: health.Open}, "available", "the fleet's circuit is open, but this instance is being served", "open", nil},
		"suspected":             {health.Health{}, health.Circuit{Suspicions: suspicions}, "available", "suspected: 3 failures seen by 2 instances", "", &SuspicionStatus{Instances: 2, Failures: 3}},
		"suspected and drained": {health.Health{Drained: true}, health.Circuit{Suspicions: suspicions}, "drained", "", "", &SuspicionStatus{Instances: 2, Failures: 3}},
	} {
		v := statusBuilder{
			cfg: &Config{Slots: []string{"b/m"}, Recent: NewRecent("a", []string{"b/m"}, 1, time.Now)}, now: now, tableTime: now,
			snapshot: &health.Snapshot{Slots: []health.Health{c.health}}, slots: map[string]*fleet.SlotState{"b/m": {Record: health.Record{Circuit: c.circuit}}},
		}
		s := v.backend(&balancer.Backend{Name: "b", Weight: 1})
		if s.Label != c.label || s.Detail != c.detail || s.Fleet != c.fleet || s.Own != c.health.Own {
			t.Errorf("%s: %q, %q, fleet %q, own %v", name, s.Label, s.Detail, s.Fleet, s.Own)
		}
		if diff := cmp.Diff(c.suspected, s.Suspected); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestSilentAndHedgedAttemptsAreCounted(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	p := &balancer.Pool{Model: "m", Backends: []balancer.Backend{{Name: "a", Slot: 0}, {Name: "b", Slot: 1}}}
	r := NewRecent("a", []string{"a/m", "b/m"}, 1, func() time.Time { return now })
	r.RequestDone(&api.RequestRecord{Start: now, Result: &proxy.Result{Pool: p, ServedBy: &p.Backends[1], Attempts: []proxy.Attempt{
		{Backend: &p.Backends[0], Silent: true, Outcome: health.Outcome{Class: health.Abandoned}},
		{Backend: &p.Backends[1], Hedge: true},
	}}})
	first, _ := r.slots[0].sum(now)
	second, _ := r.slots[1].sum(now)
	if first != (counts{Attempts: 1, Silent: 1}) || second != (counts{Attempts: 1, Served: 1, Hedges: 1}) {
		t.Errorf("got %+v and %+v", first, second)
	}
}
