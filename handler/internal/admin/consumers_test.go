package admin

import (
	"fmt"
	"testing"
	"time"
)

func TestConsumersListAllLimits(t *testing.T) {
	w := healthyScenario(time.Now)
	all := New(w.cfg).consumers(nil)
	if len(all) != 2 || all[0].Name != "team-a" || len(all[0].Limits) != 3 || len(all[1].Limits) != 0 {
		t.Fatalf("shown %+v, want those with limits first", all)
	}
}

func TestConsumersWithoutQuotas(t *testing.T) {
	w := healthyScenario(time.Now)
	w.cfg.Quotas = nil
	if all := New(w.cfg).consumers(nil); len(all) != 2 || len(all[0].Limits)+len(all[1].Limits) != 0 {
		t.Errorf("shown %+v", all)
	}
}

// A brief status has the consumers that are nearest to a limit, the full one all.
func TestBriefStatusLeavesOutWhatIsNotAsked(t *testing.T) {
	w := bigScenario(time.Now)
	w.cfg.Open = true
	h := mount(w.cfg)
	for query, want := range map[string]struct{ backends, consumers, groups int }{
		"":                              {1200, 200, 20},
		"?brief":                        {0, briefConsumers, 0},
		"?brief&consumers":              {0, 200, 0},
		"?brief&model=model-01":         {60, briefConsumers, 1},
		"?brief&model=x&model=model-02": {60, briefConsumers, 1},
	} {
		s := statusOf(t, h, query)
		backends, groups := 0, 0
		for _, p := range s.Pools {
			groups += min(len(p.Groups), 1)
			for _, g := range p.Groups {
				backends += len(g.Backends)
			}
		}
		if backends != want.backends || len(s.Consumers) != want.consumers || groups != want.groups || s.ConsumerCount != 200 || len(s.Pools) != 20 {
			t.Errorf("%q: %d backends, %d consumers of %d", query, backends, len(s.Consumers), s.ConsumerCount)
		}
		if first := s.Consumers[0]; fmt.Sprintf("%.0f", first.usedPercent()) != "94" {
			t.Errorf("%q: the first consumer has used %v %%", query, first.usedPercent())
		}
	}
}
