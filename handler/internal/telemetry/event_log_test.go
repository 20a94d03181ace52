package telemetry

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"spillway/handler/internal/fleet"
	"spillway/handler/internal/health"
	"spillway/handler/internal/quota"
	"spillway/handler/internal/telemetry/condition"
)

// collectEvents collects the lines of events.
func collectEvents(t *testing.T, now *time.Time, say func(e *EventLog)) string {
	t.Helper()
	var out sink
	e := &EventLog{
		Out: NewLogWriter(&out, &out, 1024), Instance: "i-1", Slots: []string{"ptu/gpt-4o", "payg/gpt-4o"},
		Now: func() time.Time { return *now },
	}
	say(e)
	e.Out.Close(time.Minute)
	return out.String()
}

func TestEventLines(t *testing.T) {
	now := testTime
	at := testTime.UnixMilli()
	healthy := health.Record{}
	open := health.Record{
		Circuit:    health.Circuit{Epoch: 1, State: health.Open, Until: at + 10_000, Trips: 2},
		LastChange: health.Change{At: at, By: "i-2", Reason: "503", Evidence: "5 of 7 within 1.2s: 503 (4), silent (1)"},
	}
	probing := open
	probing.Circuit.Epoch, probing.Circuit.State, probing.LastChange.Reason = 2, health.HalfOpen, "503"
	unused := open
	unused.Circuit.Epoch, unused.Circuit.ProbeDueSince, unused.LastChange.Reason = 3, at, "503"
	closed := probing
	closed.Circuit.Epoch, closed.Circuit.State, closed.LastChange = 3, health.Closed, health.Change{At: at, By: "i-2", Reason: "probe answered"}
	shut := health.Record{LastChange: health.Change{At: at, By: "i-3", Reason: "429 tokens"}}
	shut.Windows.ByKind[health.LimitTokens] = health.ThrottleWindow{Until: at + 4_500, MaxTokens: 800}
	drained := health.Record{Override: health.OperatorOverride{Drained: true, Operator: "eve"}}
	restored := health.Record{Override: health.OperatorOverride{Operator: "eve"}}
	golden(t, "events.golden", collectEvents(t, &now, func(e *EventLog) {
		e.StateChanged(0, healthy, open)
		e.StateChanged(0, open, probing)
		e.StateChanged(0, probing, unused)
		e.StateChanged(0, probing, closed)
		e.StateChanged(1, healthy, shut)
		e.StateChanged(1, healthy, drained)
		e.OwnCircuitChanged(0, health.Closed, &health.Health{Own: true, State: health.Open, Until: now.Add(10 * time.Second), Reason: "silent", Evidence: "5 of 5 within 40s: silent (5)"})
		e.OwnCircuitChanged(0, health.HalfOpen, &health.Health{})
		e.OwnCircuitChanged(7, health.Closed, &health.Health{}) // no such slot
		now = now.Add(time.Minute)
		e.StateChanged(1, drained, restored)
		e.StateChanged(1, restored, restored) // nothing changed
		e.StateChanged(7, healthy, open)      // no such slot
		e.Audit(&AuditRecord{Time: testTime, Verb: "drain", Target: "ptu", Operator: "eve\n", Key: "ab12", RemoteAddr: "10.0.0.7:4711", Duration: ms(31)})
		e.Audit(&AuditRecord{Time: testTime, Verb: "reset", Target: "ptu", Operator: "eve", Duration: ms(31), Err: errors.New("table: refused")})
	}))
}

func TestThrottleLinesAreLimitedToOneASecond(t *testing.T) {
	now := testTime
	said := collectEvents(t, &now, func(e *EventLog) {
		before := health.Record{}
		for i := range 1000 {
			after := before
			after.Windows.ByKind[health.LimitTokens].Until = now.UnixMilli() + int64(i) + 1
			e.StateChanged(0, before, after)
			before = after
			now = now.Add(2500 * time.Microsecond)
		}
	})
	if n := strings.Count(said, `"msg":"throttle"`); n != 3 {
		t.Errorf("%d lines in 2.5 seconds, want 3", n)
	}
	if !strings.Contains(said, `"omitted":399`) {
		t.Errorf("no line has the number of omitted ones: %s", said)
	}
}

func TestMonitorLines(t *testing.T) {
	now := testTime
	c := fleet.Counters{}
	said := collectEvents(t, &now, func(e *EventLog) {
		w := &Monitor{Events: e, Requests: &RequestLog{Out: e.Out}, Counters: func() fleet.Counters { return c }}
		w.Conditions = condition.New(condition.Part{Name: "state-read", Works: "quotas by what is leased", Fix: "check the account", Check: func(time.Time) (condition.State, error) {
			if c.Disconnected {
				return condition.Failing, c.LastError
			}
			return condition.OK, nil
		}})
		look := func() { now = now.Add(time.Second); w.Check(now) }
		look()
		c.Disconnected, c.LastError = true, errors.New("table: outcome unknown")
		look()
		look()
		c.Disagreement, c.Disagreements, c.StaleRequests = 6*time.Second, 2, 9
		look() // on average 3 s
		e.Budget(&quota.Warning{Consumer: "team-a", Limit: "budgetPerMonth", Mark: 80, Percent: 80.5, Used: 402.5, Amount: 500, Month: "2026-11"})
		look()
		c.Disconnected, c.LastError = false, nil
		c.Disagreement, c.Disagreements = 7*time.Second, 3
		look()
		now = now.Add(time.Minute)
		look()
	})
	golden(t, "watch.golden", said)
}

// A circuit that the fleet takes over at once has the fleet's line alone; the own one
// is over only when requests go there again.
func TestOwnCircuitsAreReportedByTheirChanges(t *testing.T) {
	now := testTime
	var got []string
	snapshot := &health.Snapshot{Slots: make([]health.Health, 2)}
	_ = collectEvents(t, &now, func(e *EventLog) {
		w := &Monitor{
			Events: e, Requests: &RequestLog{Out: e.Out}, Counters: func() fleet.Counters { return fleet.Counters{} },
			Snapshot: func() *health.Snapshot { return snapshot },
			OwnCircuitChanged: func(slot health.Slot, before health.CircuitState, after *health.Health) {
				got = append(got, fmt.Sprintf("%d %v %v", slot, before, after.State))
			},
		}
		for _, h := range []health.Health{
			{},
			{Own: true, State: health.Open, Until: now},
			{Own: true, State: health.Open, Until: now},
			{Own: true, State: health.Open, Until: now.Add(20 * time.Millisecond)}, // the clock of the table is corrected
			{Own: true, State: health.Open, Until: now.Add(10 * time.Second)},      // a probe has failed
			{Own: true, State: health.HalfOpen},
			{},
			{State: health.Open},
			{},
			{Own: true, State: health.Open},
			{State: health.Open},
			{},
		} {
			snapshot = &health.Snapshot{Slots: []health.Health{{}, h}}
			w.Check(now)
		}
	})
	want := []string{"1 closed open", "1 half-open open", "1 open half-open", "1 half-open closed"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestSuspicionsAreCounted(t *testing.T) {
	now := testTime
	_ = collectEvents(t, &now, func(e *EventLog) {
		suspected := health.Record{Circuit: health.Circuit{Suspicions: []health.Suspicion{{Reporter: "a", Failures: 1}, {Reporter: "b", Failures: 2}}}}
		e.StateChanged(1, health.Record{}, suspected)
		if n := e.Suspicions(1); n != 3 {
			t.Errorf("%d failures, want 3", n)
		}
		e.StateChanged(1, suspected, health.Record{})
		if n := e.Suspicions(1); n != 0 {
			t.Errorf("%d failures after the record is gone, want 0", n)
		}
	})
}
