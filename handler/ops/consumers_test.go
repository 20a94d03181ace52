package ops

import (
	"slices"
	"testing"
	"time"

	"spillway/handler/consumer"
	"spillway/handler/ledger"
)

func TestConsumersAreShownWithEveryLimit(t *testing.T) {
	w := healthyScene(time.Now)
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

func TestLimitsPerMinuteAreShownWhereNoMoreIsKnown(t *testing.T) {
	w := healthyScene(time.Now)
	w.cfg.Quotas = nil
	w.cfg.Standing = func(c *consumer.Consumer, _ string) ledger.Standing {
		return ledger.Standing{Tokens: ledger.Meter{Limit: c.TokensPerMinute, Remaining: 10, Reset: time.Second}}
	}
	all := New(w.cfg).consumers(time.Now())
	want := LimitStatus{Limit: "tokensPerMinute", Amount: 50_000, Remaining: 10, ResetMS: 1000}
	if len(all[1].Limits) != 1 || all[1].Limits[0] != want || len(all[0].Limits) != 0 {
		t.Errorf("shown %+v", all)
	}
}
