package admin

import (
	"slices"
	"testing"
	"time"
)

func TestConsumersListAllLimits(t *testing.T) {
	w := healthyScenario(time.Now)
	all := New(w.cfg).consumers(time.Now())
	if len(all) != 2 || all[0].Name != "nightly-batch" || len(all[0].Limits) != 0 || len(all[1].Limits) != 3 {
		t.Fatalf("shown %+v", all)
	}
	var levels []string
	for _, l := range all[1].Limits {
		levels = append(levels, l.Limit+" "+l.Level())
	}
	if want := []string{"budgetPerMonth over", "requestsPerMinute well", "tokensPerMinute near"}; !slices.Equal(levels, want) {
		t.Errorf("levels %q, want %q", levels, want)
	}
}

func TestConsumersWithoutQuotas(t *testing.T) {
	w := healthyScenario(time.Now)
	w.cfg.Quotas = nil
	if all := New(w.cfg).consumers(time.Now()); len(all) != 2 || len(all[0].Limits)+len(all[1].Limits) != 0 {
		t.Errorf("shown %+v", all)
	}
}
