package admin

import (
	"fmt"
	"testing"
	"time"

	"spillway/handler/internal/health"
)

func TestDescribeChange(t *testing.T) {
	record := func(p health.CircuitState, epoch uint64, why string) health.Record {
		return health.Record{Circuit: health.Circuit{Epoch: epoch, State: p}, LastChange: health.Change{By: "b", Reason: why}}
	}
	closed, open, half := record(health.Closed, 1, ""), record(health.Open, 2, "503"), record(health.HalfOpen, 3, "503")
	healed := record(health.Closed, 4, "probe answered")
	drained, full, void, suspected := closed, closed, closed, closed
	drained.Override = health.OperatorOverride{Drained: true, Operator: "anna"}
	full.Windows = full.Windows.Add(health.LimitTokens, health.ThrottleWindow{Until: 5})
	full.LastChange.Reason = "429 tokens"
	void.ResetAt = 6
	suspected.Circuit.Suspicions = []health.Suspicion{{Reporter: "a", Since: 1, At: 1, Failures: 1}}
	objected := record(health.Closed, 5, "served")
	objected.Circuit.LastObjection = 4
	for name, c := range map[string]struct {
		before, after health.Record
		want          string
	}{
		"a trip":          {closed, open, "circuit opened: 503"},
		"a probe":         {open, half, "half-open: one probe across all instances"},
		"a recovery":      {half, healed, "circuit closed: probe answered"},
		"a drain":         {closed, drained, "drained by anna"},
		"a restore":       {drained, health.Record{Override: health.OperatorOverride{Operator: "ben"}}, "restored by ben"},
		"a throttle":      {closed, full, "throttled: 429 tokens"},
		"a reset":         {full, void, "throttle windows ended"},
		"a lease renewed": {half, record(health.HalfOpen, 4, "503"), ""},
		"a suspicion":     {closed, suspected, ""},
		"an objection":    {open, objected, "circuit closed: an instance is being served"},
	} {
		if got := describeChange(&c.before, &c.after); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

// A provisioned deployment at its limit throttles many times a second: its changes
// must not push the others out.
func TestRepeatedChangesAreMerged(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	r := NewRecent(2, 1, func() time.Time { return now })
	note := func(slot health.Slot, text string) { r.changes.add(change{at: now, slot: slot, text: text, n: 1}) }
	note(1, "circuit opened: 503")
	for range 200 {
		note(0, "throttled: 429 provisioned")
		now = now.Add(100 * time.Millisecond)
	}
	got := r.changes.latest(10)
	if len(got) != 2 || got[0].n != 200 || got[0].slot != 0 || got[1].text != "circuit opened: 503" {
		t.Errorf("changes: %+v", got)
	}
	now = now.Add(2 * repeatWindow)
	note(0, "throttled: 429 provisioned")
	note(0, "circuit opened: 503")
	note(0, "throttled: 429 provisioned")
	if got = r.changes.latest(10); len(got) != 5 || got[0].n != 1 {
		t.Errorf("after a pause and another change: %+v", got)
	}
	for i := range 3 * maxChanges {
		note(0, fmt.Sprint("change ", i))
	}
	if got = r.changes.latest(1000); len(got) != maxChanges || got[0].text != fmt.Sprint("change ", 3*maxChanges-1) {
		t.Errorf("%d are kept, want the latest %d", len(got), maxChanges)
	}
}
